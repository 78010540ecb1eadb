"""Does a puppet speak? Pictures x sentences that no ear has learnt from, measured by a face mesh on the frames.

    python -m joyhallo.evaluation.puppets --landmarker face_landmarker.task [PICTURE ...]

Speech comes from espeak-ng, whose phonemes tell the truth. Each measure has a mark, and a control where one can lie:
the same film against the curves of other sentences. Without pictures it takes scikit-image's astronaut.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ..config import FPS
from ..drawn.mouths import GESTURES, articulation
from ..drawn.speaking import Said, monologue
from ..faces.boxes import Box, Picture, Points
from ..faces.find import FaceMesh, outline_box
from ..faces.picture import as_picture
from ..faces.regions import INNER_LOWER, INNER_UPPER, LOWER_LIDS, UPPER_LIDS
from ..film.write import as_floats
from ..measures.curves import Curve, correlation
from ..methods.puppet.face import Features
from ..methods.puppet.hearing import Articulation, Ear, listen, open_ear
from ..methods.puppet.perform import Direction, perform, placed, poses
from ..methods.puppet.render import Puppet
from ..sound.audio import Recording, levels
from .drawn.acceptance import Mark

MIDDLE_UP, MIDDLE_DOWN = INNER_UPPER[5], INNER_LOWER[5]
CORNERS, EYES = (61, 291), (UPPER_LIDS[0][0], LOWER_LIDS[1][-1])
ENDS = (0.05, 0.95)  # between which the range of a curve is taken
SHUT = 0.2  # share of a mouth's range that is called shut
QUIET = -60.0  # dB of full scale, below which nobody speaks
SETTLING = 3  # frames after a word before a mouth must be shut
READINGS = (0.0, 0.04, 0.08)  # of a frame: a mesh trembles with the part that it is found in, cut by these shares
SURE = 1.96  # deviations of a mean within which it lies in 95 % of cases

MARKS = {
    "opening": Mark(least=0.92),
    "spread": Mark(least=0.80),
    "opening, shuffled": Mark(-0.15, 0.15),
    "spread, shuffled": Mark(-0.15, 0.15),
    "range": Mark(0.9, 1.1),
    "closures": Mark(least=0.95),
    "open in silence": Mark(most=SHUT),
    "sharpness": Mark(0.9, 1.1),
    "changed outside": Mark(most=0.0),
    "steepest jump": Mark(most=1.5),
}


@dataclass(frozen=True)
class Clip:
    said: Said
    truth: Articulation
    heard: Articulation


@dataclass(frozen=True)
class Model:
    """A picture whose face is known."""

    name: str
    picture: Picture
    mesh: Points
    puppet: Puppet

    @classmethod
    def of(cls, name: str, picture: Picture, finder: FaceMesh) -> Model:
        mesh = max(finder.anywhere(picture), key=lambda mesh: outline_box(mesh).area)
        return cls(name, picture, mesh, Puppet(in_floats(picture).permute(2, 0, 1), Features.of_mesh(mesh)))

    def film(self, mouth: Articulation, seed: int) -> Iterator[Tensor]:
        """Whole frames (height, width, 3), one after the other"""
        still = in_bytes(self.picture)
        for chunk in perform(self.puppet, poses(mouth, Direction(seed=seed))):
            for pictures in placed(self.puppet, still, chunk):
                yield from as_floats(pictures)


@dataclass(frozen=True)
class Seen:
    """What a mesh tells of a film, (frames) each."""

    opening: Curve
    spread: Curve
    sharpness: float  # against the still's
    outside: float  # the most that a pixel changed that may not


def clips(ear: Ear, count: int, seconds: float, seed: int) -> list[Clip]:
    """Sentences and voices of the validation split, Mandarin and English in turn."""
    dice = [np.random.default_rng([seed, number]) for number in range(count)]
    said = [monologue(each, "validation", round(seconds * FPS), number % 2, 0.8) for number, each in enumerate(dice)]
    return [_clip(one, ear) for one in said]


def _clip(said: Said, ear: Ear) -> Clip:
    frames = len(said.motion.opening)
    told = dict(zip(GESTURES, torch.from_numpy(articulation(said.phonemes, frames)).T, strict=True))
    truth = Articulation(**told, loudness=levels(said.samples, frames))
    return Clip(said, truth, listen(ear, Recording(said.samples)))


def look(model: Model, mouth: Articulation, finder: FaceMesh, seed: int) -> Seen:
    box = outline_box(model.mesh)
    around = [_grown(box, model.picture).inset(share * box.longest) for share in READINGS]
    window, still = model.puppet.window.slices, in_floats(model.picture)
    left_alone = torch.ones(still.shape[:2], dtype=torch.bool)
    left_alone[window] = False
    rows, columns = (slice(int(low), int(high)) for low, high in ((box.center[1], box.bottom), (box.left, box.right)))
    meshes, sharp, outside = list[Points](), list[float](), 0.0
    for frame in model.film(mouth, seed):
        picture = (frame * 255).round().byte().numpy()
        found = [mesh for part in around for mesh in finder.meshes(picture, part)[:1]]
        meshes.append(np.mean(found, axis=0) if found else meshes[-1] if meshes else model.mesh)
        sharp.append(_energy(frame[rows, columns]))
        if left_alone.any():
            outside = max(outside, float((frame - still)[left_alone].abs().max()))
    opening, spread = measured(np.stack(meshes))
    return Seen(opening, spread, float(np.mean(sharp)) / _energy(still[rows, columns]), outside)


def measured(meshes: Points) -> tuple[Curve, Curve]:
    """Opening and width of the mouth, over the distance of the eyes' outer corners; meshes (frames, points, 2)"""

    def distance(a: int, b: int) -> Curve:
        return np.hypot(*(meshes[:, a] - meshes[:, b]).T)

    eyes = distance(*EYES)
    return distance(MIDDLE_UP, MIDDLE_DOWN) / eyes, distance(*CORNERS) / eyes


