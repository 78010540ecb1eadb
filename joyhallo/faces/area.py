"""Resizing of bytes as OpenCV's INTER_AREA does it, without OpenCV and on any device.

Smaller pictures are means over areas, summed in OpenCV's order, since many of them lie halfway between two levels.
Larger ones are sharper than bilinear ones, as most of their pixels are made of one pixel alone.
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
    height, width, channels = pictures.shape[1:]
    if (width, height) in (size, (2 * size[0], 2 * size[1])):
        return rescale(pictures, size)  # which does the same
    if width < size[0] or height < size[1]:
        across, down = (_taps(width, size[0], pictures.device, channels), _taps(height, size[1], pictures.device))
        return interpolated(pictures, across, down)
    if width % size[0] == 0 and height % size[1] == 0:
        blocks = pictures.int().unflatten(2, (size[0], -1)).unflatten(1, (size[1], -1))
        means = blocks.sum((2, 4)) * torch.tensor(size[0] * size[1] / (width * height), dtype=torch.float32)
    else:
        means = _summed(_summed(pictures.float(), 2, size[0]), 1, size[1])
    return means.round_().clamp_(0, 255).byte()


def _summed(pictures: Tensor, side: int, target: int) -> Tensor:
    """Means along one side, one pixel of the source after the other."""
    if pictures.shape[side] == target:
        return pictures
    places, weights = _covered(pictures.shape[side], target, pictures.device)
    shape = [-1 if number == side else 1 for number in range(4)]
    total = torch.zeros((), device=pictures.device)
    for place, weight in zip(places, weights, strict=True):
        total = total + pictures.index_select(side, place) * weight.view(shape)
    return total


@lru_cache(maxsize=128)
def _covered(source: int, target: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """(most, target): the pixels of the source that each of the result covers, and how much of it each is."""
    borders = torch.arange(target + 1, dtype=torch.float64) * (source / target)
    pixels = torch.arange(source, dtype=torch.float64)
    covered = (torch.minimum(borders[1:, None], pixels + 1) - torch.maximum(borders[:-1, None], pixels)).clamp(min=0)
    first, most = (covered > 0).int().argmax(1), int((covered > 0).sum(1).max())
    places = (first + torch.arange(most)[:, None]).clamp(max=source - 1)
    beyond = first + torch.arange(most)[:, None] >= source
    weights = covered.gather(1, places.T).T.masked_fill(beyond, 0) / (source - borders[:-1]).clamp(max=source / target)
    return places.to(device), weights.to(device, torch.float32)


@lru_cache(maxsize=128)
def _taps(source: int, target: int, device: torch.device, channels: int = 0) -> Taps:
    """The pixel of the source that one of the result begins in, and the next, by how far it reaches into that.

    channels: of columns; the last one of these counts alone, which is not OpenCV's rule for rows.
    """
    places = torch.arange(target, dtype=torch.float64)
    first = (places * (1 / (target / source))).floor()  # in this precision: some places are whole numbers
    reach = ((places + 1) - (first + 1) * (target / source)).float()
    share = torch.where(reach <= 0, 0.0, reach - reach.floor())
    if channels:
        share[first >= source - 1] = 0
    return taps_at(first, share, source, device, channels or 1)
