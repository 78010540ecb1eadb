"""`motion`: the movement of a mouth that says phonemes, for drawing, and as the truth for evaluation."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..config import FPS
from .voice import Phoneme

VISEMES = ("rest", "closed", "teeth", "consonant", "open", "middle", "rounded", "spread")
GRID = 0.005  # seconds
REACH = 0.04  # deviation of the Gaussian by which neighbours are mixed


@dataclass(frozen=True)
class Shape:
    opening: float  # 0..1
    spread: float = 0.0  # of the corners: -1 rounded, 1 wide
    viseme: str = "consonant"
    weight: float = 1.0  # against its neighbours


REST, OTHER = Shape(0.0, 0.0, "rest"), Shape(0.15)
CLOSED, TEETH = Shape(0.0, 0.0, "closed", 4.0), Shape(0.05, 0.2, "teeth", 2.0)
CONSONANTS = {
    **dict.fromkeys(("p", "ph", "b", "m"), CLOSED),
    **dict.fromkeys(("f", "v"), TEETH),
    "w": Shape(0.15, -1.0, "rounded", 1.5),
    "j": Shape(0.2, 0.6, "spread"),
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
    count = math.ceil(frames / FPS / GRID) + 1
    rows = np.tile([REST.opening, REST.spread, REST.weight, VISEMES.index(REST.viseme)], (count, 1))
    for phoneme in phonemes:
        for shape, start, stop in _parts(phoneme):
            place = slice(*(round(time / GRID) for time in (start, stop)))
            rows[place] = shape.opening, shape.spread, shape.weight, VISEMES.index(shape.viseme)
    at, cells = (np.arange(frames) + 0.5) / FPS, (np.arange(count) + 0.5) * GRID
    pull = _smoothed(rows[:, 2])
    opening, spread = (
        np.interp(at, cells, _smoothed(rows[:, 2] * rows[:, column]) / pull).astype(np.float32) for column in (0, 1)
    )
    return Motion(opening, spread, rows[(at / GRID).astype(int), 3].astype(np.uint8))


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