def figures(model: Model, some: Sequence[Clip], finder: FaceMesh) -> dict[str, float]:
    """Means over the clips, and how far some of them may be off."""
    films = [look(model, clip.heard, finder, number) for number, clip in enumerate(some)]
    bounds = [look(model, clip.truth, finder, number) for number, clip in enumerate(some)]
    openings, spreads = ([getattr(clip.truth, name) for clip in some] for name in ("opening", "spread"))
    found = {
        "opening": _followed([film.opening for film in films], openings),
        "spread": _followed([film.spread for film in films], spreads),
        "opening, shuffled": _shuffled([film.opening for film in films], openings),
        "spread, shuffled": _shuffled([film.spread for film in films], spreads),
        "range": [_range(film.opening) / _range(bound.opening) for film, bound in zip(films, bounds, strict=True)],
        "closures": [share for film, clip in zip(films, some, strict=True) for share in _closed(film, clip)],
        "open in silence": [share for film, clip in zip(films, some, strict=True) for share in _in_silence(film, clip)],
        "sharpness": [film.sharpness for film in films],
        "changed outside": [max(film.outside for film in films)],
        "steepest jump": [_steepest(clip.heard.opening) / _steepest(clip.truth.opening) for clip in some],
        # The most that an ear could reach, as a mesh sees it.
        "opening by the truth": _followed([film.opening for film in bounds], openings),
        "spread by the truth": _followed([film.spread for film in bounds], spreads),
        "closures by the truth": [
            share for film, clip in zip(bounds, some, strict=True) for share in _closed(film, clip)
        ],
    }
    unsure = {f"{name}, +-": _unsure(found[name]) for name in ("opening", "spread", "range")}
    return {name: float(np.mean(values)) for name, values in (found | unsure).items() if values}


def _unsure(values: Sequence[float]) -> list[float]:
    """How far their mean may be from that of many clips; one clip does not tell."""
    return [SURE * float(np.std(values, ddof=1)) / len(values) ** 0.5] if len(values) > 1 else []


def _followed(told: Sequence[Curve], wanted: Sequence[Tensor]) -> list[float]:
    return [correlation(curve, truth) for curve, truth in zip(told, wanted, strict=True)]


