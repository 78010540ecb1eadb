"""The movement of a mouth that says phonemes, for drawing and as the truth for evaluation: `motion`, and `articulation`
with what lips do beside opening.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..config import FPS
from .voice import Phoneme

VISEMES = ("rest", "closed", "teeth", "consonant", "open", "middle", "rounded", "spread")
GRID = 0.005  # seconds
REACH = 0.04  # deviation of the Gaussian by which neighbours are mixed
GESTURES = ("opening", "spread", "rounding", "press", "teeth")  # the columns of `articulation`
PRESSED = (0.25, 0.6)  # shares of a closure at which the lips begin to meet and are shut


@dataclass(frozen=True)
class Shape:
    opening: float  # 0..1
    spread: float = 0.0  # of the corners: -1 rounded, 1 wide
    viseme: str = "consonant"
    weight: float = 1.0  # against its neighbours
    purse: float = 0.0  # 0..1: lips that are pushed forward although their corners stay where they are


REST, OTHER = Shape(0.0, 0.0, "rest"), Shape(0.15)
CLOSED, TEETH = Shape(0.0, 0.0, "closed", 4.0), Shape(0.05, 0.2, "teeth", 2.0)
CONSONANTS = {
    **dict.fromkeys(("p", "ph", "b", "m"), CLOSED),
    **dict.fromkeys(("f", "v"), TEETH),
    "w": Shape(0.15, -1.0, "rounded", 1.5),
    "j": Shape(0.2, 0.6, "spread"),
    **dict.fromkeys(("S", "Z", "tS", "dZ"), Shape(0.15, purse=0.5)),
    **dict.fromkeys(("r", "r-", "s.", "z.", "ts.", "ts.h"), Shape(0.15, purse=0.4)),
}
WHOLE = {  # vowels whose signs do not mean what they do in others
    "o-": Shape(0.55, 0.0, "middle"),
    "i.": Shape(0.2, 0.2, "spread"),
    "i[": Shape(0.2, 0.4, "spread"),
}
VOWELS = {
    **dict.fromkeys(("a", "A"), Shape(1.0, 0.0, "open")),
    "&": Shape(0.85, 0.2, "open"),
    "0": Shape(0.8, -0.2, "open"),
    "V": Shape(0.7, 0.0, "open"),
    "E": Shape(0.6, 0.4, "middle"),
    "e": Shape(0.5, 0.5, "middle"),
    "@": Shape(0.5, 0.0, "middle"),
    "3": Shape(0.45, -0.1, "middle"),
    "O": Shape(0.7, -0.5, "rounded"),
    "o": Shape(0.65, -0.6, "rounded"),
    "u": Shape(0.25, -1.0, "rounded"),
    "U": Shape(0.25, -0.8, "rounded"),
    "y": Shape(0.25, -0.9, "rounded"),
    "i": Shape(0.35, 1.0, "spread"),
    "I": Shape(0.35, 0.6, "spread"),
}


@dataclass(frozen=True)
class Motion:
    """The mouth at the middle of each video frame."""

    opening: NDArray[np.float32]  # 0..1
    spread: NDArray[np.float32]  # -1..1
    viseme: NDArray[np.uint8]  # numbers of VISEMES


def motion(phonemes: Iterable[Phoneme], frames: int) -> Motion:
    """Blend the phonemes' mouth shapes over time, by their weights."""
    rows = _laid(phonemes, frames, lambda shape: (shape.opening, shape.spread, VISEMES.index(shape.viseme)))
    opening, spread = _blended(rows, frames, (1, 2))
    return Motion(opening, spread, rows[(_middles(frames) / GRID).astype(int), 3].astype(np.uint8))


def articulation(phonemes: Iterable[Phoneme], frames: int) -> NDArray[np.float32]:
    """(frames, GESTURES): blended like `motion`, but a mouth whose lips are pressed is shut whatever its neighbours.

    Rounding, press (b, p, m) and teeth (the lower lip under the upper teeth: f, v) lie in 0..1.
    """
    rows = _laid(phonemes, frames, _gestures)
    opening, *others = _blended(rows, frames, range(1, 1 + len(GESTURES)))
    low, high = PRESSED
    shut = ((others[GESTURES.index("press") - 1] - low) / (high - low)).clip(0, 1)
    return np.stack([opening * (1 - shut), *others], axis=1)


def _gestures(shape: Shape) -> tuple[float, ...]:
    rounding = max(shape.purse, -shape.spread)
    return shape.opening, shape.spread, rounding, float(shape.viseme == "closed"), float(shape.viseme == "teeth")


def _laid(
    phonemes: Iterable[Phoneme], frames: int, numbers: Callable[[Shape], tuple[float, ...]]
) -> NDArray[np.float64]:
    """Weight and numbers of the shape at each place of the grid."""
    rows = np.tile([REST.weight, *numbers(REST)], (math.ceil(frames / FPS / GRID) + 1, 1))
    for phoneme in phonemes:
        for shape, start, stop in _parts(phoneme):
            rows[slice(*(round(time / GRID) for time in (start, stop)))] = shape.weight, *numbers(shape)
    return rows


def _blended(rows: NDArray[np.float64], frames: int, columns: Iterable[int]) -> list[NDArray[np.float32]]:
    """Columns at the middle of each frame, smoothed by the weights in the first."""
    cells, pull = (np.arange(len(rows)) + 0.5) * GRID, _smoothed(rows[:, 0])
    return [
        np.interp(_middles(frames), cells, _smoothed(rows[:, 0] * rows[:, column]) / pull).astype(np.float32)
        for column in columns
    ]


def _middles(frames: int) -> NDArray[np.float64]:
    return (np.arange(frames) + 0.5) / FPS


def _parts(phoneme: Phoneme) -> list[tuple[Shape, float, float]]:
    """The shapes of a phoneme, one after the other: a diphthong has several."""
    shapes = shapes_of(phoneme.name)
    times = np.linspace(phoneme.start, phoneme.stop, len(shapes) + 1).tolist()
    return list(zip(shapes, times, times[1:], strict=False))


def shapes_of(name: str) -> Sequence[Shape]:
    """The shapes of a phoneme by espeak's name for it; marks after a vowel, such as length, are ignored."""
    if name.startswith("_"):
        return [REST]
    known = CONSONANTS.get(name) or WHOLE.get(name)
    if known is not None:
        return [known]
    return [VOWELS[sign] for sign in name if sign in VOWELS] or [OTHER]


def _smoothed(values: NDArray[np.float64]) -> NDArray[np.float64]:
    places = np.arange(-3 * REACH, 3 * REACH + GRID / 2, GRID)
    bell = np.exp(-0.5 * (places / REACH) ** 2).astype(np.float64)
    padded = np.pad(values, len(bell) // 2, "edge")
    return np.asarray(np.convolve(padded, bell / bell.sum(), "valid"), np.float64)
