"""Make a dataset of drawn people who speak with espeak-ng's voices, with the true opening of each mouth.

People, words and voices of the two splits differ. The same seed gives the same dataset.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .. import work
from ..config import FPS
from ..data import steps
from ..data.dataset import (
    CLIPS,
    MASKS,
    NAMES,
    SPLITS,
    Record,
    Split,
    read_record,
    write_facts,
    write_film,
    write_manifest,
    write_masks,
    write_record,
    write_sound,
    write_tensors,
)
from ..data.models import Models
from ..data.prepare import concluded
from ..data.steps import AT_ONCE, Step, Told, carry_out, digest, recorded
from ..faces.boxes import Picture
from ..faces.crops import MULTIPLE
from ..libraries import LibraryError
from ..methods.hallo import likeness
from ..streams import escape_what_is_lacking
from . import voice
from .drawing import Pose, Sitter, look_of
from .mouths import Motion
from .speaking import Said, monologue, recorded_sound, wander

VERSION = 2  # of what is drawn and said: to be raised when the same seed gives another
BLINKS = 0.3  # a second
BLINK = (0.5, 1.0, 1.0, 0.5)  # how far the lids are shut, frame by frame
SWAY, ROLL = 0.004, 0.008  # deviation of the head's place, in shares of the picture, and of its angle


@dataclass(frozen=True)
class Production:
    size: int = 128  # pixels of each side
    people: int = 200  # for training
    others: int = 20  # for validation
    clips: int = 12  # of each
    seconds: float = 4.0
    english: float = 0.1  # share of the clips
    seed: int = 0

    def __post_init__(self) -> None:
        if self.size < MULTIPLE or self.size % MULTIPLE:
            raise ValueError(f"The size is {self.size} pixels; expected a multiple of {MULTIPLE}.")
        if min(self.people, self.others) < 0 or self.clips < 1 or self.frames < steps.SHORTEST:
            raise ValueError(f"Give at least one clip of each person, of {steps.SHORTEST / FPS:.2f} seconds or more.")

    @property
    def frames(self) -> int:
        return round(self.seconds * FPS)


@dataclass(frozen=True)
class Job:
    root: Path
    id: str
    split: Split
    person: int
    number: int  # of the clip
    settings: Production
    models: Models
    digests: Mapping[str, str]

    def dice(self, *about: int | str) -> np.random.Generator:
        """Reproducible dice for some aspect of this clip or its person."""
        key = digest(VERSION, self.settings.seed, self.split, self.person, *about)
        return np.random.default_rng(int(key, 16))


# ---- what happens in a clip


def scene(job: Job) -> Said:
    """The recorded speech of a clip."""
    dice, chosen = job.dice("speech", job.number), job.settings
    spoken = monologue(dice, job.split, chosen.frames, chosen.english)
    return replace(spoken, samples=recorded_sound(spoken.samples, dice))


def poses(motion: Motion, dice: np.random.Generator) -> list[Pose]:
    """Poses of the mouth's motion, with blinks and sway of the head."""
    frames = len(motion.opening)
    x, y, roll = (wander(dice, frames, FPS * 0.9) * size for size in (SWAY, SWAY, ROLL))
    lids = np.zeros(frames + len(BLINK))
    for place in np.nonzero(dice.random(frames) < BLINKS / FPS)[0]:
        lids[place : place + len(BLINK)] = BLINK
    each = zip(motion.opening, motion.spread, lids[:frames], x, y, roll, strict=True)
    return [Pose(*map(float, values)) for values in each]


# ---- its files


class _UnderWay:
    def __init__(self, job: Job):
        self.job, self.models = job, job.models
        self.folder = job.root / CLIPS / job.id

    @cached_property
    def sitter(self) -> Sitter:
        return Sitter(look_of(self.job.dice("look")), self.job.settings.size)

    def path(self, name: str) -> Path:
        return self.folder / NAMES[name]


def _draw(clip: _UnderWay, _: Record) -> Told:
    job, sitter, size = clip.job, clip.sitter, clip.job.settings.size
    what = scene(job)
    moving = poses(what.motion, job.dice("poses", job.number))
    write_film(clip.path("video"), _batches(sitter, moving))
    write_sound(clip.path("sound"), what.samples)
    regions = steps.joint_masks(map(sitter.mesh, moving), (size, size), steps.Preparation())
    write_masks(clip.folder, *regions)
    write_tensors(clip.path("identity"), identity=likeness.by_colours(sitter.picture(), sitter.face()))
    numbers = {name: torch.from_numpy(getattr(what.motion, name)) for name in ("opening", "spread", "viseme")}
    write_tensors(clip.path("mouth"), **numbers)
    return {"length": len(moving), "text": what.text, **asdict(what.manner), "look": asdict(sitter.look)}


