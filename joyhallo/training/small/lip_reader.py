"""Train the lip reader on drawn people and on puppets to tell which lips fit which voice.

It writes a .safetensors file and, beside it, a .json with its figures. Films are made once and kept in a cache. Run
again, the command continues from its last checkpoint; the same seed gives the same weights on the same machine.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F

from ...config import FPS
from ...data.dataset import write_tensors, write_text
from ...data.steps import digest
from ...evaluation.lip_reading import known_models, measured
from ...evaluation.puppets import Model, astronaut
from ...faces.boxes import Picture
from ...faces.find import FaceMesh, outline_box
from ...faces.picture import as_picture
from ...measures.lip_reader import FURTHEST, SHORTEST, WINDOW, LipReader
from ...sound.bands import FAINTEST, ROWS
from . import command, course, rooms
from .course import Course, Progress
from .lip_films import SECONDS, VERSION, LipFilm, LipFilms, Portrait, clean_powers
from .lip_sights import filmed_again

KEPT = 50  # steps between checkpoints
SHARPEST = 40.0  # factor of the cosines
LAGS = 6.0  # weight of the loss of whole clips, and the factor of its cosines over that of windows
TALKS = 60  # that the figures are of
LARGEST_FACE = 300.0  # pixels of the height of a puppet's, which is made smaller
ABOUT = (
    "Trained from scratch on drawn people and on pictures that move as this project's puppets, who speak with "
    "espeak-ng's voices, as simulated recordings. No film or recording of a person and no other network took part. It "
    "is not SyncNet: its offsets mean the same, but its similarities and confidences are numbers of its own, not "
    "Sync-C or Sync-D. The figures are of people, pictures, words and voices outside training; no film of a real "
    "person was measured."
)


@dataclass(frozen=True)
class LipTraining(Course):
    hours: float = 1.6  # of film to learn from
    steps: int = 4500
    batch: int = 14
    seconds: float = 1.6  # of each piece
    english: float = 0.4  # share of the films
    learning_rate: float = 2e-3
    seed: int = 0

    def __post_init__(self) -> None:
        least = (SHORTEST + WINDOW - 1) / FPS
        if min(self.steps, self.batch, self.films) < 1 or not least <= self.seconds <= SECONDS:
            raise ValueError(
                f"Give at least one step of one piece, of {least:.2f} to {SECONDS:.0f} seconds, and "
                f"{SECONDS:.0f} seconds of film."
            )

    @property
    def films(self) -> int:
        return int(self.hours * 3600 / SECONDS)

    def dice(self, *about: int | str) -> np.random.Generator:
        return np.random.default_rng(int(digest(VERSION, "lip reader", self.seed, *about), 16))


# ---- what is seen and heard


@dataclass(frozen=True)
class Batch:
    crops: Tensor  # (clips, frames, rows, columns)
    sound: Tensor  # (clips, 4 frames, BANDS)
    speaking: Tensor  # bool (clips)


def batch(films: Sequence[LipFilm], played: Tensor, settings: LipTraining, step: int) -> Batch:
    dice, frames = settings.dice("step", step), settings.frames
    chosen = dice.choice(len(films), settings.batch, replace=len(films) < settings.batch)
    pieces = [(films[number], int(dice.integers(len(films[number].crops) - frames + 1))) for number in chosen]
    wide, opening, clean = (
        torch.stack([getattr(film, name)[at * rows : (at + frames) * rows] for film, at in pieces])
        for name, rows in (("crops", 1), ("opening", 1), ("powers", ROWS))
    )
    sound, speaking = rooms.recorded(clean.float(), played, dice)
    return Batch(filmed_again(wide, opening, dice), (sound + FAINTEST).log10(), speaking > 0)


# ---- learning


class Judge(nn.Module):
    """A reader that learns, and how sharply it tells cosines apart."""

    def __init__(self) -> None:
        super().__init__()
        self.reader, self.sharpness = LipReader(), nn.Parameter(torch.tensor(math.log(8.0)))

    def forward(self, seen: Batch) -> Tensor:
        """Losses of single windows, by what is seen and by what is heard, and of whole clips; (3)"""
        lips, voice = self.reader.lips(seen.crops), self.reader.voice(seen.sound)
        count, sharp = lips.shape[1], self.sharpness.exp().clamp(max=SHARPEST)
        cosines = lips.flatten(0, 1) @ voice.flatten(0, 1).T
        own, spoken = torch.arange(len(cosines)), seen.speaking.repeat_interleave(count)
        single = [_told(some * sharp, own, spoken) for some in (cosines, cosines.T)]
        within = torch.stack([cosines[at : at + count, at : at + count] for at in range(0, len(cosines), count)])
        together = torch.full((len(within),), FURTHEST)
        return torch.stack([*single, LAGS * _told(by_lag(within) * sharp * LAGS, together, seen.speaking)])


def _told(scores: Tensor, right: Tensor, where: Tensor) -> Tensor:
    """How surprising the right one of each row is."""
    return F.cross_entropy(scores[where], right[where], reduction="sum") / where.sum().clamp(min=1)


def by_lag(cosines: Tensor) -> Tensor:
    """(clips, windows, windows) -> (clips, 2 * FURTHEST + 1): means over the windows that there are at each lag"""
    lags = range(-FURTHEST, FURTHEST + 1)
    return torch.stack([cosines.diagonal(-lag, 1, 2).mean(1) for lag in lags], dim=1)


def train(
    settings: LipTraining, films: Sequence[LipFilm], kept: Path, progress: Progress = lambda step, each: None
) -> LipReader:
    """Train, from the checkpoint at `kept` if there is one."""
    played = 10 ** clean_powers(rooms.music(settings.dice("music")))

    def losses(judge: Judge, step: int) -> Tensor:
        return judge(batch(films, played, settings, step))

    judge = course.train(settings, Judge, losses, kept, KEPT, progress)
    return judge.reader.requires_grad_(False).eval()


# ---- what is written


def write(
    path: Path, reader: LipReader, settings: LipTraining, pictures: Sequence[str], found: Mapping[str, Any]
) -> None:
    """The weights in half precision, and the figures beside them."""
    write_tensors(path, **{name: tensor.half().contiguous() for name, tensor in reader.state_dict().items()})
    told = {"about": ABOUT, "version": VERSION, "settings": asdict(settings), "pictures": pictures, "figures": found}
    write_text(path.with_suffix(".json"), json.dumps(told, indent=2) + "\n")


def learn(
    settings: LipTraining,
    path: Path,
    films: LipFilms,
    unseen: Mapping[str, Model],
    tell: Callable[[str], None],
) -> dict[str, Any]:
    """Make films, train, evaluate and write the reader; returns the figures. unseen: to be puppets in the figures"""
    shown = films.films(settings.films)
    tell(f"{len(shown) * SECONDS / 3600:.2f} hours of film to learn from")
    kept = path.with_suffix(".training")
    reader = train(settings, shown, kept, lambda step, each: tell(f"{step} of {settings.steps}  {course.line(each)}"))
    found = measured(reader, unseen, TALKS, seed=settings.seed + 1)
    write(path, reader, settings, [portrait.name for portrait in films.portraits], found)
    kept.unlink()
    return found


def known_portraits(pictures: Sequence[Path], landmarker: Path) -> list[Portrait]:
    """Faces in scikit-image's astronaut and in files of pictures."""
    some = {"astronaut": astronaut()} | {path.name: as_picture(Image.open(path)) for path in pictures}
    with FaceMesh(landmarker).at_work() as finder:
        return [_portrait(name, picture, finder) for name, picture in some.items()]


