"""Which part of a face is replaced: masks by labels of its pixels, and how these lie in the picture.

A face is looked at in a square around its box, made 512 pixels wide and high.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from ...faces.antialiased import antialiased, weights
from ...faces.boxes import Box
from .parser import SIDE

SKIN, NOSE, MOUTH, UPPER_LIP, LOWER_LIP, NECK = 1, 10, 11, 12, 13, 14
LIPS = (MOUTH, UPPER_LIP, LOWER_LIP)
AREAS = {"raw": (SKIN, *LIPS), "neck": (SKIN, *LIPS, NECK)}  # and jaw, and box, which is all of the lower half
MIDDLE = SIDE // 2


class Cheeks(NamedTuple):
    """Columns beside the middle line that the grown skin keeps whole; beyond them it is made narrower again."""

    left: int = 90
    right: int = 90


BOTH_CHEEKS = Cheeks()


@dataclass(frozen=True)
class Rim:
    """How a mask lies in the picture, and how it fades out."""

    expand: float = 1.5  # of the square, over the box
    above: float = 0.5  # of the square, from its top, that stays as it was
    blur: float = 0.05  # of the square; 0.1 is what the original takes in real time


USUAL = Rim()


def masks(labels: Tensor, area: str, cheeks: Cheeks = BOTH_CHEEKS) -> Tensor:
    """labels (n, 512, 512) -> what is replaced, as truths of the same shape"""
    if area == "box":
        return torch.ones_like(labels, dtype=torch.bool)
    if area == "jaw":
        return _jaw(labels, cheeks)
    return _any(labels, AREAS[area])


def _any(labels: Tensor, wanted: tuple[int, ...]) -> Tensor:
    table = torch.zeros(256, dtype=torch.bool)
    table[list(wanted)] = True
    return table.to(labels.device)[labels.long()]


# By rows of a kernel: how far it reaches on either side of its middle column; -1 where it is empty.
CONE = (*[-1] * 10, *range(10), *[10] * 13)  # ever wider rows, and then a band
LENS = (0, 17, 0)


def _jaw(labels: Tensor, cheeks: Cheeks) -> Tensor:
    """The skin grows by sixteen pixels upwards and six downwards, which is not what the kernel's looks promise."""
    grown = touched(labels == SKIN, CONE)
    narrowed = grown
    for _ in range(2):
        narrowed = ~touched(~narrowed, LENS)
    columns = torch.arange(SIDE, device=labels.device)
    outer = (columns <= MIDDLE - cheeks.left) | (columns >= MIDDLE + cheeks.right)
    face = torch.where(outer, narrowed, grown)
    return (face & (labels != NOSE)) | _any(labels, LIPS)