def _batches(sitter: Sitter, moving: Sequence[Pose]) -> Iterator[Tensor]:
    """(n, 3, size, size) in 0..1"""
    for at in range(0, len(moving), AT_ONCE):
        pictures: list[Picture] = [sitter.picture(pose) for pose in moving[at : at + AT_ONCE]]
        yield torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).float().div(255)


STEPS = (
    Step("drawn", ("video", *MASKS, "sound", "identity", "mouth"), _draw),
    steps.SPEECH,
    steps.LATENTS,
)


def make_clip(job: Job) -> Record:
    """Make a clip and return its record, whether it succeeds or fails."""
    return recorded(job.root, lambda: _made(job), partial(_failed, job))


def _made(job: Job) -> Record:
    chosen = job.settings
    drawn = digest(VERSION, chosen.size, chosen.frames, chosen.english, chosen.seed, job.split, job.person, job.number)
    keys = {"drawn": drawn}
    for step, name in (("speech", "encoder"), ("latents", "codec")):
        if name in job.digests:
            keys[step] = digest(drawn, job.digests[name])
    return carry_out(job.root, _begun(job), STEPS, keys, _UnderWay(job))


def _begun(job: Job) -> Record:
    speaker = f"{job.split} {job.person}"
    return Record(job.id, "drawn", "failed", "it was stopped", job.split, speaker, size=job.settings.size)


def _failed(job: Job, reason: str) -> Record:
    return replace(read_record(job.root, job.id) or _begun(job), status="failed", reason=reason)


def _lost(job: Job, reason: str) -> Record:
    write_record(job.root, record := _failed(job, reason))
    return record


# ---- all of them


def synthesize(
    root: Path,
    settings: Production | None = None,
    models: Models | None = None,
    workers: int = 0,
    progress: Callable[[int, int, Record], None] = lambda done, total, record: None,
) -> list[Record]:
    """Make all clips and write the manifest; existing clips are kept."""
    settings, models = settings or Production(), models or Models()
    digests = models.digests()
    jobs = [
        Job(root.absolute(), f"{split}-{person:04d}-{number:03d}", split, person, number, settings, models, digests)
        for split, people in zip(SPLITS, (settings.people, settings.others), strict=True)
        for person in range(people)
        for number in range(settings.clips)
    ]
    write_facts(root, made_by="joyhallo.drawn.synthesize", settings=asdict(settings), models=digests)
    records = []
    for record in work.each(make_clip, jobs, workers, _lost):
        records.append(record)
        progress(len(records), len(jobs), record)
    write_manifest(root, records)
    return sorted(records, key=lambda record: record.id)


def main(arguments: Sequence[str] | None = None) -> int:
    chosen = _parser().parse_args(arguments)
    try:
        voice.check()
        records = synthesize(
            chosen.output,
            Production(**{name: getattr(chosen, name) for name in Production.__dataclass_fields__}),
            Models(encoder=chosen.encoder, codec=chosen.codec),
            chosen.workers,
            _show,
        )
    except (LibraryError, OSError, ValueError) as error:
        print(error, file=sys.stderr)
        return 2
    return concluded(records, chosen.output)


def _parser() -> argparse.ArgumentParser:
    default = Production()
    parser = argparse.ArgumentParser(
        prog="python -m joyhallo.drawn.synthesize",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="The exit code is 0 if no clip failed, 1 if one did, 2 if nothing was done.",
    )
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="DATASET")
    helps: dict[str, str] = {
        "size": "pixels of each side",
        "people": "for training",
        "others": "people for validation",
        "clips": "of each person",
        "seconds": "of each clip",
        "english": "share of clips in English; the others are Mandarin",
        "seed": "another one gives other people and sentences",
    }
    for name, said in helps.items():
        value: Any = getattr(default, name)
        parser.add_argument(f"--{name}", type=type(value), default=value, help=f"{said} (default: %(default)s)")
    parser.add_argument("--speech-encoder", dest="encoder", metavar="FOLDER", help="wav2vec2: what it hears is kept")
    parser.add_argument("--codec", metavar="PATH", help="autoencoder or patches: what it makes of frames is kept")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="processes (default: %(default)s)")
    return parser


def _show(done: int, total: int, record: Record) -> None:
    if done % max(1, total // 50) == 0 or record.status != "ok":
        print(f"{done} of {total}  {record.id}  {record.reason or 'ok'}", flush=True)


if __name__ == "__main__":
    escape_what_is_lacking()
    sys.exit(main())
