"""The opening of a drawn mouth in a picture: `Gauge` measures it by colour, `Album` by the most similar drawing.

By colour, pixels count by their nearness to the red inside of drawn mouths, calibrated on the same person drawn with
the mouth shut and wide open. This was settled before anything was generated, and measures changes well; but its zero
moves with the colours of soft lips. So silence is measured the other way: the mouth is compared with drawings of the
same person, independent of brightness and contrast.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ...drawn.drawing import INSIDE, STILL, Pose, Sitter
from ...faces.boxes import around
from ...faces.regions import LIPS, Mask, drawn, expanded
from ...measures.curves import Curve
from ..figures import Film, Where

NEAR = 40.0  # levels of 255: a colour this far from the inside of mouths counts 0.6, twice as far 0.14
GROWN = 1.3  # the window, against what lips reach: heads sway
WIDEST = Pose(opening=1.0)
SPREADS = (-1.0, 0.0, 1.0)
SHAPES = tuple(Pose(opening=opening, spread=spread) for opening in (0.0, 1.0) for spread in SPREADS)
OPENINGS = tuple(step / 20 for step in range(21))  # that a mouth is compared with


def region(sitter: Sitter, points: tuple[int, ...], grown: float = 1.0) -> Mask:
    """The rectangle, 255 on 0, that these points of the mesh span while the person speaks, the head at rest."""
    size = sitter.size, sitter.size
    spanned = around(np.concatenate([sitter.mesh(pose)[list(points)] for pose in SHAPES]))
    return drawn(expanded(spanned, grown, size), size)


def redness(film: Film, where: Where) -> Curve:
    """(frames): how many pixels have the colour of the inside of a mouth."""
    apart = ((film[:, where].astype(float) - INSIDE) ** 2).sum(2)
    return np.exp(-apart / (2 * NEAR**2)).sum(1)


@dataclass(frozen=True)
class Gauge:
    """The opening from the count of red pixels, calibrated for one person."""

    where: Where
    shut: float
    wide: float

    @classmethod
    def of(cls, sitter: Sitter) -> Gauge:
        where = region(sitter, LIPS, GROWN) > 0
        shut, wide = redness(np.stack([sitter.picture(pose) for pose in (STILL, WIDEST)]), where).tolist()
        return cls(where, shut, wide)

    def opening(self, film: Film) -> Curve:
        """(frames): 0 as shut as drawn, 1 as wide open as drawn."""
        return (redness(film, self.where) - self.shut) / (self.wide - self.shut)


@dataclass(frozen=True)
class Album:
    """Drawings of one person with ever wider mouths."""

    where: Where
    openings: Curve  # (pictures)
    patterns: NDArray[np.float64]  # (pictures, numbers): each of mean 0 and length 1

    @classmethod
    def of(cls, sitter: Sitter) -> Album:
        where = region(sitter, LIPS, GROWN) > 0
        poses = [Pose(opening=opening, spread=spread) for opening in OPENINGS for spread in SPREADS]
        pictures = np.stack([sitter.picture(pose) for pose in poses])
        return cls(where, np.array([pose.opening for pose in poses]), _patterns(pictures, where))

    def opening(self, film: Film) -> Curve:
        """(frames): that of the picture which each looks most like"""
        return self.openings[(_patterns(film, self.where) @ self.patterns.T).argmax(1)]


def _patterns(film: Film, where: Where) -> NDArray[np.float64]:
    numbers = film[:, where].reshape(len(film), -1).astype(float)
    numbers -= numbers.mean(1, keepdims=True)
    return numbers / np.linalg.norm(numbers, axis=1, keepdims=True).clip(1e-9)
