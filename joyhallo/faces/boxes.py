"""Boxes in a picture: left and top inside, right and bottom just outside, in pixels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Points = NDArray[np.floating]  # (count, 2): x and y in pixels
Size = tuple[int, int]  # width and height
Picture = NDArray[np.uint8]  # (height, width, 3): 8-bit RGB


@dataclass(frozen=True)
class Box:
    left: float
    top: float
    right: float
    bottom: float

    @property
    def width(self) -> float:
        return max(0.0, self.right - self.left)

    @property
    def height(self) -> float:
        return max(0.0, self.bottom - self.top)

    @property
    def area(self) -> float:
        return self.width * self.height

    @property
    def longest(self) -> float:
        return max(self.width, self.height)

    @property
    def center(self) -> tuple[float, float]:
        return (self.left + self.right) / 2, (self.top + self.bottom) / 2

    @property
    def slices(self) -> tuple[slice, slice]:
        """Rows and columns of a box of whole pixels."""
        return slice(int(self.top), int(self.bottom)), slice(int(self.left), int(self.right))

    @property
    def shape(self) -> tuple[int, int]:
        """How many rows and columns a box of whole pixels has."""
        return int(self.height), int(self.width)

    def moved(self, x: float, y: float) -> Box:
        return Box(self.left + x, self.top + y, self.right + x, self.bottom + y)

    def scaled(self, by: float) -> Box:
        """The box in the picture scaled by this factor, rounded to whole pixels."""
        return Box(*(round(side * by) for side in (self.left, self.top, self.right, self.bottom)))

    def inset(self, by: float) -> Box:
        return Box(self.left + by, self.top + by, self.right - by, self.bottom - by)

    def within(self, other: Box) -> Box:
        """The intersection with another box; without area if they are apart."""
        left, top = max(self.left, other.left), max(self.top, other.top)
        return Box(left, top, max(left, min(self.right, other.right)), max(top, min(self.bottom, other.bottom)))

    def overlap(self, other: Box) -> float:
        """Intersection over union: 1 for the same box, 0 for boxes apart."""
        shared = self.within(other).area
        return shared / max(self.area + other.area - shared, 1e-9)

    def __str__(self) -> str:
        return f"{self.width:.0f}x{self.height:.0f} pixels at ({self.left:.0f}, {self.top:.0f})"


def whole(size: Size) -> Box:
    return Box(0, 0, *size)


def around(points: Points) -> Box:
    (left, top), (right, bottom) = points.min(0), points.max(0)
    return Box(float(left), float(top), float(right), float(bottom))


def joint(boxes: Sequence[Box]) -> Box:
    """The smallest box around all boxes."""
    return Box(
        min(box.left for box in boxes),
        min(box.top for box in boxes),
        max(box.right for box in boxes),
        max(box.bottom for box in boxes),
    )


def covered(mask: NDArray[np.uint8]) -> Box | None:
    """The box around all pixels of a mask (height, width) that are at least half covered."""
    rows, columns = np.nonzero((mask >= 128).any(1))[0], np.nonzero((mask >= 128).any(0))[0]
    if not len(rows):
        return None
    return Box(int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1)