def touched(truths: Tensor, kernel: Sequence[int]) -> Tensor:
    """(n, height, width): where any pixel under the kernel is true. It is not turned over, and beyond all is false."""
    found, wide, reached = torch.zeros_like(truths), truths.clone(), 0
    for half in sorted({half for half in kernel if half >= 0}):
        for step in range(reached + 1, half + 1):
            wide[..., step:] |= truths[..., :-step]
            wide[..., :-step] |= truths[..., step:]
        reached = half
        for below in (row - len(kernel) // 2 for row, other in enumerate(kernel) if other == half):
            height = max(0, truths.shape[1] - abs(below))
            found[:, max(0, -below) :][:, :height] |= wide[:, max(0, below) :][:, :height]
    return found


# ---- labels without a parser


def drawn(outlines: Sequence[tuple[int, Tensor]]) -> Tensor:
    """Labels, and the outlines of all that has them (n, points, 2) in pixels of the square -> (n, 512, 512)

    Later ones lie over earlier ones. Nothing that hides a face is known.
    """
    found = torch.zeros(len(outlines[0][1]), SIDE, SIDE, dtype=torch.uint8, device=outlines[0][1].device)
    for label, outline in outlines:
        found[filled(outline)] = label
    return found


def filled(outlines: Tensor, side: int = SIDE) -> Tensor:
    """(n, points, 2) -> (n, side, side): whether the middle of a pixel lies within."""
    count = len(outlines)
    (x, y), (next_x, next_y) = outlines.unbind(2), outlines.roll(-1, 1).unbind(2)
    rows = (torch.arange(side, device=outlines.device) + 0.5)[None, :, None]
    x, y, next_x, next_y = (numbers[:, None] for numbers in (x, y, next_x, next_y))
    crossed = (y <= rows) != (next_y <= rows)
    slope = (next_x - x) / torch.where(next_y == y, 1, next_y - y)
    first = (x + (rows - y) * slope - 0.5).ceil().clamp(0, side).long()  # the first pixel beyond an edge
    turns = torch.zeros(count, side, side + 1, dtype=torch.int32, device=outlines.device)
    turns.scatter_add_(2, first, crossed.int())
    return turns[..., :side].cumsum(2) % 2 == 1


# ---- in the picture


@dataclass(frozen=True)
class Square:
    """Around the box of a face, in whole pixels of the picture, beyond which it may reach."""

    left: int
    top: int
    side: int

    @classmethod
    def around(cls, box: Box, expand: float = Rim.expand) -> Square:
        left, top, right, bottom = (int(side) for side in (box.left, box.top, box.right, box.bottom))
        half = int(max(right - left, bottom - top) // 2 * expand)
        return cls((left + right) // 2 - half, (top + bottom) // 2 - half, 2 * half)

    @property
    def box(self) -> Box:
        return Box(self.left, self.top, self.left + self.side, self.top + self.side)

    def seen(self, picture: Tensor) -> Tensor:
        """(height, width, 3) of bytes -> (3, 512, 512) in 0..255; black beyond the picture"""
        height, width = picture.shape[:2]
        right, bottom = self.left + self.side, self.top + self.side
        part = picture[max(0, self.top) : max(0, bottom), max(0, self.left) : max(0, right)].movedim(2, 0)
        beyond = (-self.left, right - width, -self.top, bottom - height)
        table = weights(self.side, SIDE, "bilinear", picture.device)
        return antialiased(F.pad(part, [max(0, more) for more in beyond]), table, table)


def share(mask: Tensor, box: Box, rim: Rim = USUAL, part: Box | None = None) -> Tensor:
    """(512, 512) of the square around a box -> how much of each pixel is replaced (height, width), in 0..1.

    part: of the picture; of the box if none is named.
    """
    square, part = Square.around(box, rim.expand), part or box
    (height, width), device = box.shape, mask.device
    table = weights(SIDE, square.side, "bicubic", device)
    left, top = int(box.left) - square.left, int(box.top) - square.top
    kept = max(0, int(square.side * rim.above) - top)  # rows of the box that stay as they were
    rows, columns = _rows(table, top + kept, height - kept), _rows(table, left, width)
    inside = F.pad(antialiased(mask * 255, columns, rows), (0, 0, kept, 0))
    wave = bell(int(rim.blur * square.side // 2 * 2) + 1)
    down = _spread(wave, height, range(int(part.top - box.top), int(part.bottom - box.top)), device)
    across = _spread(wave, width, range(int(part.left - box.left), int(part.right - box.left)), device)
    return (down @ (inside @ across.T) / 65536 + 0.5).floor_() / 255


def _rows(table: Tensor, first: int, count: int) -> Tensor:
    """Some rows of a table, and zeros where it has none: of a small box the square may be smaller."""
    before, after = max(0, -first), max(0, first + count - len(table))
    return F.pad(table[max(0, first) : max(0, first + count)], (0, 0, min(before, count), min(after, count)))


def _spread(wave: tuple[int, ...], size: int, places: range, device: torch.device) -> Tensor:
    """(places, size): how much each of `size` numbers counts at each place, beside which there is nothing."""
    steps = torch.arange(places.start, places.stop)[:, None] - torch.arange(size) + len(wave) // 2
    counted = torch.tensor(wave, dtype=torch.float32)[steps.clamp(0, len(wave) - 1)]
    return (counted * ((steps >= 0) & (steps < len(wave)))).to(device)


SMALL = {
    1: (256,),
    3: (64, 128, 64),
    5: (16, 64, 96, 64, 16),
    7: (8, 28, 56, 72, 56, 28, 8),
    9: (4, 13, 30, 51, 60, 51, 30, 13, 4),
}


@lru_cache
def bell(size: int) -> tuple[int, ...]:
    """OpenCV's Gauss curve of an odd size in 256ths: what rounding loses on the way to the middle is passed on."""
    if size in SMALL:
        return SMALL[size]
    half = size // 2
    spread = 0.3 * (half - 1) + 0.8
    heights = [math.exp(-(((place - half) / spread) ** 2) / 2) for place in range(size)]
    sums, lost = [], 0.0
    for height in heights[:half]:
        exact = height / sum(heights) * 256 + lost
        sums.append(round(exact))
        lost = exact - sums[-1]
    return (*sums, 256 - 2 * sum(sums), *reversed(sums))
