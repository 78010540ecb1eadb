"""Crops of mouths as cameras, codecs and finders of faces may give them: `filmed_again`, never the same twice."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from ...config import FPS
from ...drawn.speaking import wander
from ...measures.lip_reader import COLUMNS_SEEN, ROWS_SEEN

# How far a crop may be off, for a whole clip.
ZOOM, ASPECT = 0.16, 0.07  # logarithms of factors
TURN = 0.14  # radians
OFF = 5.0  # pixels
FOLLOWING = (-2.0, 5.0)  # pixels that a box goes down with the jaw, or against it
# And from frame to frame.
SWAY, TREMBLE = 0.8, 0.4  # deviations in pixels, at most

GAMMA, CONTRAST, BRIGHTNESS = 0.5, 0.5, 0.15  # the first two are logarithms
SLOPE = 0.4  # of the light, from one side to the other
BLURRED, BLUR = 0.4, (0.4, 2.0)  # share of the clips, and the deviation in pixels
COARSE, COARSER = 0.25, (1.3, 3.0)
NOISY, NOISE = 0.6, 0.08


def filmed_again(wide: Tensor, opening: Tensor, dice: np.random.Generator) -> Tensor:
    """Wide crops, uint8 (clips, frames, rows, columns), and openings (clips, frames) -> a reader's crops in 0..1"""
    generator = torch.Generator().manual_seed(int(dice.integers(1 << 62)))
    seen = _lit(_cut(wide, opening, dice), dice)
    seen = torch.stack([_coarsened(_blurred(clip, dice), dice) for clip in seen])
    deviations = dice.uniform(0, NOISE, len(seen)) * (dice.random(len(seen)) < NOISY)
    return (seen + _each(deviations) * torch.randn(seen.shape, generator=generator)).clamp(0, 1)


def _each(values: object) -> Tensor:
    """One number for each clip."""
    return torch.as_tensor(values, dtype=torch.float32)[:, None, None, None]


def _cut(wide: Tensor, opening: Tensor, dice: np.random.Generator) -> Tensor:
    """From a place that is somewhat off; half of the clips are mirrored."""
    clips, _, rows, columns = wide.shape
    zoom, aspect = (np.exp(dice.uniform(-most, most, clips)) for most in (ZOOM, ASPECT))
    mirror, turn = dice.choice([-1.0, 1.0], clips), dice.uniform(-TURN, TURN, clips)
    y, x = torch.meshgrid(_middles(ROWS_SEEN), _middles(COLUMNS_SEEN), indexing="ij")
    x, y = x * _each(zoom * aspect * mirror), y * _each(zoom / aspect)
    cos, sin = _each(np.cos(turn)), _each(np.sin(turn))
    across, down = _places(opening, dice)
    x, y = x * cos - y * sin + across[..., None, None], x * sin + y * cos + down[..., None, None]
    grid = torch.stack([x * (2 / columns), y * (2 / rows)], dim=-1).flatten(0, 1)
    pictures = wide.flatten(0, 1)[:, None].float() / 255
    return F.grid_sample(pictures, grid, padding_mode="border", align_corners=False)[:, 0].unflatten(0, wide.shape[:2])


def _middles(count: int) -> Tensor:
    return torch.arange(count) + 0.5 - count / 2


def _places(opening: Tensor, dice: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Of the crops' middles, across and down, (clips, frames) each."""
    clips, frames = opening.shape

    def path() -> Tensor:
        ways = [
            dice.uniform(-OFF, OFF)
            + dice.uniform(0, SWAY) * wander(dice, frames, FPS / 2)
            + dice.uniform(0, TREMBLE) * dice.standard_normal(frames)
            for _ in range(clips)
        ]
        return torch.from_numpy(np.stack(ways)).float()

    follow = torch.from_numpy(dice.uniform(*FOLLOWING, clips)).float()[:, None]
    return path(), path() + follow * (opening - opening.mean(1, keepdim=True))


def _lit(seen: Tensor, dice: np.random.Generator) -> Tensor:
    clips, _, rows, columns = seen.shape
    gamma, contrast = (_each(np.exp(dice.uniform(-most, most, clips))) for most in (GAMMA, CONTRAST))
    brightness, across, down = (_each(dice.uniform(-most, most, clips)) for most in (BRIGHTNESS, SLOPE, SLOPE))
    light = across * torch.linspace(-1, 1, columns) + down * torch.linspace(-1, 1, rows)[:, None]
    return ((seen.clamp(min=1e-4) ** gamma - 0.5) * contrast + 0.5 + brightness) * (1 + light)


def _blurred(clip: Tensor, dice: np.random.Generator) -> Tensor:
    if dice.random() >= BLURRED:
        return clip
    deviation = dice.uniform(*BLUR)
    reach = math.ceil(2 * deviation)
    bell = (-0.5 * (torch.arange(-reach, reach + 1) / deviation).square()).exp()
    bell = bell / bell.sum()
    padded = F.pad(clip[:, None], (reach, reach, reach, reach), "replicate")
    return F.conv2d(F.conv2d(padded, bell.view(1, 1, 1, -1)), bell.view(1, 1, -1, 1))[:, 0]


def _coarsened(clip: Tensor, dice: np.random.Generator) -> Tensor:
    if dice.random() >= COARSE:
        return clip
    fewer = dice.uniform(*COARSER)
    size = (round(ROWS_SEEN / fewer), round(COLUMNS_SEEN / fewer))
    small = F.interpolate(clip[:, None], size, mode="bilinear", antialias=True)
    return F.interpolate(small, (ROWS_SEEN, COLUMNS_SEEN), mode="bilinear")[:, 0]
