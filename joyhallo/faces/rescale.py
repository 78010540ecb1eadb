"""Bilinear resizing of bytes, bit for bit as OpenCV does it, without OpenCV and on any device.

Networks trained on pictures that OpenCV made smaller notice the difference: a single level can become twenty.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor

from .boxes import Size

BITS = 11  # of the weights' fractions
UNSHARED = 1 << 15  # numbers that torch leaves to one thread


def rescale(pictures: Tensor, size: Size) -> Tensor:
    """pictures uint8 (n, height, width, channels) -> (n, size[1], size[0], channels), their aspect ratio ignored."""
    check_bytes(pictures, size)
    height, width = pictures.shape[1:3]
    if (width, height) == size:
        return pictures.clone()
    if (width, height) == (2 * size[0], 2 * size[1]):
        return _halved(pictures)
    across, down = _taps(width, size[0], pictures.device, clamped=True), _taps(height, size[1], pictures.device)
    return interpolated(pictures, across, down)


def check_bytes(pictures: Tensor, size: Size) -> None:
    if pictures.dtype != torch.uint8 or pictures.ndim != 4 or 0 in pictures.shape[1:] or min(size) < 1:
        raise ValueError(
            f"{size[0]}x{size[1]} pixels are to be made of {tuple(pictures.shape)} numbers of the type "
            f"{str(pictures.dtype).removeprefix('torch.')}; expected bytes (n, height, width, channels)."
        )


def interpolated(pictures: Tensor, across: Taps, down: Taps) -> Tensor:
    height, width, rows_made = pictures.shape[1], pictures.shape[2], len(down.first)
    if height > 2 * rows_made:  # most rows are not even looked at
        looked_at, place = torch.stack([down.first, down.second]).unique(return_inverse=True)
        pictures, down = pictures.index_select(1, looked_at), down._replace(first=place[0], second=place[1])
    needed = max(1, pictures.shape[0] * max(width, len(across.first)) * pictures.shape[3])
    rows = torch.cat(
        [_across(pictures[:, part], across) for part in parts(pictures.shape[1], needed, pictures.device)], dim=1
    )
    return torch.cat([_down(rows, down, part) for part in parts(rows_made, needed, pictures.device)], dim=1)


def _across(pictures: Tensor, taps: Taps) -> Tensor:
    """In 128ths."""
    first, second = (pictures.index_select(2, tap).int() for tap in (taps.first, taps.second))
    made = first.mul_(taps.weight[:, None]).add_(second.mul_(taps.opposite[:, None]))
    return made.bitwise_right_shift_(4)


def _down(rows: Tensor, taps: Taps, part: slice) -> Tensor:
    first = rows.index_select(1, taps.first[part]).mul_(taps.weight[part, None, None])
    second = rows.index_select(1, taps.second[part]).mul_(taps.opposite[part, None, None])
    total = first.bitwise_right_shift_(16).add_(second.bitwise_right_shift_(16))
    return total.add_(2).bitwise_right_shift_(2).to(torch.uint8)


def parts(rows: int, row: int, device: torch.device) -> Iterator[slice]:
    """Of so many rows of `row` numbers. On a CPU those that torch does not share among threads: these would wait for
    each other at every step, and for threads that read and write films."""
    each = rows if device.type != "cpu" else max(1, UNSHARED // row)
    return (slice(start, start + each) for start in range(0, rows, each))


def _halved(pictures: Tensor) -> Tensor:
    wide = pictures.int()
    rows = wide[:, 0::2] + wide[:, 1::2]
    return ((rows[:, :, 0::2] + rows[:, :, 1::2] + 2) >> 2).to(torch.uint8)


class Taps(NamedTuple):
    """For each pixel of the result along one side: the two of the source, and their weights in 2048ths."""

    first: Tensor
    second: Tensor
    weight: Tensor
    opposite: Tensor


@lru_cache(maxsize=512)
def _taps(source: int, target: int, device: torch.device, clamped: bool = False) -> Taps:
    """clamped: beyond the first and the last pixel those count alone, which is OpenCV's rule for columns, not rows."""
    places = ((torch.arange(target, dtype=torch.float64) + 0.5) * (source / target) - 0.5).float()
    first = places.floor()
    share = places - first  # in single precision, as there
    if clamped:
        share[(first < 0) | (first >= source - 1)] = 0
        first = first.clamp(0, source - 1)
    return taps_at(first, share, source, device)


def taps_at(first: Tensor, share: Tensor, source: int, device: torch.device) -> Taps:
    """share: of the pixel after the first."""
    weights = [(part * (1 << BITS)).round().int().to(device) for part in (1 - share, share)]
    ends = [(first.long() + step).clamp(0, source - 1).to(device) for step in (0, 1)]
    return Taps(ends[0], ends[1], weights[0], weights[1])
