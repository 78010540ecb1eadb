"""Folders for unfinished files: `scratch` makes one, and removes those that killed processes left beside it.

A file in each folder is locked as long as its process lives; the system releases the lock even after a kill. Windows
has no such lock, but lets nobody delete a file that is open. Locks may not reach across network drives, so the name of
a folder tells whether this computer made it. Folders of other computers must also be a day old.
"""

from __future__ import annotations

import atexit
import hashlib
import os
import platform
import re
import shutil
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import cache
from pathlib import Path

from .regular import open_regular

NAME = re.compile(r"\.joyhallo-([0-9a-f]{8})-[0-9a-f]{32}")
LOCK = "lock"
GRACE = 5  # seconds in which a new folder is not locked yet
PATIENCE = 86_400  # seconds until a folder counts as abandoned whose lock says nothing


@contextmanager
def scratch(folder: Path) -> Iterator[Path]:
    """A new folder within `folder`, removed afterwards with all that is left in it."""
    folder.mkdir(parents=True, exist_ok=True)
    sweep(folder)
    own = folder / f".joyhallo-{_computer()}-{uuid.uuid4().hex}"
    own.mkdir()
    try:
        with _held(own / LOCK):
            yield own
    finally:
        shutil.rmtree(own, ignore_errors=True)


_kept: dict[Path, Path] = {}


def write_whole(path: Path, content: bytes) -> None:
    """A file that is complete under its name, or not there, or as it was before; whoever else writes the same."""
    with scratch(path.parent) as folder:
        (folder / "part").write_bytes(content)
        os.replace(folder / "part", path)


def lasting_scratch(folder: Path) -> Path:
    """The same folder within `folder` each time, until this process ends."""
    own = _kept.get(folder)
    if own is None or not (own / LOCK).exists():
        stack = ExitStack()
        own = _kept[folder] = stack.enter_context(scratch(folder))
        atexit.register(stack.close)
    else:
        sweep(folder)
        with suppress(OSError):
            os.utime(own / LOCK)  # other computers see that it is in use
    return own


def sweep(folder: Path) -> None:
    """Remove what processes that no longer run have left in `folder`."""
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            found = NAME.fullmatch(entry.name)
            if found and entry.is_dir(follow_symlinks=False):
                with suppress(OSError):  # somebody else is sweeping, too
                    if _is_abandoned(Path(entry), here=found[1] == _computer()):
                        shutil.rmtree(entry, ignore_errors=True)


def _is_abandoned(own: Path, here: bool) -> bool:
    age = time.time() - max(path.lstat().st_mtime for path in (own, *own.iterdir()))
    if age < (GRACE if here else PATIENCE):
        return False
    try:
        return _is_free(own / LOCK)
    except FileNotFoundError:  # killed before it was made, or while removing the folder
        return True
    except OSError:  # this disk has no locks
        return age > PATIENCE


if sys.platform == "win32":

    def _is_free(lock: Path) -> bool:
        try:
            lock.unlink()
        except PermissionError:
            return False
        return True

    @contextmanager
    def _held(lock: Path) -> Iterator[None]:
        with open(open_regular(lock, os.O_RDWR | os.O_CREAT), "r+b"):
            yield

else:
    import fcntl

    def _is_free(lock: Path) -> bool:
        with open(open_regular(lock, os.O_RDWR), "r+b") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return False
            return True

    @contextmanager
    def _held(lock: Path) -> Iterator[None]:
        with open(open_regular(lock, os.O_RDWR | os.O_CREAT), "r+b") as file:
            with suppress(OSError):  # not every disk has locks
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield


@cache
def _computer() -> str:
    return hashlib.sha256(platform.node().encode()).hexdigest()[:8]
