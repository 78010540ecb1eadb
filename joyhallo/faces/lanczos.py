"""Resizing of bytes with eight Lanczos taps, bit for bit as OpenCV's INTER_LANCZOS4, without OpenCV and on any device.

Shrinking looks at no more pixels than enlarging does, and networks were trained on just that.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor

from .boxes import Size
from .rescale import BITS, parts

TAPS = 8
BEFORE = 3  # of them, the pixels before the one that a place falls into


def lanczos(pictures: Tensor, size: Size) -> Tensor:
    """pictures uint8 (n, height, width) or (n, height, width, channels) -> the same of size (width, height)."""
    if pictures.dtype != torch.uint8 or pictures.ndim not in (3, 4) or 0 in pictures.shape[1:] or min(size) < 1:
        raise ValueError(
            f"{size[0]}x{size[1]} pixels are to be made of {tuple(pictures.shape)} numbers of the type "
            f"{str(pictures.dtype).removeprefix('torch.')}; expected bytes (n, height, width) or with channels."
        )
    if pictures.ndim == 3:
        return lanczos(pictures[..., None], size)[..., 0]
    if tuple(pictures.shape[2:0:-1]) == size:
        return pictures.clone()
    rows = torch.cat(list(_along_rows(pictures, size[1])), dim=1)
    columns = [_rounded(part) for part in _along_rows(rows.transpose(1, 2), size[0])]
    return torch.cat(columns, dim=1).transpose(1, 2).contiguous()


def _along_rows(numbers: Tensor, target: int) -> Iterator[Tensor]:
    """(n, source, others, channels) -> (n, some of target, others, channels): whole rows are gathered, which is cheap.

    In 2048ths, not yet rounded; even after both sides they stay below 2^31.
    """
    numbers = numbers.contiguous()
    taps = _taps(numbers.shape[1], target, numbers.device)
    for part in parts(target, max(1, numbers[:, 0].numel()), numbers.device):
        total = torch.zeros((), dtype=torch.int32, device=numbers.device)
        for place, weight in zip(taps.places[:, part], taps.weights[:, part], strict=True):
            total = torch.addcmul(total, numbers.index_select(1, place).int(), weight[:, None, None])
        yield total


def _rounded(total: Tensor) -> Tensor:
    return total.add_(1 << (2 * BITS - 1)).bitwise_right_shift_(2 * BITS).clamp_(0, 255).to(torch.uint8)


class _Taps(NamedTuple):
    """For each pixel of the result along one side: eight of the source, and their weights in 2048ths."""

    places: Tensor  # (taps, pixels)
    weights: Tensor


@lru_cache(maxsize=512)
def _taps(source: int, target: int, device: torch.device) -> _Taps:
    scale = 1 / (target / source)
    at = ((torch.arange(target, dtype=torch.float64) + 0.5) * scale - 0.5).float()
    first = at.floor()
    steps = torch.arange(TAPS)[:, None] - BEFORE
    weights = _weights(at - first, steps)
    places = (first.long() + steps).clamp(0, source - 1)
    return _Taps(places.to(device), weights.to(device))


def _weights(share: Tensor, steps: Tensor) -> Tensor:
    """In single precision wherever OpenCV's are: some lie so near to a half that all of it shows in the rounding.

    share (pixels): how far behind the pixel of step 0 a place lies.
    """
    away = (share + BEFORE) - (steps + BEFORE)
    turn, start = away.double() * (torch.pi / 4), (share + BEFORE).double() * (torch.pi / 4)
    cycle = (steps + BEFORE).double() * (torch.pi / 4)
    waves = (5 * cycle).cos() * -start.sin() + (5 * cycle).sin() * start.cos()
    weights = torch.where(away.abs() < 1e-6, 1e30, waves / turn.square()).float()
    total = weights[0]
    for weight in weights[1:]:
        total = total + weight
    return (weights * (1 / total) * (1 << BITS)).round().int()
