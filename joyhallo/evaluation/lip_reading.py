"""Does the lip reader tell which voice fits which lips? People, pictures, words and voices that it has not learnt from.

    python -m joyhallo.evaluation.lip_reading [--landmarker face_landmarker.task PICTURE ...]

Drawn people and, where pictures and a landmarker are given, puppets speak with espeak-ng's voices. Offsets are planted
by cutting the sound elsewhere; controls are other talks' sounds, and faults of growing strength must lower the figures.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from ..config import FPS
from ..data.dataset import SAMPLES
from ..drawn.drawing import Sitter, look_of
from ..drawn.mouths import GESTURES, articulation
from ..drawn.speaking import Said, monologue, recorded_sound
from ..drawn.synthesize import poses
from ..faces.area import area
from ..faces.boxes import Box
from ..faces.find import FaceMesh, outline_box
from ..faces.picture import as_picture
from ..libraries import LibraryError
from ..measures.lip_reader import BUNDLED, Fit, LipReader, crops, fit, heard, open_lip_reader, seen, steady
from ..methods.puppet.hearing import Articulation
from ..sound.audio import Recording, levels
from .puppets import Model

PLANTED = range(-5, 6)  # frames
MARGIN = max(PLANTED)  # frames of a talk on either side of what is compared
SECONDS = 4.0
SIZES = (112, 128, 160, 192)  # of pictures of drawn people
TREMBLE = 0.01  # deviation of a found face's box, in shares of its side
FACE = 160.0  # pixels of a puppet's face at most
AT_ONCE = 50  # frames
MARK = 0.95  # of the offsets that must be found among drawn people
SPOILT = 12  # drawn talks to which faults are done
BLURS, FROZEN, SHUFFLED = (0, 4, 8, 16), (0.0, 0.3, 0.6, 0.9), (0.0, 0.3, 0.6, 0.9)
LAGS = (0, 1, 2, 3)  # beyond, the beat of syllables makes some lags fit better than others; the offset tells them
FAULTS = "similarity of drawn people with faults"
SHORT = FPS // 5  # frames of the pieces that are shuffled


@dataclass(frozen=True)
class Talk:
    """Somebody speaks, some frames longer on either side than what is compared."""

    crops: Tensor  # (frames, rows, columns): what a reader sees
    samples: Tensor

    @property
    def frames(self) -> int:
        return len(self.crops) - 2 * MARGIN

    def lips(self) -> Tensor:
        return self.crops[MARGIN : MARGIN + self.frames]

    def sound(self, early: int = 0) -> Tensor:
        start = (MARGIN + early) * SAMPLES
        return self.samples[start : start + self.frames * SAMPLES]


# ---- talks


def drawn_talks(count: int, seconds: float = SECONDS, seed: int = 0) -> Iterator[Talk]:
    """Other people, words and voices than those of training, Mandarin and English in turn, as simulated recordings."""
    for number in range(count):
        dice = np.random.default_rng([seed, number, 1])
        said = _said(dice, number, seconds)
        sitter = Sitter(look_of(dice), int(dice.choice(SIZES)))
        moving = poses(said.motion, dice)
        boxes = trembling([sitter.face(pose) for pose in moving], dice)
        pictures = (torch.from_numpy(sitter.picture(pose).copy()) for pose in moving)
        yield Talk(cropped(pictures, boxes), recorded_sound(said.samples, dice))


def puppet_talks(model: Model, count: int, seconds: float = SECONDS, seed: int = 0) -> Iterator[Talk]:
    """A picture that moves as the truth of its speech says."""
    for number in range(count):
        dice = np.random.default_rng([seed, number, 2])
        said = _said(dice, number, seconds)
        frames = len(said.motion.opening)
        gestures = dict(zip(GESTURES, torch.from_numpy(articulation(said.phonemes, frames)).T, strict=True))
        film = model.film(Articulation(**gestures, loudness=levels(said.samples, frames)), number)
        boxes = trembling([outline_box(model.mesh)] * frames, dice)
        pictures = ((frame * 255).round().byte() for frame in film)
        yield Talk(cropped(pictures, boxes), recorded_sound(said.samples, dice))


def _said(dice: np.random.Generator, number: int, seconds: float) -> Said:
    return monologue(dice, "validation", round(seconds * FPS) + 2 * MARGIN, number % 2, 0.5)


def trembling(boxes: Sequence[Box], dice: np.random.Generator) -> list[Box]:
    """As a finder of faces tells them: somewhat off, and trembling."""
    off = dice.normal(0, 2 * TREMBLE, 4)
    each = dice.normal(0, TREMBLE, (len(boxes), 4)) + off
    return [
        Box(*(side + box.width * moved for side, moved in zip(_sides(box), way, strict=True)))
        for box, way in zip(boxes, each.tolist(), strict=True)
    ]


def _sides(box: Box) -> tuple[float, float, float, float]:
    return box.left, box.top, box.right, box.bottom


def cropped(pictures: Iterator[Tensor], boxes: Sequence[Box]) -> Tensor:
    faces, cut = steady(boxes), list[Tensor]()
    for start in range(0, len(faces), AT_ONCE):
        part = faces[start : start + AT_ONCE]
        cut.append(crops(torch.stack([next(pictures) for _ in part]), part))
    return torch.cat(cut)


# ---- figures


def compared(reader: LipReader, lips: Tensor, sound: Tensor) -> Fit:
    return fit(seen(reader, [lips]), heard(reader, Recording(sound)))


def figures(reader: LipReader, talks: Iterable[Talk]) -> dict[str, float]:
    """Offsets that are found, and how matched sounds stand apart from others."""
    known = list(talks)
    lips = [seen(reader, [talk.lips()]) for talk in known]
    voices = [heard(reader, Recording(talk.sound())) for talk in known]
    own = [fit(mouth, voice) for mouth, voice in zip(lips, voices, strict=True)]
    others = [fit(mouth, voices[(place + 1) % len(voices)]) for place, mouth in enumerate(lips)]
    errors = np.array([
        fit(mouth, heard(reader, Recording(talk.sound(early)))).offset - early
        for talk, mouth in zip(known, lips, strict=True)
        for early in PLANTED
    ])  # fmt: skip
    shifted = [float(each.similarities[len(each.similarities) // 2 + lag]) for each in own for lag in (-5, 5)]
    return {
        "talks": len(known),
        "offsets found": float(np.mean(errors == 0)),
        "within a frame": float(np.mean(abs(errors) <= 1)),
        "similarity, matched": float(np.mean([each.together for each in own])),
        "similarity, shifted": float(np.mean(shifted)),
        "similarity, shuffled": float(np.mean([each.together for each in others])),
        "told from shifted": above([each.together for each in own], shifted),
        "told from shuffled": above([each.together for each in own], [each.together for each in others]),
        "confidence, matched": float(np.mean([each.confidence for each in own])),
        "confidence, shuffled": float(np.mean([each.confidence for each in others])),
        "confidence tells shuffled": above([each.confidence for each in own], [each.confidence for each in others]),
    }


def above(these: Sequence[float], those: Sequence[float]) -> float:
    """The share of pairs in which one of these is above one of those."""
    return float((np.asarray(these)[:, None] > np.asarray(those)).mean())


def faults(reader: LipReader, talks: Sequence[Talk]) -> dict[str, dict[str, float]]:
    """Mean similarities, as the films are, with faults of growing strength."""

    def means(spoil: Callable[[Talk, float], tuple[Tensor, Tensor]], amounts: Sequence[float]) -> dict[str, float]:
        fits = {amount: [compared(reader, *spoil(talk, amount)) for talk in talks] for amount in amounts}
        return {f"{amount:g}": float(np.mean([each.together for each in some])) for amount, some in fits.items()}

    return {
        "blur, pixels": means(lambda talk, amount: (_blurred(talk.lips(), amount), talk.sound()), BLURS),
        "frozen share": means(lambda talk, amount: (_frozen(talk.lips(), amount), talk.sound()), FROZEN),
        "shuffled share": means(lambda talk, amount: (talk.lips(), _shuffled(talk.sound(), amount)), SHUFFLED),
        "lag, frames": means(lambda talk, amount: (talk.lips(), talk.sound(int(amount))), LAGS),
    }


def _blurred(lips: Tensor, pixels: float) -> Tensor:
    """As if it had been filmed that much more coarsely."""
    if not pixels:
        return lips
    rows, columns = lips.shape[1:]
    small = F.interpolate(
        lips[:, None], (round(rows / pixels), round(columns / pixels)), mode="bilinear", antialias=True
    )
    return F.interpolate(small, (rows, columns), mode="bilinear")[:, 0]


def _frozen(lips: Tensor, share: float) -> Tensor:
    """The first frames of every second stand still."""
    still = round(share * FPS)
    places = torch.arange(len(lips))
    return lips[torch.where(places % FPS < still, places - places % FPS, places)]


def _shuffled(sound: Tensor, share: float) -> Tensor:
    """Some of the pieces of a fifth of a second change their places."""
    dice = np.random.default_rng(0)
    pieces = list(sound.split(SHORT * SAMPLES))
    moved = np.sort(dice.choice(len(pieces), round(share * len(pieces)), replace=False))
    order = list(range(len(pieces)))
    for place, other in zip(moved.tolist(), np.roll(moved, len(moved) // 2).tolist(), strict=True):
        order[place] = other
    return torch.cat([pieces[place] for place in order])


# ---- the command


def known_models(pictures: Mapping[str, Path], landmarker: Path) -> dict[str, Model]:
    with FaceMesh(landmarker).at_work() as finder:
        return {name: _model(name, path, finder) for name, path in pictures.items()}


def _model(name: str, path: Path, finder: FaceMesh) -> Model:
    picture = as_picture(Image.open(path))
    largest = max(outline_box(mesh).height for mesh in finder.anywhere(picture))
    smaller = min(1.0, FACE / largest)
    size = (round(picture.shape[1] * smaller), round(picture.shape[0] * smaller))
    return Model.of(name, area(torch.from_numpy(picture.copy())[None], size)[0].numpy(), finder)


def measured(
    reader: LipReader, models: Mapping[str, Model], count: int, seconds: float = SECONDS, seed: int = 0
) -> dict[str, dict[str, Any]]:
    """Figures of drawn people and of each puppet, and what faults do to drawn people."""
    drawn = list(drawn_talks(count, seconds, seed))
    found: dict[str, dict[str, Any]] = {"drawn people": figures(reader, drawn)}
    for name, model in models.items():
        found[f"puppet {name}"] = figures(reader, puppet_talks(model, max(2, count // 2), seconds, seed))
    return found | {FAULTS: faults(reader, drawn[:SPOILT])}


def report(found: Mapping[str, Mapping[str, Any]]) -> str:
    columns = {name: values for name, values in found.items() if name != FAULTS}
    lines = [f"{'':<28}" + "".join(f"{name[:16]:>18}" for name in columns)]
    for name in next(iter(columns.values())):
        lines.append(f"{name:<28}" + "".join(f"{each[name]:>18.3f}" for each in columns.values()))
    lines.append(f"\n{FAULTS}")
    for name, values in found[FAULTS].items():
        lines.append(f"{name:<28}" + "".join(f"{amount:>9}: {value:.3f}" for amount, value in values.items()))
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    chosen = _parser().parse_args(arguments)
    if chosen.pictures and not chosen.landmarker:
        sys.stderr.write("Pictures need --landmarker, MediaPipe's face_landmarker.task.\n")
        return 2
    try:
        reader = open_lip_reader(chosen.reader).build(dtype=torch.float32)
        pictures = {path.stem: path for path in chosen.pictures}
        models = known_models(pictures, chosen.landmarker) if pictures else {}
        found = measured(reader, models, chosen.talks, chosen.seconds, chosen.seed)
    except (LibraryError, OSError, ValueError) as error:
        sys.stderr.write(f"{error}\n")
        return 2
    sys.stdout.write(f"{report(found)}\n")
    if chosen.json:
        chosen.json.write_text(json.dumps(found, indent=2) + "\n")
    return 0 if found["drawn people"]["offsets found"] >= MARK else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m joyhallo.evaluation.lip_reading",
        description="Does the lip reader tell which voice fits which lips?",
        epilog=f"The exit code is 0 if at least {MARK:.0%} of the offsets of drawn people were found, 1 if not.",
    )
    parser.add_argument("pictures", nargs="*", type=Path, metavar="PICTURE", help="of people, to be puppets")
    parser.add_argument("--landmarker", type=Path, help="MediaPipe's face_landmarker.task")
    parser.add_argument("--reader", type=Path, default=BUNDLED, help="a file (default: the bundled one)")
    add_options(parser, talks=60)
    return parser


def add_options(parser: argparse.ArgumentParser, talks: int) -> None:
    """Of a command that draws people."""
    parser.add_argument("--talks", type=int, default=talks)
    parser.add_argument("--seconds", type=float, default=SECONDS)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, help="also write the figures here")


if __name__ == "__main__":
    sys.exit(main())