def _portrait(name: str, picture: Picture, finder: FaceMesh) -> Portrait:
    mesh = max(finder.anywhere(picture), key=lambda mesh: outline_box(mesh).area)
    smaller = min(1.0, LARGEST_FACE / outline_box(mesh).height)
    return Portrait(name, picture, mesh).stretched(smaller, smaller)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = command.parser("lip_reader", __doc__, LipTraining, "lip reader")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="FILE", help="a .safetensors")
    parser.add_argument("--cache", type=Path, required=True, metavar="FOLDER", help="for the films, 2 MB each")
    parser.add_argument("--landmarker", type=Path, help="MediaPipe's face_landmarker.task; without it, no photographs")
    parser.add_argument("--unseen", nargs="*", type=Path, default=(), metavar="PICTURE", help="only for the figures")
    parser.add_argument("pictures", nargs="*", type=Path, metavar="PICTURE", help="of people, to learn from as puppets")
    chosen = parser.parse_args(arguments)
    if (chosen.pictures or chosen.unseen) and not chosen.landmarker:
        parser.error("pictures need --landmarker")

    def learnt(settings: LipTraining) -> dict[str, Any]:
        portraits, unseen = (), {}
        if chosen.landmarker:
            portraits = known_portraits(chosen.pictures, chosen.landmarker)
            unseen = known_models({path.stem: path for path in chosen.unseen}, chosen.landmarker)
        films = LipFilms(settings.seed, settings.english, chosen.cache, portraits, chosen.workers)
        return learn(settings, chosen.output, films, unseen, command.tell)

    return command.run(chosen, LipTraining, learnt)


if __name__ == "__main__":
    sys.exit(main())
