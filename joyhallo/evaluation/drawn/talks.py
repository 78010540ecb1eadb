"""Talks of drawn people for evaluation, whose faces, words and voices do not occur in training."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ...config import FPS
from ...data.dataset import SAMPLES, Split
from ...data.models import Models
from ...drawn.drawing import Pose, Sitter, look_of
from ...drawn.mouths import Motion
from ...drawn.speaking import PEAK, drifting, monologue
from ...drawn.synthesize import Job, Production, poses
from ...faces.boxes import Picture
from ...faces.regions import LIPS, OUTLINE, Mask
from ...measures.curves import Curve
from ...sound.audio import levels
from ..figures import Film, Where
from .mouths import Album, Gauge, region

SEED = 88  # of people and sentences: not that of datasets, whose people of validation may have chosen a checkpoint
FAINTEST = -50.0  # dB of full scale: what is fainter is as good as silent
QUIET = 1e-4  # of full scale: a silent room


@dataclass(frozen=True)
class Talk:
    """A drawn person and what they say. Only the mouth moves."""

    job: Job
    sitter: Sitter
    text: str
    samples: Tensor  # (frames * SAMPLES) at SAMPLE_RATE, clean
    motion: Motion  # the truth

    @property
    def name(self) -> str:
        return f"{self.job.split} {self.job.person}"

    @property
    def length(self) -> int:
        return len(self.motion.opening)

    @cached_property
    def opening(self) -> Curve:
        """(frames) in 0..1: the true one"""
        return self.motion.opening.astype(float)

    @cached_property
    def portrait(self) -> Picture:
        """The person with the mouth shut."""
        return self.sitter.picture()

    @cached_property
    def face_mask(self) -> Mask:
        return region(self.sitter, OUTLINE)

    @cached_property
    def lip_mask(self) -> Mask:
        return region(self.sitter, LIPS)

    @cached_property
    def gauge(self) -> Gauge:
        return Gauge.of(self.sitter)

    @cached_property
    def album(self) -> Album:
        return Album.of(self.sitter)

    @cached_property
    def beside_lips(self) -> Where:
        return ~self.gauge.where

    @cached_property
    def face(self) -> Where:
        """The face without the lips."""
        return (self.face_mask > 0) & self.beside_lips

    @cached_property
    def around(self) -> Where:
        """Neither face nor lips."""
        return (self.face_mask == 0) & self.beside_lips

    @cached_property
    def truth(self) -> Film:
        mouths = zip(self.motion.opening.tolist(), self.motion.spread.tolist(), strict=True)
        return np.stack([self.sitter.picture(Pose(opening, spread)) for opening, spread in mouths])

    @cached_property
    def moving(self) -> Film:
        """The talk with the head motion of datasets."""
        return np.stack([self.sitter.picture(pose) for pose in poses(self.motion, self.job.dice("moving"))])

    def begun(self, frames: int) -> Talk:
        """The first frames of it."""
        whole = self.motion
        motion = Motion(whole.opening[:frames], whole.spread[:frames], whole.viseme[:frames])
        return replace(self, samples=self.samples[: frames * SAMPLES], motion=motion)

    def scrambled(self) -> Tensor:
        """The samples, louder and fainter by up to 12 dB, whatever is said."""
        return _as_loud_as_recorded(drifting(self.samples, self.job.dice("scrambled")).float())

    def broken_off(self, frame: int) -> Tensor:
        """The samples up to a frame; then the room is silent."""
        room = torch.from_numpy(self.job.dice("room").standard_normal(len(self.samples))).float() * QUIET
        room[: frame * SAMPLES] = self.samples[: frame * SAMPLES]
        return room


def loudness(samples: Tensor) -> Curve:
    """(frames, 2): in dB of full scale, and as an amplitude"""
    level = levels(samples, len(samples) // SAMPLES).clamp(min=FAINTEST).double().numpy()
    return np.stack([level, 10 ** (level / 20)], axis=1)


def talks(count: int, frames: int, size: int, split: Split = "validation", seed: int = SEED) -> list[Talk]:
    """Make talks, each of a different person."""
    return [_talk(job) for job in _jobs(count, frames, size, split, seed)]


def portraits(count: int, size: int, split: Split = "validation", seed: int = SEED) -> Film:
    """(count, size, size, 3): of those who talk, and of others"""
    return np.stack([_sitter(job).picture() for job in _jobs(count, 2 * FPS, size, split, seed)])


def _jobs(count: int, frames: int, size: int, split: Split, seed: int) -> Sequence[Job]:
    settings = Production(size=size, seconds=frames / FPS, seed=seed)
    return [Job(Path(), f"{split}-{person}", split, person, 0, settings, Models(), {}) for person in range(count)]


def _sitter(job: Job) -> Sitter:
    return Sitter(look_of(job.dice("look")), job.settings.size)


def _talk(job: Job) -> Talk:
    dice, chosen = job.dice("speech", job.number), job.settings
    said = monologue(dice, job.split, chosen.frames, chosen.english)
    return Talk(job, _sitter(job), said.text, _as_loud_as_recorded(said.samples), said.motion)


def _as_loud_as_recorded(samples: Tensor) -> Tensor:
    return samples * (PEAK / samples.abs().max().clamp(min=1e-6))
