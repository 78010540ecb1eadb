"""`Job`: a film to be made, in plain values, so that any process on any machine can make it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from importlib import import_module
from pathlib import Path
from typing import Any, Literal

from .options import REDUB, TALK, Option

VERSION = 1  # of what jobs make: to be raised when the same inputs no longer give the same film
PIECE = 4 << 20  # bytes
MAKING = "Making"  # the step in which frames are made

Kind = Literal["talk", "redub"]
Progress = Callable[[str, float, float], None]  # the step, how much of it is done, how much there is

OPTIONS: Mapping[Kind, tuple[Option, ...]] = {"talk": TALK, "redub": REDUB}
INPUTS: Mapping[Kind, tuple[str, ...]] = {"talk": ("picture", "sound"), "redub": ("video", "sound", "model")}
DEVICES, PRECISIONS = ("auto", "cpu", "cuda"), ("auto", "fp16", "bf16", "fp32")


def silent(what: str, done: float, total: float) -> None:
    pass


@dataclass(frozen=True)
class Compute:
    device: str = "auto"
    precision: str = "auto"  # of the weights: auto is fp32 on a processor, fp16 on a graphics card


@dataclass(frozen=True)
class Job:
    kind: Kind
    inputs: Mapping[str, Path]  # under the names of INPUTS
    options: Mapping[str, Any]  # all of the kind, under their names
    output: Path
    compute: Compute = field(default_factory=Compute)
    number: str = ""  # by which the film's label names it; "": a new one
    replacing: bool = False  # whether a file under the output's name makes way

    def files(self) -> dict[str, Path]:
        """All that the film depends on, by what it is for."""
        others = {name: value for name, value in self.options.items() if isinstance(value, Path)}
        return {**self.inputs, **others}

    def key(self, digest: Callable[[Path], str] = lambda path: digest_of(path)) -> str:
        """The same for the same film, wherever its files lie: of what they hold, and of all that is wished."""
        told = {
            "version": VERSION,
            "kind": self.kind,
            "files": {name: digest(path) for name, path in self.files().items()},
            "options": {name: value for name, value in self.options.items() if not isinstance(value, Path)},
            "precision": self.compute.precision,
            "ending": self.output.suffix.lower(),
        }
        return hashlib.sha256(json.dumps(told, sort_keys=True, ensure_ascii=False).encode()).hexdigest()


@dataclass(frozen=True)
class Made:
    """A film that is finished."""

    file: Path
    frames: int
    seconds: float  # of the film
    took: float  # seconds
    facts: Mapping[str, Any] = field(default_factory=dict)  # what else there is to say, for people and as JSON
    notices: tuple[str, ...] = ()


def make(job: Job, progress: Progress = silent) -> Made:
    """The film, under its name once it is whole."""
    return import_module(f".{job.kind}", __package__).make(job, progress)


# ---- digests of files


def digest_of(path: Path) -> str:
    """The SHA-256 of a file, or of all in a folder; read once as long as nothing changes."""
    if not path.is_dir():
        return _digest(path, *stamp(path))
    digest = hashlib.sha256()
    for file in sorted(path.rglob("*")):
        if file.is_file():
            digest.update(f"{file.relative_to(path).as_posix()} {_digest(file, *stamp(file))}\n".encode())
    return digest.hexdigest()


def stamp(path: Path) -> tuple[int, int]:
    """By which a change is noticed: the size, and when it was written."""
    found = path.stat()
    return found.st_size, found.st_mtime_ns


@lru_cache(maxsize=4096)
def _digest(path: Path, size: int, changed: int) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(PIECE):
            digest.update(piece)
    return digest.hexdigest()
