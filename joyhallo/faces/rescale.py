"""Bilinear resizing of bytes, bit for bit as OpenCV does it, without OpenCV and on any device.

Networks trained on pictures that OpenCV made smaller notice the difference: a single level can become twenty.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from .boxes import Size
from .unshared import Numbers, unshared

BITS = 11  # of the weights' fractions
UNSHARED = 1 << 15  # numbers that torch leaves to one thread


def rescale(pictures: Tensor, size: Size) -> Tensor:
    """pictures uint8 (n, height, width, channels) -> (n, size[1], size[0], channels), their aspect ratio ignored."""
    check_bytes(pictures, size)
    height, width, channels = pictures.shape[1:]
    if (width, height) == size:
        return pictures.clone()
    if (width, height) == (2 * size[0], 2 * size[1]):
        return _halved(pictures)
    across, down = _taps(width, size[0], pictures.device, channels), _taps(height, size[1], pictures.device)
    return interpolated(pictures, across, down)


def check_bytes(pictures: Tensor, size: Size) -> None:
    if pictures.dtype != torch.uint8 or pictures.ndim != 4 or 0 in pictures.shape[1:] or min(size) < 1:
        raise ValueError(
            f"{size[0]}x{size[1]} pixels are to be made of {tuple(pictures.shape)} numbers of the type "
            f"{str(pictures.dtype).removeprefix('torch.')}; expected bytes (n, height, width, channels)."
        )


def interpolated(pictures: Tensor, across: Taps, down: Taps) -> Tensor:
    """across: for each number of a row, see `taps_at`"""
    count, height, width, channels = pictures.shape
    made = pictures.new_empty(count, len(down.first), len(across.first) // channels, channels)
    lines, target = unshared(pictures).reshape(count, height, width * channels), unshared(made.flatten(2))
    across, down = Taps(*map(unshared, across)), Taps(*map(unshared, down))
    row, device = max(1, count * max(lines.shape[2], target.shape[2])), pictures.device
    few = height > 2 * len(down.first)  # most rows are not even looked at
    rows = lines if few else _all_across(lines, across, parts(height, row, device))
    for part in parts(len(down.first), row, device):
        taps = Taps(*(values[part] for values in down))
        first, second = rows[:, taps.first], rows[:, taps.second]
        if few:
            first, second = _across(first, across), _across(second, across)
        target[:, part] = _down(first, second, taps)
    return made


def _all_across(lines: Numbers, taps: Taps, some: Iterable[slice]) -> Numbers:
    made = [_across(lines[:, part], taps) for part in some]
    return torch.cat(made, dim=1) if isinstance(lines, Tensor) else np.concatenate(made, axis=1)


def _across(lines: Numbers, taps: Taps) -> Numbers:
    """In 128ths."""
    first, second = _wide(lines[:, :, taps.first]), _wide(lines[:, :, taps.second])
    first *= taps.weight
    second *= taps.opposite
    first += second
    first >>= 4
    return first


def _down(first: Numbers, second: Numbers, taps: Taps) -> Numbers:
    """Into the first."""
    first *= taps.weight[:, None]
    first >>= 16
    second *= taps.opposite[:, None]
    second >>= 16
    first += second
    first += 2
    first >>= 2
    return first


def _wide(numbers: Numbers) -> Numbers:
    return numbers.int() if isinstance(numbers, Tensor) else numbers.astype(np.int32)


def parts(rows: int, row: int, device: torch.device) -> Iterator[slice]:
    """Of so many rows of `row` numbers. On a CPU those that torch does not share among threads, and that its caches
    hold."""
    each = rows if device.type != "cpu" else max(1, UNSHARED // row)
    return (slice(start, start + each) for start in range(0, rows, each))


def _halved(pictures: Tensor) -> Tensor:
    count, height, width, channels = pictures.shape
    made, wide = pictures.new_empty(count, height // 2, width // 2, channels), _wide(unshared(pictures))
    rows = wide[:, 0::2] + wide[:, 1::2]
    unshared(made)[:] = (rows[:, :, 0::2] + rows[:, :, 1::2] + 2) >> 2
    return made


class Taps(NamedTuple):
    """For each number of the result along one side: the two of the source, and their weights in 2048ths."""

    first: Numbers
    second: Numbers
    weight: Numbers
    opposite: Numbers


@lru_cache(maxsize=512)
def _taps(source: int, target: int, device: torch.device, channels: int = 0) -> Taps:
    """channels: of columns; beyond the first and the last of these they count alone, which is not OpenCV's rule for
    rows."""
    places = ((torch.arange(target, dtype=torch.float64) + 0.5) * (source / target) - 0.5).float()
    first = places.floor()
    share = places - first  # in single precision, as there
    if channels:
        share[(first < 0) | (first >= source - 1)] = 0
        first = first.clamp(0, source - 1)
    return taps_at(first, share, source, device, channels or 1)


def taps_at(first: Tensor, share: Tensor, source: int, device: torch.device, channels: int = 1) -> Taps:
    """share: of the pixel after the first; channels: numbers that a pixel has side by side"""
    weights = [(part * (1 << BITS)).round().int().repeat_interleave(channels) for part in (1 - share, share)]
    ends = [(first.long() + step).clamp(0, source - 1)[:, None] * channels for step in (0, 1)]
    places = [(end + torch.arange(channels)).flatten() for end in ends]
    return Taps(*(values.to(device) for values in (*places, *weights)))
