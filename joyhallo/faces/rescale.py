"""Bilinear resizing of bytes, bit for bit as OpenCV does it, without OpenCV and on any device.

Networks trained on pictures that OpenCV made smaller notice the difference: a single level can become twenty.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from .boxes import Size

BITS = 11  # of the weights' fractions


def rescale(pictures: Tensor, size: Size) -> Tensor:
    """pictures uint8 (n, height, width, channels) -> (n, size[1], size[0], channels), their aspect ratio ignored."""
    if pictures.dtype != torch.uint8 or pictures.ndim != 4 or 0 in pictures.shape[1:] or min(size) < 1:
        raise ValueError(
            f"{size[0]}x{size[1]} pixels are to be made of {tuple(pictures.shape)} numbers of the type "
            f"{str(pictures.dtype).removeprefix('torch.')}; expected bytes (n, height, width, channels)."
        )
    height, width = pictures.shape[1:3]
    if (width, height) == size:
        return pictures.clone()
    if (width, height) == (2 * size[0], 2 * size[1]):
        return _halved(pictures)
    across, down = _taps(width, size[0], pictures, clamped=True), _taps(height, size[1], pictures)
    wide = pictures.int()
    rows = wide[:, :, across.first] * across.weight[:, None] + wide[:, :, across.second] * across.opposite[:, None]
    rows >>= 4
    weight, opposite = down.weight[:, None, None], down.opposite[:, None, None]
    total = ((rows[:, down.first] * weight) >> 16) + ((rows[:, down.second] * opposite) >> 16)
    return ((total + 2) >> 2).clamp(0, 255).to(torch.uint8)


def _halved(pictures: Tensor) -> Tensor:
    wide = pictures.int()
    rows = wide[:, 0::2] + wide[:, 1::2]
    return ((rows[:, :, 0::2] + rows[:, :, 1::2] + 2) >> 2).to(torch.uint8)


class _Taps(NamedTuple):
    """For each pixel of the result along one side: the two of the source, and their weights in 2048ths."""

    first: Tensor
    second: Tensor
    weight: Tensor
    opposite: Tensor


def _taps(source: int, target: int, like: Tensor, clamped: bool = False) -> _Taps:
    """clamped: beyond the first and the last pixel those count alone, which is OpenCV's rule for columns, not rows."""
    places = ((torch.arange(target, dtype=torch.float64) + 0.5) * (source / target) - 0.5).float()
    first = places.floor()
    share = places - first  # in single precision, as there
    if clamped:
        share[(first < 0) | (first >= source - 1)] = 0
        first = first.clamp(0, source - 1)
    first = first.long()
    weights = [(part * (1 << BITS)).round().int().to(like.device) for part in (1 - share, share)]
    ends = [(first + step).clamp(0, source - 1).to(like.device) for step in (0, 1)]
    return _Taps(ends[0], ends[1], weights[0], weights[1])
