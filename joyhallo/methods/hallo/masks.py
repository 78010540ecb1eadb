"""Soft masks of head, face and lips (`soft_masks`) and their `pyramid`, equal to the original's.

The original uses OpenCV, whose 8-bit resize and blur are fixed-point arithmetic. They are repeated here with integers,
exactly and without OpenCV. Masks are 8-bit arrays (height, width) until the pyramid.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache

import numpy as np
import torch
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from torch import Tensor

from ...diffusion.codec import LATENT_SCALE
from ...faces.boxes import Size
from ...faces.regions import Mask, resized, smoothly

BASE = 64  # side of the masks from which the pyramid is made
FACE_BLUR = 51  # kernel sizes, in pixels of the base
LIP_BLUR = 31


@dataclass(frozen=True)
class SoftMasks:
    """The three regions that gate the audio, (64, 64) each."""

    pose: Mask  # only what lies outside the face; the three need not add up to 1
    expression: Mask
    lip: Mask

    def at(self, size: Size) -> SoftMasks:
        """The masks enlarged, to look at and edit."""
        return SoftMasks(*(smoothly(mask, size) for mask in (self.pose, self.expression, self.lip)))

    def replaced(self, **edited: Mask) -> SoftMasks:
        """A copy with edited masks, of any size, for the named regions."""
        return replace(self, **{name: smoothly(mask, (BASE, BASE)) for name, mask in edited.items()})


def soft_masks(face: Mask, lips: Mask) -> SoftMasks:
    """Soften hard masks of the face and of the lips, which cover the whole picture at any size."""
    around_face, lip = softened(face, FACE_BLUR), softened(lips, LIP_BLUR)
    # The original truncates: 50 of the 256 values come out one lower than 255 - value.
    pose = ((1 - around_face / 255) * 255).astype(np.uint8)
    expression = np.maximum(around_face.astype(np.int16) - lip, 0).astype(np.uint8)
    return SoftMasks(pose, expression, lip)


def softened(mask: Mask, blur: int) -> Mask:
    return stretched(blurred(shrunk(mask, BASE), blur))


def pyramid(masks: SoftMasks, size: Size, levels: int = 4) -> list[Tensor]:
    """Masks per level, (3, pixels) in 0..1 in row order; each level is made directly from the base."""
    width, height = (side // LATENT_SCALE for side in size)
    regions = (masks.pose, masks.expression, masks.lip)
    return [
        torch.stack([torch.from_numpy(resized(mask, (width >> level, height >> level))).flatten() for mask in regions])
        .float()
        .div(255)
        for level in range(levels)
    ]


def locator(face: Mask, size: Size) -> Tensor:
    """The hard mask of the face as a picture (3, height, width) in 0..1."""
    return torch.from_numpy(resized(face, size)).float().div(255).expand(3, -1, -1).contiguous()


def pixels(picture: NDArray[np.uint8], size: Size) -> Tensor:
    """Convert a picture (height, width, 3) to (3, height, width) in -1..1; stretches it if the shapes differ."""
    return torch.from_numpy(resized(picture, size)).permute(2, 0, 1).float().div(255).sub(0.5).div(0.5).contiguous()


def shrunk(mask: Mask, side: int) -> Mask:
    """Shrink to a square by OpenCV's bilinear rule: not antialiased, weights in 1/2048."""
    if mask.shape == (side, side):
        return mask
    if mask.shape == (2 * side, 2 * side):
        return _halved(mask)
    (top, down), (left, across) = (_positions(length, side) for length in mask.shape)
    rows, columns = mask.shape
    # A column beyond the border repeats it; OpenCV gives it the weight 1, which matters after rounding.
    inside = (left >= 0) & (left < columns - 1)
    across = np.where(inside[:, None], across, (2048, 0))
    left, right = left.clip(0, columns - 1), (left + 1).clip(0, columns - 1)
    wide = mask[:, left].astype(np.int32) * across[:, 0] + mask[:, right].astype(np.int32) * across[:, 1]
    above, below = (wide[(top + i).clip(0, rows - 1)] >> 4 for i in (0, 1))
    mixed = ((above * down[:, :1]) >> 16) + ((below * down[:, 1:]) >> 16)
    return ((mixed + 2) >> 2).astype(np.uint8)


def _halved(mask: Mask) -> Mask:
    quarters = mask.reshape(mask.shape[0] // 2, 2, mask.shape[1] // 2, 2).astype(np.int32).sum((1, 3))
    return ((quarters + 2) >> 2).astype(np.uint8)


def _positions(length: int, side: int) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    """For every target pixel: the source pixel before it, and the weights of that and the next one."""
    scale = 1 / (side / length)
    at = ((np.arange(side) + 0.5) * scale - 0.5).astype(np.float32)
    before = np.floor(at)
    beyond = at - before
    weights = np.stack([1 - beyond, beyond], 1) * np.float32(2048)
    return before.astype(np.int64), np.rint(weights).astype(np.int32)


def blurred(mask: Mask, size: int) -> Mask:
    """OpenCV's Gaussian of `size` pixels, weights in 1/256, mirrored at the borders."""
    padded = np.pad(mask, size // 2, "reflect").astype(np.int64)
    down = sliding_window_view(padded, size, 0) @ gaussian(size)
    both = sliding_window_view(down, size, 1) @ gaussian(size)
    return ((both + (1 << 15)) >> 16).astype(np.uint8)


@cache
def gaussian(size: int) -> NDArray[np.int64]:
    """Weights in 1/256; each rounding error is carried to the next weight, and the middle one takes the remainder."""
    sigma = 0.15 * size + 0.35
    curve = np.exp(-0.5 * (np.arange(-(size // 2), size // 2 + 1) / sigma) ** 2)
    half, error = [], 0.0
    for exact in curve[: size // 2] / curve.sum() * 256:
        half.append(round(exact + error))
        error += exact - half[-1]
    return np.array([*half, 256 - 2 * sum(half), *half[::-1]])


def stretched(mask: Mask) -> Mask:
    """Contrast stretched to 0..255; a mask of one value becomes 0.

    OpenCV multiplies and adds single-precision numbers with one rounding, which double precision gives as well.
    """
    low, high = int(mask.min()), int(mask.max())
    scale = 255 / (high - low) if high > low else 0.0
    scaled = mask * float(np.float32(scale)) + float(np.float32(-low * scale))
    return np.rint(scaled.astype(np.float32)).clip(0, 255).astype(np.uint8)
