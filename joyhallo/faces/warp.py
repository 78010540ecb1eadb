"""Where the pixels of a picture lie on a canvas that a turned, scaled and shifted face fills, and the way back; and how
a picture is read between its pixels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from .boxes import Box, Size, around, whole


def reached(matrix: NDArray[np.float64], size: Size, picture: Size, beyond: float) -> Box:
    """The part of a picture, in whole pixels, that a canvas of this size may touch; `matrix` leads onto the canvas.

    beyond: pixels of the canvas that count around the middles of its outer ones.
    """
    left, right, bottom = -beyond, size[0] - 1 + beyond, size[1] - 1 + beyond
    corners = np.array([[left, left], [right, left], [left, bottom], [right, bottom]])
    (back,) = inverse(matrix[None])
    touched = around(corners @ back[:, :2].T + back[:, 2])
    spread = Box(*map(float, np.floor([touched.left, touched.top])), *np.ceil([touched.right, touched.bottom]) + 1)
    return spread.within(whole(picture))


def inverse(matrices: NDArray[np.float64]) -> NDArray[np.float64]:
    turns = np.linalg.inv(matrices[:, :, :2])
    return np.concatenate([turns, -turns @ matrices[:, :, 2:]], axis=2).astype(np.float64)


def sampled_at(matrices: NDArray[np.float64], shape: Sequence[int], source: Sequence[int]) -> Tensor:
    """For each pixel of `shape` the place in `source` that a matrix leads to, as grid_sample wants it."""
    height, width = source
    y, x = torch.meshgrid(*(torch.arange(side, dtype=torch.float64) for side in shape), indexing="ij")
    places = torch.stack([x, y, torch.ones_like(x)], dim=-1) @ torch.from_numpy(matrices).mT[:, None]
    return (places * 2 + 1) / torch.tensor([width, height], dtype=torch.float64) - 1


BORDERLESS = ("mps",)  # kinds of devices whose grid_sample knows no borders, before torch 2.13


def read_at(pictures: Tensor, places: Tensor) -> Tensor:
    """Pictures (n, channels, height, width) at places (n, rows, columns, 2), of which -1 is the middle of the first
    pixel and 1 that of the last one; beyond them the border goes on."""
    if pictures.device.type in BORDERLESS:
        return F.grid_sample(pictures, places.clamp(-1, 1), align_corners=True)
    return F.grid_sample(pictures, places, padding_mode="border", align_corners=True)
