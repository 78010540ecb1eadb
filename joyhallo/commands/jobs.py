"""`Job`: a film to be made, in plain values, so that any process on any machine can make it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from importlib import import_module
from pathlib import Path
from typing import Any, Literal

from ..files.digests import digest_of
from .crew import ALONE, Crew
from .option import Option
from .options import REDUB, TALK

VERSION = 4  # of what jobs make: to be raised when the same inputs no longer give the same film
SEEDS = ("seed", "noise_seed")  # how inputs are called that take one
MAKING = "Making"  # the step in which frames are made

Kind = Literal["talk", "redub", "workflow"]  # the last of ComfyUI, and made there alone
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
    options: Mapping[str, Any]  # all of the kind, under their names; of a workflow, what it is filled with
    output: Path
    compute: Compute = field(default_factory=Compute)
    number: str = ""  # by which the film's label names it; "": a new one
    replacing: bool = False  # whether a file under the output's name makes way
    resuming: bool = True  # whether what a model makes can be taken up again after a stop
    crew: Crew = ALONE  # who shares a redub

    @property
    def seed(self) -> Any:
        """Of a workflow: that of the first node which has one."""
        return next((value for name, value in self.options.items() if name.rpartition(".")[2] in SEEDS), None)

    def files(self) -> dict[str, Path]:
        """All that the film depends on, by what it is for."""
        others = {name: value for name, value in self.options.items() if isinstance(value, Path)}
        return {**self.inputs, **others}

    def from_anywhere(self) -> Job:
        """The same, whatever the current folder is."""
        inputs = {name: path.absolute() for name, path in self.inputs.items()}
        options = {name: one.absolute() if isinstance(one, Path) else one for name, one in self.options.items()}
        return replace(self, inputs=inputs, options=options, output=self.output.absolute())

    def key(self, digest: Callable[[Path], str] = digest_of) -> str:
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
