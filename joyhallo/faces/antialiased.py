"""Resizing of bytes as Pillow does it, on any device: every pixel of the source counts, also when shrinking."""

from __future__ import annotations

from functools import lru_cache
from typing import Literal

import torch
from torch import Tensor

Kernel = Literal["bilinear", "bicubic"]
REACH = {"bilinear": 1.0, "bicubic": 2.0}  # pixels on either side


def antialiased(planes: Tensor, across: Tensor, down: Tensor) -> Tensor:
    """Bytes (..., height, width), by tables of `weights` for columns and for rows -> (..., rows, columns) as numbers.

    Rounded after either side, like Pillow's, from which single values differ by a level. Columns come first, as there
    for a square that becomes another square.
    """
    return _rounded(down @ _rounded(planes.float() @ across.T))


def _rounded(numbers: Tensor) -> Tensor:
    return numbers.add_(0.5).floor_().clamp_(0, 255)


@lru_cache(maxsize=16)
def weights(source: int, target: int, kernel: Kernel, device: torch.device | None = None) -> Tensor:
    """(target, source): how much each pixel of the source counts in each of the result."""
    scale = source / target
    wide = max(scale, 1.0)
    reach = REACH[kernel] * wide
    middles = (torch.arange(target, dtype=torch.float64) + 0.5)[:, None] * scale
    places = torch.arange(source)[None]
    within = (places >= (middles - reach + 0.5).floor()) & (places < (middles + reach + 0.5).floor())
    counted = _heights(((places + 0.5 - middles) / wide).abs(), kernel) * within
    return (counted / counted.sum(1, keepdim=True)).to(device, torch.float32)


def _heights(away: Tensor, kernel: Kernel) -> Tensor:
    if kernel == "bilinear":
        return (1 - away).clamp(min=0)
    near = (1.5 * away - 2.5) * away * away + 1
    far = ((-0.5 * away + 2.5) * away - 4) * away + 2
    return torch.where(away < 1, near, torch.where(away < 2, far, 0.0))
