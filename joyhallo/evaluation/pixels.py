"""What the pixels tell, in one reading of the film: consistency, smoothness, flicker; and beside other films."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..config import FPS
from ..faces.boxes import Box
from ..measures import hyperiqa, inception
from ..measures.amt import open_amt
from ..measures.looks import Looks, changed, drift, look
from ..measures.similarity import Similarity, decibels, together
from ..measures.table import MEASURES, PIXELS, STILL
from ..measures.vbench import Background, Flicker, SmoothLinear, Smoothness, Subject, consistency, steadiness
from ..measures.vit import open_clip, open_dino
from .panel import Asked, Findings, Panel
from .showing import Showing, portrait
from .strip import Strip
from .watching import Watcher, pieces, watch

LOOKED_AT = ("drift", "sharpness")
IN_ONE_READING = tuple(measure for measure in PIXELS if measure.name not in LOOKED_AT)
CONSISTENCIES = ("subject", "background")
STILL_FRAMES = 3  # of the control, whose frames are all alike


# ---- one reading


@cache  # every clip takes all of them
def network_of(name: str, path: Path, device: str) -> Any:
    openers: dict[str, Callable[[Path], Any]] = {
        "dino": open_dino,
        "clip": open_clip,
        "amt": open_amt,
        "hyperiqa": hyperiqa.open_checkpoint,
        "inception": inception.open_checkpoint,
    }
    return openers[name](path).build(dtype=torch.float32).to(device).eval()


class Some:
    """Keeps some frames of a film, by their numbers."""

    def __init__(self, wanted: tuple[int, ...]):
        self._wanted, self._seen, self.frames = set(wanted), 0, list[Tensor]()

    def see(self, frames: Tensor) -> None:
        self.frames += [frame.clone() for number, frame in enumerate(frames, self._seen) if number in self._wanted]
        self._seen += len(frames)


def _watchers(asked: Asked, names: frozenset[str], count: int) -> dict[str, Any]:
    def network(judge: str) -> Any:
        return network_of(judge, asked.weights[judge], asked.device)

    made: dict[str, Callable[[], Any]] = {
        "subject": lambda: Subject(network("dino"), device=asked.device),
        "background": lambda: Background(network("clip"), device=asked.device),
        "smoothness": lambda: Smoothness(network("amt"), device=asked.device),
        "smooth_linear": SmoothLinear,
        "flicker": Flicker,
        "image_quality": lambda: Some(hyperiqa.looked_at(count)),
    }
    return {name: make() for name, make in made.items() if name in names}


def _score(name: str, watcher: Any, asked: Asked) -> float:
    if name == "image_quality":
        network = network_of("hyperiqa", asked.weights["hyperiqa"], asked.device)
        with torch.no_grad():
            return float(network(hyperiqa.seen(torch.stack(watcher.frames)).to(asked.device)).mean())
    return consistency(watcher.series) if name in CONSISTENCIES else steadiness(watcher.series)


def _read_once(showing: Showing, asked: Asked, names: frozenset[str]) -> Findings:
    found, count = Findings(), showing.frames
    watchers, strip, first = _watchers(asked, names, count), Strip(count), Some((0,))
    every: dict[str, Watcher] = {**watchers, "strip": strip, "first": first}
    found.missing = watch(showing.film.pictures(), every)
    strip.save(showing.strip)
    for name in [name for name in watchers if name not in found.missing]:
        try:
            found.values[name] = _score(name, watchers[name], asked)
        except ValueError as error:
            found.missing[name] = str(error)
    found.counts = {name: len(watchers[name].series) for name in CONSISTENCIES if name in found.values}
    still = first.frames[0].expand(STILL_FRAMES, *first.frames[0].shape)
    for name, watcher in _watchers(asked, names & found.values.keys() - {"image_quality"}, count).items():
        watcher.see(still)
        found.control(STILL, {name: _score(name, watcher, asked)})
    return found


# ---- the face's look


def _looks(showing: Showing, asked: Asked, names: frozenset[str]) -> Findings:
    looks, found = Looks(), Findings()
    for frames, boxes in _with_boxes(showing):
        looks.see(frames, boxes)
    if "drift" in names:
        found.values["drift"] = drift(looks.look, FPS).colour
    if "sharpness" in names and showing.clip.portrait is not None:
        picture = portrait(showing.clip.portrait)
        start = look(torch.from_numpy(np.ascontiguousarray(picture))[None], [showing.face_in(picture)])
        found.values["sharpness"] = changed(looks.look, start).sharpness
    return found


def _with_boxes(showing: Showing) -> Iterator[tuple[Tensor, list[Box | None]]]:
    track, seen = showing.track, 0
    for frames in pieces(showing.pictures()):
        numbers = range(seen, min(seen + len(frames), len(track)))
        yield frames[: len(numbers)], [track.box(at) if track.found[at] else None for at in numbers]
        seen += len(frames)


# ---- beside other films


def _to_truth(showing: Showing, asked: Asked, names: frozenset[str]) -> Findings:
    rate, similarity = showing.film.facts.rate, Similarity(("gaussian",) if "ssim" in names else ())
    for a, b in together(pieces(showing.film.pictures(rate)), pieces(showing.truth.film.pictures(rate))):
        similarity.see(a, b)
    errors = similarity.errors()
    if not len(errors):
        raise ValueError("it has no frame in common with its truth")
    found = Findings()
    if "ssim" in names:
        found.values["ssim"] = float(similarity.ssim("gaussian").mean())
    if errors.any():
        found.values["psnr"] = float(decibels(errors.mean()))
    else:
        found.missing["psnr"] = "all pixels are equal to the truth's"
    return found


def _outside(showing: Showing, asked: Asked, names: frozenset[str]) -> Findings:
    """How far the picture around the face is from the source's."""
    track, similarity, at = showing.track, Similarity(()), 0
    for a, b in together(pieces(showing.pictures()), pieces(showing.source.pictures())):
        inside = torch.zeros(a.shape[:3], dtype=torch.bool)
        for number in range(len(a)):
            if at + number < len(track) and track.found[at + number]:
                rows, columns = _grown(track.box(at + number))
                inside[number, rows, columns] = True
        similarity.see(a, b, inside)
        at += len(a)
    errors = similarity.errors("outside")
    return Findings({"outside": float(errors[errors.isfinite()].sqrt().mean())})


def _grown(box: Box) -> tuple[slice, slice]:
    """Half as large again as the face: what a redub may change."""
    wide, high = box.width / 4, box.height / 4
    rows = slice(max(0, round(box.top - high)), max(0, round(box.bottom + high)))
    return rows, slice(max(0, round(box.left - wide)), max(0, round(box.right + wide)))


PANELS = (
    Panel("pixels", IN_ONE_READING, _read_once),
    Panel("looks", tuple(MEASURES[name] for name in LOOKED_AT), _looks),
    Panel("pixels and truth", tuple(MEASURES[name] for name in ("psnr", "ssim")), _to_truth),
    Panel("pixels and source", (MEASURES["outside"],), _outside),
)
