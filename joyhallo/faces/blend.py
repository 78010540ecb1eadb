"""How what is made anew meets the picture around it: `Patch`, `Blend` and `blended`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from .boxes import Box, Points
from .regions import JAW
from .track import Track
from .unshared import unshared

# The weights (height, width) of a part of a frame, in 0..1 on a device; None: all of it counts.
Weights = Callable[[int, Box, torch.device], Tensor | None]

SEAM = 0.6  # weights up to this belong to the seam, where colours are compared
MOST_SHIFT = 48  # levels by which colours may be moved
SOFT = 0.12  # of the width of the lower face, over which it fades out


@dataclass(frozen=True)
class Patch:
    """What goes into one picture."""

    box: Box  # of whole pixels, within the picture
    pixels: Tensor  # (height, width, 3) in 0..255, of bytes or not yet rounded
    weights: Tensor | None = None  # (height, width) in 0..1: how far it is known; None: everywhere
    rounded: bool = True  # what comes of both pictures; otherwise its fractions are dropped, as some originals do


@dataclass(frozen=True)
class Blend:
    """weights: what of a frame is replaced; matched: whether colours are brought to those along the seam."""

    weights: Weights = lambda frame, box, device: None
    matched: bool = False

    def of(self, patch: Patch, frame: int) -> Tensor | None:
        """How much each pixel of a patch counts; None: all of it."""
        wished = self.weights(frame, patch.box, patch.pixels.device)
        if wished is None or patch.weights is None:
            return patch.weights if wished is None else wished
        return patch.weights * wished


def blended(picture: Tensor, patch: Patch, weights: Tensor | None, amount: float, matched: bool) -> None:
    """Change a picture (height, width, 3) of bytes in its place; where nothing counts, it stays to the last bit.

    amount: of the patch, in 0..1, over all its pixels.
    """
    rows, columns = patch.box.slices
    there = picture[rows, columns]
    if weights is None and amount >= 1 and patch.pixels.dtype == torch.uint8:
        unshared(there)[:] = unshared(patch.pixels)
        return
    before, made = there.float(), patch.pixels.float()
    share = torch.ones_like(before[..., 0]) if weights is None else weights.float()
    if matched:
        made = made + _shift(before, made, share)
    share = (share * amount)[..., None]
    mixed = torch.lerp(before, made, share)
    mixed = (mixed.round_() if patch.rounded else mixed).clamp_(0, 255).byte()
    there.copy_(torch.where(share > 0, mixed, there))


def _shift(before: Tensor, made: Tensor, share: Tensor) -> Tensor:
    """What brings the mean colour along the seam to that of the picture; without a seam, nothing."""
    seam = ((share > 0) & (share < SEAM)).float()[..., None]
    shift = ((before - made) * seam).sum((0, 1)) / seam.sum().clamp(min=1)  # asking for the sum would halt a GPU
    return shift.clamp(-MOST_SHIFT, MOST_SHIFT)


# ---- what is replaced


def feathered(share: float) -> Weights:
    """All of a box, fading out at its rim, over this share of its width and height."""

    def weights(frame: int, box: Box, device: torch.device) -> Tensor:
        height, width = box.shape
        rows, columns = _ramp(height, share, device), _ramp(width, share, device)
        return torch.minimum(rows[:, None], columns[None])

    return weights


def painted(masks: Tensor) -> Weights:
    """As a mask says: (height, width), or one for each frame (frames, height, width), of which the last stays."""
    each = masks if masks.ndim == 3 else masks[None]

    def weights(frame: int, box: Box, device: torch.device) -> Tensor:
        rows, columns = box.slices
        return each[min(frame, len(each) - 1)][rows, columns].to(device, torch.float32).clamp(0, 1)

    return weights


def both(one: Weights, other: Weights) -> Weights:
    """Where both say so."""

    def weights(frame: int, box: Box, device: torch.device) -> Tensor | None:
        first, second = one(frame, box, device), other(frame, box, device)
        return second if first is None else first if second is None else first * second

    return weights


def around_mouths(track: Track) -> Weights:
    """The lower face of each frame, from under the nose to the chin, fading out inside it."""

    def weights(frame: int, box: Box, device: torch.device) -> Tensor:
        outline = lower_face(track, frame)
        soft = SOFT * float(np.ptp(outline[:, 0]))
        return within(torch.from_numpy(outline - (box.left, box.top)).to(device, torch.float32), box.shape, soft)

    return weights


def lower_face(track: Track, frame: int) -> Points:
    """Its outline (n, 2), convex, by whatever points there are."""
    if track.scheme == "mesh":
        return track.points[frame, list(JAW)]
    if track.scheme == "marks":
        points = track.points[frame]
        eyes, mouth = points[:2], points[3:5]
        apart, middle = float(np.linalg.norm(eyes[1] - eyes[0])), mouth.mean(0)
        down = middle - eyes.mean(0)
        down = down / max(float(np.linalg.norm(down)), 1e-6)
        return _ellipse(middle + 0.1 * apart * down, 0.85 * apart, 0.6 * apart, down)
    box = track.box(frame)
    middle = np.array([box.left + 0.5 * box.width, box.top + 0.75 * box.height])
    return _ellipse(middle, 0.42 * box.width, 0.25 * box.height, np.array([0.0, 1.0]))


def _ellipse(middle: Points, across: float, along: float, down: Points) -> Points:
    turns = np.linspace(0, 2 * np.pi, 24, endpoint=False)
    right = np.array([down[1], -down[0]])
    return middle + across * np.cos(turns)[:, None] * right + along * np.sin(turns)[:, None] * down


def within(outline: Tensor, shape: tuple[int, int], soft: float) -> Tensor:
    """Weights (height, width) of what lies within a convex outline (n, 2), fading out inside it over `soft` pixels."""
    height, width = shape
    rows, columns = (torch.arange(side, device=outline.device) + 0.5 for side in shape)
    along = F.normalize(outline.roll(-1, 0) - outline, dim=1)
    inward = torch.stack([-along[:, 1], along[:, 0]], dim=1)
    inward = inward * ((outline.mean(0) - outline) * inward).sum(1, keepdim=True).sign()
    depth = outline.new_full((height, width), torch.inf)
    for (x, y), (across, down) in zip(outline, inward, strict=True):
        torch.minimum(depth, (rows[:, None] - y) * down + (columns[None] - x) * across, out=depth)
    return _eased(depth / max(soft, 1e-3))


def _ramp(length: int, share: float, device: torch.device) -> Tensor:
    middle = torch.arange(length, device=device) + 0.5
    return _eased(torch.minimum(middle, length - middle) / max(1.0, length * share))


def _eased(near: Tensor) -> Tensor:
    """0..1 along half a cosine wave."""
    return 0.5 - 0.5 * torch.cos(torch.pi * near.clamp(0, 1))
