"""Resizing of bytes as OpenCV's INTER_AREA does it, without OpenCV and on any device.

Smaller pictures are means over areas, of which single values are a level off. Larger ones are the same bit for bit:
sharper than bilinear ones, as most of their pixels are made of one pixel alone.
"""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor

from .boxes import Size
from .rescale import Taps, check_bytes, interpolated, rescale, taps_at


def area(pictures: Tensor, size: Size) -> Tensor:
    """pictures uint8 (n, height, width, channels) -> (n, size[1], size[0], channels), their aspect ratio ignored."""
    check_bytes(pictures, size)
    height, width = pictures.shape[1:3]
    if (width, height) in (size, (2 * size[0], 2 * size[1])):
        return rescale(pictures, size)  # which does the same
    if width < size[0] or height < size[1]:
        across, down = (_taps(width, size[0], pictures.device, True), _taps(height, size[1], pictures.device))
        return interpolated(pictures, across, down)
    across, down = _covered(width, size[0], pictures.device), _covered(height, size[1], pictures.device)
    sums = down @ (pictures.permute(0, 3, 1, 2).float() @ across.T)
    means = sums.mul_(size[0] * size[1] / (width * height))
    return means.round_().clamp_(0, 255).byte().permute(0, 2, 3, 1)


@lru_cache(maxsize=128)
def _covered(source: int, target: int, device: torch.device) -> Tensor:
    """(target, source): how much of each pixel of the source each of the result covers."""
    borders = torch.arange(target + 1, dtype=torch.float64) * (source / target)
    pixels = torch.arange(source, dtype=torch.float64)
    covered = torch.minimum(borders[1:, None], pixels + 1) - torch.maximum(borders[:-1, None], pixels)
    return covered.clamp(min=0).to(device, torch.float32)


@lru_cache(maxsize=128)
def _taps(source: int, target: int, device: torch.device, clamped: bool = False) -> Taps:
    """The pixel of the source that one of the result begins in, and the next, by how far it reaches into that.

    clamped: the last pixel counts alone, which is OpenCV's rule for columns, not rows.
    """
    places = torch.arange(target, dtype=torch.float64)
    first = (places * (1 / (target / source))).floor()  # in this precision: some places are whole numbers
    reach = ((places + 1) - (first + 1) * (target / source)).float()
    share = torch.where(reach <= 0, 0.0, reach - reach.floor())
    if clamped:
        share[first >= source - 1] = 0
    return taps_at(first, share, source, device)
