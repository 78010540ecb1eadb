"""How far a drawn mouth is open in a picture, told by the colour within it.

The rule is fixed before anything is generated: pixels count by how near they are to the red inside of drawn mouths, and
the person drawn with the mouth shut and wide open says what their count means.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..boxes import around
from ..curves import Curve
from ..masks import LIPS, Mask, drawn, expanded
from ..training.drawing import INSIDE, STILL, Pose, Sitter
from .figures import Film, Where

NEAR = 40.0  # levels of 255: a colour this far from the inside of mouths counts 0.6, twice as far 0.14
GROWN = 1.3  # the window, against what lips reach: heads sway
WIDEST = Pose(opening=1.0)
SHAPES = tuple(Pose(opening=opening, spread=spread) for opening in (0.0, 1.0) for spread in (-1.0, 0.0, 1.0))


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
    """What the count means for one person."""

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
