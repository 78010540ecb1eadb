"""Films for a lip reader to learn from, made once and kept in a cache: drawn people, and pictures that move as puppets.

What is kept of a film are wide crops around the mouth, in grey, and the clean spectra of its sound: `LipFilms.films`.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import Tensor

from ... import work
from ...data.dataset import replacing
from ...data.steps import digest
from ...drawn.drawing import Sitter, look_of
from ...drawn.mouths import GESTURES, articulation
from ...drawn.speaking import Said
from ...drawn.synthesize import poses
from ...evaluation.puppets import Model, in_floats
from ...faces.boxes import Picture, Points
from ...faces.find import outline_box
from ...measures.lip_reader import crops, steady
from ...methods.puppet.face import Features
from ...methods.puppet.hearing import Articulation
from ...methods.puppet.perform import Direction, perform, placed
from ...methods.puppet.perform import poses as puppet_poses
from ...methods.puppet.render import Puppet
from ...sound.audio import levels
from ...sound.bands import BEFORE, FAINTEST, gain_of, powers
from .takes import speech

VERSION = 3  # to be raised when the same seed gives other films
SECONDS = 12.0
WIDER = 1.375  # how much more than a reader sees is kept: for crops that are off
PUPPETS, DRAWN_PUPPETS = 0.3, 0.15  # shares of the films, the second with a drawn picture
SIZES = (96, 112, 128, 160, 192, 224)  # of the pictures of drawn people
FACES = (60.0, 160.0)  # pixels of the height of a puppet's face
STRETCH = 0.12  # how much wider or narrower a puppet's picture may be
STRENGTHS = (0.6, 1.1)  # by which mouths open
COMPRESSED, QUALITIES = 0.5, (25, 90)
AT_ONCE = 50  # frames


@dataclass(frozen=True)
class Portrait:
    """A picture whose face is known."""

    name: str
    picture: Picture
    mesh: Points

    def stretched(self, across: float, down: float) -> Portrait:
        size = (round(self.picture.shape[1] * across), round(self.picture.shape[0] * down))
        picture = np.asarray(Image.fromarray(self.picture).resize(size, Image.Resampling.LANCZOS))
        return Portrait(self.name, picture, self.mesh[:, :2] * (across, down))


@dataclass(frozen=True)
class LipFilm:
    crops: Tensor  # uint8 (frames, rows, columns): WIDER than a reader's
    powers: Tensor  # float16 (4 frames, BANDS): logarithms, at the usual loudness
    opening: Tensor  # (frames): of the mouth


@dataclass(frozen=True)
class LipFilms:
    """Film number n is a function of these and of n."""

    seed: int
    english: float  # share of the films
    cache: Path
    portraits: Sequence[Portrait] = ()
    workers: int = 0

    def films(self, count: int) -> list[LipFilm]:
        missing = [number for number in range(count) if not self._place(number).is_file()]
        for trouble in work.each(self._make, missing, self.workers, lambda _, reason: reason):
            if trouble:
                raise OSError(f"A film was not made: {trouble}.")
        return [LipFilm(**load_file(self._place(number))) for number in range(count)]

    def _place(self, number: int) -> Path:
        return self.cache / f"film-{number:05d}-{digest(VERSION, self.seed, self.english, len(self.portraits))[:8]}"

    def _make(self, number: int) -> str:
        dice = np.random.default_rng(int(digest(VERSION, "lips", self.seed, number), 16))
        made, place = filmed(dice, self.english, self.portraits), self._place(number)
        place.parent.mkdir(parents=True, exist_ok=True)
        with replacing(place) as temporary:
            save_file({"crops": made.crops, "powers": made.powers, "opening": made.opening}, temporary)
        return ""


def filmed(dice: np.random.Generator, english: float, portraits: Sequence[Portrait]) -> LipFilm:
    said, kind = speech(dice, "train", english, SECONDS), dice.random()
    if kind < PUPPETS and portraits:
        seen = _of_puppet(portraits[int(dice.integers(len(portraits)))], said, dice)
    elif kind < PUPPETS + DRAWN_PUPPETS:
        seen = _of_puppet(_drawn_portrait(dice), said, dice)
    else:
        seen = _of_drawn(said, dice)
    heard = clean_powers(said.samples).half()
    return LipFilm(_compressed(seen, dice), heard, torch.from_numpy(said.motion.opening))


def clean_powers(samples: Tensor) -> Tensor:
    """(rows, BANDS): logarithms"""
    silence = samples.new_zeros(BEFORE)
    return (powers(torch.cat([silence, samples, silence])) * gain_of(samples) + FAINTEST / 10).log10()


# ---- what is seen


def _of_drawn(said: Said, dice: np.random.Generator) -> Tensor:
    """A drawn person; some shut their lips for b, p, m whatever comes before and after, as people do."""
    sitter, motion = Sitter(look_of(dice), int(dice.choice(SIZES))), said.motion
    opening = motion.opening if dice.random() < 0.5 else articulation(said.phonemes, len(motion.opening))[:, 0]
    moving = poses(replace(motion, opening=(opening * dice.uniform(*STRENGTHS)).clip(0, 1)), dice)
    faces = steady([sitter.face(pose) for pose in moving])
    pictures = (torch.from_numpy(sitter.picture(pose).copy()) for pose in moving)
    return _cropped(pictures, faces)


def _drawn_portrait(dice: np.random.Generator) -> Portrait:
    sitter = Sitter(look_of(dice), 256)
    return Portrait("drawn", sitter.picture(), sitter.mesh())


def _of_puppet(portrait: Portrait, said: Said, dice: np.random.Generator) -> Tensor:
    scale = dice.uniform(*FACES) / outline_box(portrait.mesh).height
    wide = 1 + dice.uniform(-STRETCH, STRETCH)
    model = _model(portrait.stretched(scale * wide, scale / wide))
    frames = len(said.motion.opening)
    gestures = dict(zip(GESTURES, torch.from_numpy(articulation(said.phonemes, frames)).T, strict=True))
    mouth = Articulation(**gestures, loudness=levels(said.samples, frames))
    direction = Direction(strength=dice.uniform(*STRENGTHS), seed=int(dice.integers(1 << 30)))
    still = torch.from_numpy(model.picture.copy())
    pictures = (
        picture
        for chunk in perform(model.puppet, puppet_poses(mouth, direction))
        for some in placed(model.puppet, still, chunk)
        for picture in some
    )
    return _cropped(pictures, steady([outline_box(model.mesh)] * frames))


def _model(portrait: Portrait) -> Model:
    puppet = Puppet(in_floats(portrait.picture).permute(2, 0, 1), Features.of_mesh(portrait.mesh))
    return Model(portrait.name, portrait.picture, portrait.mesh, puppet)


def _cropped(pictures: Iterator[Tensor], faces: Tensor) -> Tensor:
    """uint8 (frames, rows, columns), of pictures (height, width, 3)"""
    cut = list[Tensor]()
    for start in range(0, len(faces), AT_ONCE):
        part = faces[start : start + AT_ONCE]
        frames = torch.stack([next(pictures) for _ in part])
        cut.append((crops(frames, part, WIDER) * 255).round().byte())
    return torch.cat(cut)


def _compressed(seen: Tensor, dice: np.random.Generator) -> Tensor:
    if dice.random() >= COMPRESSED:
        return seen
    again = partial(_again, quality=int(dice.integers(*QUALITIES)))
    return torch.stack([again(crop) for crop in seen])


def _again(crop: Tensor, quality: int) -> Tensor:
    """Out of a JPEG."""
    file = io.BytesIO()
    Image.fromarray(crop.numpy()).save(file, "JPEG", quality=quality)
    return torch.from_numpy(np.array(Image.open(file)))
