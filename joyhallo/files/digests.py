"""SHA-256 sums of files and folders, read once as long as nothing changes. Nothing here takes long to import."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from pathlib import Path

PIECE = 4 << 20  # bytes of a file


def sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(PIECE):
            digest.update(piece)
    return digest.hexdigest()


def digest_of(path: Path) -> str:
    """Of a file, or of all in a folder."""
    if not path.is_dir():
        return _known(path, *stamp(path))
    digest = hashlib.sha256()
    for file in sorted(path.rglob("*")):
        if file.is_file():
            digest.update(f"{file.relative_to(path).as_posix()} {_known(file, *stamp(file))}\n".encode())
    return digest.hexdigest()


def stamp(path: Path) -> tuple[int, int]:
    """By which a change is noticed: the size, and when it was written."""
    found = path.stat()
    return found.st_size, found.st_mtime_ns


def stamps(path: Path) -> str:
    """The same of a file, or of all in a folder, with their names: at once, however large they are."""
    files = [path] if path.is_file() else [file for file in sorted(path.rglob("*")) if file.is_file()]
    return "\n".join(f"{file.absolute()} {stamp(file)}" for file in files)


@lru_cache(maxsize=4096)
def _known(path: Path, size: int, changed: int) -> str:
    return sha256(path)