def _shuffled(told: Sequence[Curve], wanted: Sequence[Tensor]) -> list[float]:
    return [
        correlation(curve, other)
        for number, curve in enumerate(told)
        for another, other in enumerate(wanted)
        if number != another
    ]


def _range(curve: Curve) -> float:
    low, high = np.quantile(curve, ENDS)
    return float(high - low)


def _shut(curve: Curve) -> float:
    return float(np.quantile(curve, ENDS[0]))


def _closed(film: Seen, clip: Clip) -> list[float]:
    """1 for each b, p or m at which lips are seen to meet, within a frame, and 0 for the others."""
    level = _shut(film.opening) + SHUT * _range(film.opening)
    closures = [phoneme for phoneme in clip.said.phonemes if phoneme.name in ("p", "ph", "b", "m")]
    seen = list[float]()
    for phoneme in closures:
        first, last = int(phoneme.start * FPS) - 1, int(phoneme.stop * FPS) + 2
        if first >= 0 and last <= len(film.opening):
            seen.append(float(film.opening[first:last].min() <= level))
    return seen


def _in_silence(film: Seen, clip: Clip) -> list[float]:
    """How far the mouth is open where nobody has spoken for some frames, in shares of its range."""
    quiet = (clip.truth.loudness < QUIET) & (clip.truth.opening < 0.02)
    settled = [number for number in range(SETTLING, len(quiet)) if bool(quiet[number - SETTLING : number + 1].all())]
    low, wide = _shut(film.opening), _range(film.opening)
    return [float((film.opening[number] - low) / wide) for number in settled]


def _steepest(curve: Tensor) -> float:
    return float(curve.diff().abs().quantile(0.995))


def _energy(picture: Tensor) -> float:
    return float(picture.diff(dim=0).square().mean() + picture.diff(dim=1).square().mean())


def _grown(box: Box, picture: Picture) -> Box:
    (x, y), half = box.center, round(box.longest)
    height, width = picture.shape[:2]
    return Box(int(x) - half, int(y) - half, int(x) + half, int(y) + half).within(Box(0, 0, width, height))


def in_floats(picture: Picture) -> Tensor:
    return as_floats(in_bytes(picture))


def in_bytes(picture: Picture) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(picture))


def astronaut() -> Picture:
    from skimage import data

    return as_picture(data.astronaut())


# ---- the command


def report(found: dict[str, dict[str, float]]) -> tuple[str, bool]:
    """A table, and whether every mark is met in the mean of the pictures."""
    means = {name: float(np.mean([each[name] for each in found.values()])) for name in next(iter(found.values()))}
    lines = [f"{'':<22}" + "".join(f"{name[:14]:>15}" for name in (*found, "mean")) + "  mark"]
    met = True
    for name, mean in means.items():
        mark = MARKS.get(name)
        verdict = "" if mark is None else f"  {mark.least:g} to {mark.most:g}: {'met' if mark.met(mean) else 'missed'}"
        met &= mark is None or mark.met(mean)
        values = (*(each[name] for each in found.values()), mean)
        lines.append(f"{name:<22}" + "".join(f"{value:>15.3f}" for value in values) + verdict)
    return "\n".join(lines), met


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m joyhallo.evaluation.puppets", description="Does a puppet speak as it should?"
    )
    parser.add_argument("pictures", nargs="*", type=Path, metavar="PICTURE")
    parser.add_argument("--landmarker", type=Path, required=True, help="MediaPipe's face_landmarker.task")
    parser.add_argument("--clips", type=int, default=12)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, help="also write the figures here")
    chosen = parser.parse_args(arguments)
    some = clips(open_ear(), chosen.clips, chosen.seconds, chosen.seed)
    pictures = {path.stem: as_picture(Image.open(path)) for path in chosen.pictures} or {"astronaut": astronaut()}
    found = dict[str, dict[str, float]]()
    with FaceMesh(chosen.landmarker).at_work() as finder:
        for name, picture in pictures.items():
            found[name] = figures(Model.of(name, picture, finder), some, finder)
    table, met = report(found)
    sys.stdout.write(f"{table}\n")
    if chosen.json:
        chosen.json.write_text(json.dumps(found, indent=2) + "\n")
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
