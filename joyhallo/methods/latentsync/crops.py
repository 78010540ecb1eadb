"""Faces of a film as LatentSync sees them, and the way back: `Faces`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from ...faces.blend import Patch
from ...faces.boxes import Box, Size, whole
from ...faces.lanczos import lanczos
from ...faces.warp import inverse, reached, sampled_at
from .alignment import canvas

OUTSIDE = 127.0  # what lies beyond a picture, in its levels; and beyond a face, where it is as white as can be
RIM = 20  # its part of the side of a face, which fades out over twice as much


@dataclass(frozen=True)
class Faces:
    """matrices (frames, 2, 3): pixels of a picture -> those of the canvas; NaN where no face is known."""

    matrices: NDArray[np.float64]
    size: int
    picture: Size

    @property
    def usable(self) -> NDArray[np.bool_]:
        return np.array([bool(np.isfinite(one).all()) and self.box(one).area > 0 for one in self.matrices], bool)

    def box(self, matrix: NDArray[np.float64]) -> Box:
        """What a face may touch, and a pixel around it that it does not."""
        return reached(matrix, canvas(self.size), self.picture, 1.0).inset(-1).within(whole(self.picture))

    def cut(self, pictures: Tensor, frames: Sequence[int]) -> Tensor:
        """-> (n, 3, size, size), of bytes; the canvas is stretched to a square"""
        if not len(frames):
            return pictures.new_zeros(0, 3, self.size, self.size)
        return lanczos(self.canvases(pictures, frames), (self.size, self.size)).permute(0, 3, 1, 2)

    def canvases(self, pictures: Tensor, frames: Sequence[int]) -> Tensor:
        """-> (n, height, width, 3), of bytes"""
        return torch.stack([self._canvas(*one) for one in zip(pictures, frames, strict=True)])

    def _canvas(self, picture: Tensor, frame: int) -> Tensor:
        """Of the picture, only the part that is wanted ever becomes numbers."""
        matrix, (width, height) = self.matrices[frame], canvas(self.size)
        box = self.box(matrix)
        rows, columns = box.slices
        part = picture[rows, columns].permute(2, 0, 1)[None].float() - OUTSIDE
        back = inverse(shifted(matrix, box)[None])
        grid = sampled_at(back, (height, width), part.shape[2:]).to(part)
        seen = F.grid_sample(part, grid, padding_mode="zeros", align_corners=False)[0] + OUTSIDE
        return seen.clamp_(0, 255).byte().permute(1, 2, 0)

    def patch(self, crop: Tensor, frame: int) -> Patch | None:
        """crop (3, size, size), about -1..1."""
        matrix = self.matrices[frame]
        box = self.box(matrix)
        if not box.area:
            return None
        face = self.on_canvas(crop.float())
        grid = sampled_at(shifted(matrix, box)[None], box.shape, face.shape[1:]).to(face)
        there = F.grid_sample(torch.ones_like(face[None, :1]), grid, padding_mode="zeros", align_corners=False)[0]
        seen = F.grid_sample(face[None] - OUTSIDE, grid, padding_mode="zeros", align_corners=False)[0] + OUTSIDE
        weights, inside = soft(there[0], box, self.picture)
        pixels = (seen / 2 + 0.5).clamp_(0, 1) * 255 * inside
        return Patch(box, pixels.permute(1, 2, 0), weights, rounded=False)

    def on_canvas(self, crop: Tensor) -> Tensor:
        width, height = canvas(self.size)
        return F.interpolate(crop[None], (height, width), mode="bicubic", antialias=True)[0]


def shifted(matrix: NDArray[np.float64], box: Box) -> NDArray[np.float64]:
    """For the pixels of a part of a picture."""
    corner = np.array([box.left, box.top])
    return np.concatenate([matrix[:, :2], (matrix[:, 2] + matrix[:, :2] @ corner)[:, None]], axis=1)


def soft(there: Tensor, box: Box, picture: Size) -> tuple[Tensor, Tensor]:
    """How much of a face counts (height, width), and what of it is inside, of what a canvas covers of each pixel."""
    inside = least(there, 1, 0)
    rim = int(float(inside.sum()) ** 0.5) // RIM
    core = least(inside, rim, rim - 1) if rim else least(inside, 1, 1)
    return blurred(core, rim, box, picture), inside


def least(numbers: Tensor, before: int, after: int) -> Tensor:
    """The least of each pixel and those so far before and after it, both ways; beyond the border is nothing."""
    for side in (1, 0):
        turned = -(numbers if side else numbers.T)[None]
        wide = F.pad(turned, (before, after), value=-torch.inf)
        found = -F.max_pool2d(wide[None], (1, before + after + 1), stride=1)[0, 0]
        numbers = found if side else found.T
    return numbers


def blurred(numbers: Tensor, radius: int, box: Box, picture: Size) -> Tensor:
    """A bell over 2 * radius + 1 pixels, mirrored at the borders of the picture, beyond which a part has only zeros."""
    weights = bell(radius, numbers.device)
    for start, side in ((int(box.top), picture[1]), (int(box.left), picture[0])):
        places = mirrored(start, numbers.shape[0], side, radius).to(numbers.device)
        wide = F.pad(numbers, (0, 0, 0, 1))[places]
        numbers = wide[radius : radius + len(numbers)] * weights[0]
        for step, weight in enumerate(weights[1:], 1):
            sides = wide[radius - step :][: len(numbers)] + wide[radius + step :][: len(numbers)]
            numbers = torch.addcmul(numbers, sides, weight)
        numbers = numbers.T
    return numbers


def mirrored(start: int, count: int, side: int, radius: int) -> Tensor:
    """Places in a part of a row of pixels, of those it has and those around it; `count` where it has none."""
    around = torch.arange(start - radius, start + count + radius)
    period = max(1, 2 * (side - 1))
    around = around.remainder(period)
    around = torch.minimum(around, period - around) if side > 1 else torch.zeros_like(around)
    places = around - start
    return torch.where((places >= 0) & (places < count), places, count)


# What OpenCV has for small radii, in place of its formula: the weights of the middle and of the pixels beside it.
SMALL_BELLS = {1: (0.5, 0.25), 2: (0.375, 0.25, 0.0625), 3: (0.28125, 0.21875, 0.109375, 0.03125)}


def bell(radius: int, device: torch.device) -> Tensor:
    """The weights of the middle and of the pixels on either side, from there on."""
    if radius in SMALL_BELLS:
        return torch.tensor(SMALL_BELLS[radius], device=device)
    spread = 0.3 * (radius - 1) + 0.8
    heights = torch.exp(-(torch.arange(radius + 1, dtype=torch.float64) ** 2) / (2 * spread**2))
    return (heights / (2 * heights.sum() - heights[0])).float().to(device)
