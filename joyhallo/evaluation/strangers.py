"""Which measures see that a film shows somebody else? Another drawn person takes over and says the same words.

    python -m joyhallo.evaluation.strangers [--talks 12] [--json FIGURES.json]

The other one stands in the same room, moves alike and speaks with the same voice, so lips and sound still fit. A
growing share of the film is the other's. Faces are told where they are drawn, without a finder. Likeness by a
recogniser (CSIM) is not among the measures, as nobody's weights are taken.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from ..config import FPS
from ..drawn.drawing import Look, Pose, Sitter, look_of
from ..drawn.speaking import monologue, recorded_sound
from ..drawn.synthesize import poses
from ..faces.boxes import Box, Points
from ..libraries import LibraryError
from ..measures.landmarks import keypoint_distance, landmark_distance
from ..measures.lip_reader import LipReader, open_lip_reader
from ..measures.looks import drift, look
from ..measures.similarity import Similarity, decibels
from ..measures.table import MEASURES
from .lip_reading import SECONDS, SIZES, add_options, compared, cropped, trembling

SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)  # of a film, in which another one is shown
GRAIN = 3.0  # levels by which a film is noisier than its truth: without it, PSNR would begin at infinity
NAMES = ("psnr", "ssim", "lmd", "akd", "drift", "lip_sync")

Means = dict[str, dict[str, float]]  # of each measure, by shares


@dataclass(frozen=True)
class Shown:
    """A person in each frame of a film."""

    pictures: Tensor  # uint8 (frames, size, size, 3)
    meshes: Points  # (frames, 478, 2)
    boxes: Sequence[Box]

    @classmethod
    def drawn(cls, sitter: Sitter, moving: Sequence[Pose]) -> Shown:
        pictures = torch.from_numpy(np.stack([sitter.picture(pose) for pose in moving]))
        meshes = np.stack([sitter.mesh(pose) for pose in moving])
        return cls(pictures, meshes, [sitter.face(pose) for pose in moving])

    def followed(self, other: Shown, share: float) -> Shown:
        """The other one takes over for the last share of the film."""
        own = round((1 - share) * len(self.pictures))
        return Shown(
            torch.cat([self.pictures[:own], other.pictures[own:]]),
            np.concatenate([self.meshes[:own], other.meshes[own:]]),
            [*self.boxes[:own], *other.boxes[own:]],
        )


@dataclass(frozen=True)
class Scene:
    person: Shown
    stranger: Shown
    samples: Tensor
    grain: Tensor  # levels, as large as the pictures


def scenes(count: int, seconds: float = SECONDS, seed: int = 0) -> Iterator[Scene]:
    """People and words that the lip reader has not learnt from, Mandarin and English in turn."""
    for number in range(count):
        dice = np.random.default_rng([seed, number, 3])
        said = monologue(dice, "validation", round(seconds * FPS), number % 2, 0.5)
        person, size = look_of(dice), int(dice.choice(SIZES))
        moving = poses(said.motion, dice)
        own, other = (Shown.drawn(Sitter(one, size), moving) for one in (person, _another(person, dice)))
        grain = torch.from_numpy(dice.normal(0, GRAIN, own.pictures.shape).astype(np.float32))
        yield Scene(own, other, recorded_sound(said.samples, dice), grain)


def _another(person: Look, dice: np.random.Generator) -> Look:
    return replace(look_of(dice), wall=person.wall)


def figures(reader: LipReader, scene: Scene, share: float) -> dict[str, float]:
    film, truth = scene.person.followed(scene.stranger, share), scene.person
    pictures = (film.pictures + scene.grain).round().clamp(0, 255).byte()
    similarity = Similarity(("gaussian",))
    similarity.see(pictures, truth.pictures)
    found = trembling(film.boxes, np.random.default_rng(0))
    return {
        "psnr": float(decibels(similarity.errors().mean())),
        "ssim": float(similarity.ssim("gaussian").mean()),
        "lmd": float(np.nanmean(landmark_distance(film.meshes, truth.meshes))),
        "akd": float(np.nanmean(keypoint_distance(film.meshes, truth.meshes))),
        "drift": drift(look(pictures, film.boxes), FPS).colour,
        "lip_sync": compared(reader, cropped(iter(pictures), found), scene.samples).together,
    }


def measured(reader: LipReader, shown: Sequence[Scene], shares: Sequence[float] = SHARES) -> Means:
    """Each measure's mean over the scenes, by the share of the film in which another one is shown."""
    each = {share: [figures(reader, scene, share) for scene in shown] for share in shares}
    return {
        name: {f"{share:g}": float(np.mean([one[name] for one in some])) for share, some in each.items()}
        for name in NAMES
    }


# ---- the command


def report(found: Mapping[str, Mapping[str, float]]) -> str:
    lines = [f"{'share that shows another one':<30}" + "".join(f"{share:>9}" for share in found[NAMES[0]])]
    for name, values in found.items():
        measure = MEASURES[name]
        title = f"{measure.title}, {measure.unit}" if measure.unit else measure.title
        lines.append(f"{title:<30}" + "".join(f"{value:>9{measure.form}}" for value in values.values()))
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    chosen = _parser().parse_args(arguments)
    try:
        reader = open_lip_reader().build(dtype=torch.float32)
        found = measured(reader, list(scenes(chosen.talks, chosen.seconds, chosen.seed)))
    except (LibraryError, OSError, ValueError) as error:
        sys.stderr.write(f"{error}\n")
        return 2
    sys.stdout.write(f"{report(found)}\n")
    if chosen.json:
        chosen.json.write_text(json.dumps(found, indent=2) + "\n")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m joyhallo.evaluation.strangers",
        description="Which measures see that a film shows somebody else?",
    )
    add_options(parser, talks=12)
    return parser


if __name__ == "__main__":
    sys.exit(main())
