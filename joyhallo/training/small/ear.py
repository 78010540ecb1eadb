"""Train the puppet's ear on espeak-ng's voices to tell what the mouth does.

It writes a .safetensors file and, beside it, a .json with its accuracy. Takes are spoken once and kept in a cache. Run
again, the command continues from its last checkpoint; the same seed gives the same weights on the same machine.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ...data.dataset import write_tensors, write_text
from ...data.steps import digest
from ...methods.puppet.hearing import Ear
from ...sound.bands import BEFORE, FAINTEST, ROWS, gain_of, powers
from . import command, course
from .course import Course, Progress
from .ear_figures import calibrated, figures
from .rooms import music, recorded
from .takes import SECONDS, VERSION, Speakers, Take

KEPT = 100  # steps between checkpoints
SETTLING = 40  # batches
ENDS = 0.15  # share of the pieces that are the beginning of a recording, and the end
WEIGHTS = torch.tensor([4.0, 1.0, 1.5, 2.5, 3.0])  # of the squared errors
MOVING = 2.0  # weight of errors in the difference of neighbouring frames
HELD_OUT = 60  # takes that the figures are measured on
ABOUT = (
    "Trained from scratch on speech of espeak-ng, whose phonemes and times are known, as simulated recordings: other "
    "vocal tracts, breath, rooms, noise, music, microphones. No recording of a person and no other network took part. "
    "The truth blends mouth shapes of phonemes with a Gaussian of 40 ms (joyhallo/drawn/mouths.py). The figures are of "
    "words and voices outside training; factors and thresholds were set on training takes."
)


@dataclass(frozen=True)
class EarTraining(Course):
    hours: float = 3.0  # of speech to learn from
    steps: int = 9500
    batch: int = 10
    seconds: float = 4.0  # of each piece
    english: float = 0.55  # share of the takes
    learning_rate: float = 3e-3
    seed: int = 0

    def __post_init__(self) -> None:
        if min(self.steps, self.batch, self.takes) < 1 or not 0.5 <= self.seconds <= SECONDS - 1:
            raise ValueError(
                f"Give at least one step of one piece, of 0.5 to {SECONDS - 1:.0f} seconds, and "
                f"{SECONDS:.0f} seconds of speech."
            )

    @property
    def takes(self) -> int:
        return int(self.hours * 3600 / SECONDS)

    def dice(self, *about: int | str) -> np.random.Generator:
        return np.random.default_rng(int(digest(VERSION, "ear", self.seed, *about), 16))


# ---- what is heard


@dataclass(frozen=True)
class Heard:
    """Takes as the ear hears them, at the usual loudness: power in each band, and the truth."""

    powers: Tensor  # (takes, rows, BANDS): logarithms, float16
    mouths: Tensor  # (takes, frames, HEARD)
    music: Tensor  # (rows, BANDS): powers

    @classmethod
    def of(cls, spoken: Sequence[Take], settings: EarTraining) -> Heard:
        heard = torch.stack([_log_powers(take.sound).half() for take in spoken])
        played = music(settings.dice("music"))
        return cls(heard, torch.stack([take.mouth for take in spoken]), 10 ** _log_powers(played))


def _log_powers(sound: Tensor) -> Tensor:
    return (powers(F.pad(sound, (BEFORE, BEFORE))) * gain_of(sound) + FAINTEST / 10).log10()


def batch(heard: Heard, settings: EarTraining, reach: int, step: int) -> tuple[Tensor, Tensor]:
    """Spectra of pieces as recorded, with `reach` frames more on either side, and what the mouth does in them."""
    dice, frames = settings.dice("step", step), settings.frames
    numbers = dice.integers(len(heard.mouths), size=settings.batch)
    starts = dice.integers(reach, heard.mouths.shape[1] - frames - reach, size=settings.batch, endpoint=True)
    pieces = list(zip(numbers.tolist(), starts.tolist(), strict=True))
    mouths = torch.stack([heard.mouths[number, at : at + frames] for number, at in pieces])
    clean = torch.stack([
        heard.powers[number, (at - reach) * ROWS : (at + frames + reach) * ROWS] for number, at in pieces
    ])  # fmt: skip
    sound, speaking = recorded(clean.float(), heard.music, dice)
    for beyond in (slice(0, reach * ROWS), slice(-reach * ROWS, None)):
        sound[torch.from_numpy(dice.random(settings.batch) < ENDS), beyond] = 0
    return (sound + FAINTEST).log10(), mouths * speaking[:, None, None]


# ---- learning


def loss_of(said: Tensor, wanted: Tensor) -> Tensor:
    """Squared errors of what is told and of how it moves; (HEARD)"""
    apart = said - wanted
    return WEIGHTS * (apart.square().mean((0, 1)) + MOVING * apart.diff(dim=1).square().mean((0, 1)))


def train(settings: EarTraining, heard: Heard, kept: Path, progress: Progress = lambda step, each: None) -> Ear:
    """Train, from the checkpoint at `kept` if there is one."""

    def losses(ear: Ear, step: int) -> Tensor:
        sound, wanted = batch(heard, settings, ear.reach, step)
        return loss_of(ear(sound), wanted)

    return settled(course.train(settings, Ear, losses, kept, KEPT, progress), settings, heard)


@torch.no_grad()
def settled(ear: Ear, settings: EarTraining, heard: Heard) -> Ear:
    """The ear, ready for use, with the statistics of its norms measured anew, as those kept are of other weights."""
    for layer in ear.modules():
        if isinstance(layer, nn.BatchNorm1d):
            layer.reset_running_stats()
            layer.momentum = None  # the mean of all batches
    ear.train()
    for number in range(SETTLING):
        ear(batch(heard, settings, ear.reach, settings.steps + number)[0])
    return ear.requires_grad_(False).eval()


# ---- what is written


def write(path: Path, ear: Ear, settings: EarTraining, found: Mapping[str, Any]) -> None:
    """The weights in half precision, and the figures beside them."""
    write_tensors(path, **{name: _halved(tensor) for name, tensor in ear.state_dict().items()})
    told = {"about": ABOUT, "version": VERSION, "settings": asdict(settings), "figures": found}
    write_text(path.with_suffix(".json"), json.dumps(told, indent=2) + "\n")


def _halved(tensor: Tensor) -> Tensor:
    return (tensor.half() if tensor.is_floating_point() else tensor).contiguous()


def learn(settings: EarTraining, path: Path, cache: Path, workers: int, tell: Callable[[str], None]) -> dict[str, Any]:
    """Speak, train, calibrate, evaluate and write the ear; returns the figures."""
    speakers = Speakers(settings.seed, settings.english, cache, workers)
    spoken = speakers.takes("train", settings.takes)
    tell(f"{len(spoken) * SECONDS / 3600:.2f} hours of speech to learn from")
    heard, kept = Heard.of(spoken, settings), path.with_suffix(".training")
    ear = train(settings, heard, kept, lambda step, each: tell(f"{step} of {settings.steps}  {course.line(each)}"))
    ear = calibrated(ear, spoken[:HELD_OUT], settings.dice("calibration"))
    others = speakers.takes("validation", min(HELD_OUT, settings.takes))
    found = figures(ear, others, settings.dice("figures"))
    write(path, ear, settings, found)
    kept.unlink()
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    parser = command.parser("ear", __doc__, EarTraining, "ear")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="FILE", help="a .safetensors")
    parser.add_argument("--cache", type=Path, required=True, metavar="FOLDER", help="for the takes, 0.4 MB each")
    chosen = parser.parse_args(arguments)

    def learnt(settings: EarTraining) -> dict[str, Any]:
        return learn(settings, chosen.output, chosen.cache, chosen.workers, command.tell)

    return command.run(chosen, EarTraining, learnt)


if __name__ == "__main__":
    sys.exit(main())
