"""A picture speaks: its own pixels move with the speech, on any processor, unless a model is to make new frames."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from fractions import Fraction
from functools import cache
from importlib import import_module
from typing import Any

import torch
from torch import Tensor

from ..config import FPS
from ..faces.boxes import Picture
from ..faces.find import FaceError
from ..film.marks import read_marks
from ..film.write import as_floats
from ..methods.puppet.hearing import Ear, listen, open_ear
from ..methods.puppet.perform import Direction, perform, placed, poses
from ..methods.puppet.render import Puppet
from ..methods.puppet.sitter import Hints, Sitter, sit
from ..sound.audio import prepare
from .engines import device_of
from .faces import NO_LANDMARKER, face_mesh, known
from .jobs import Job, Made, Progress
from .media import film, mask_of, picture_of, sound_of
from .options import PORTRAIT, PUPPET

WISHES = ("strength", "expressiveness", "blinks", "sway", "seed")


def make(job: Job, progress: Progress) -> Made:
    if job.options["model"] is None:
        made, others = _puppet(job, progress), PORTRAIT
    else:
        made, others = import_module(".portrait", __package__).make(job, progress), PUPPET
    changed = (option.name for option in others if job.options[option.name] != option.default)
    return replace(made, facts={**made.facts, "not_used": ", ".join(changed)})


def _puppet(job: Job, progress: Progress) -> Made:
    picture = picture_of(job.inputs["picture"])
    sound = sound_of(job.inputs["sound"])
    sitter = _sitter(picture, job.options)
    recording = prepare(*sound)
    device = device_of(job.compute)
    pixels = torch.from_numpy(picture).to(device)
    puppet = Puppet(as_floats(pixels).permute(2, 0, 1), sitter.features)
    heard = listen(_ear(), recording)
    pose = poses(heard, Direction(**{name: job.options[name] for name in WISHES}))

    def frames() -> Iterator[Tensor]:
        for chunk in perform(puppet, pose):
            yield from placed(puppet, pixels, chunk)

    done = film(job, frames(), len(pose), Fraction(FPS), sound, read_marks(job.inputs["picture"]), progress)
    facts = {"face": sitter.source, "size": list(picture.shape[1::-1]), "seed": job.options["seed"]}
    notices = (*recording.notices, *sitter.notices)
    return Made(done.file, done.frames, done.frames / FPS, done.took, facts, tuple(map(str, notices)))


def _sitter(picture: Picture, options: Mapping[str, Any]) -> Sitter:
    masks = {name: options[f"{name}_mask"] for name in ("lip", "face")}
    lips, face = (None if path is None else mask_of(path, f"{name} mask") for name, path in masks.items())
    ours, task = known(picture), options["landmarker"]
    if task is None and lips is None and ours is None:
        raise FaceError(f"{NO_LANDMARKER}, or paint --lip-mask and --face-mask.")
    meshes = None if ours is None else ours.landmarker
    return sit(picture, Hints(None, lips, face), meshes, lambda: None if task is None else face_mesh(task))


@cache
def _ear() -> Ear:
    return open_ear()
