"""How lids close: the skin above the eye is drawn over it, and the eye stays where it is.

A mesh tells an eye's outline only roughly. So the skin is taken from well above the lashes and drawn to well below the
eye, and the line where the lids meet is drawn anew.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from .face import Eye

SIDE, COLUMNS, ROWS = 1.5, 91, 97  # half widths of the eye
ABOVE, BELOW, BESIDE = 0.16, 0.10, 0.10  # half widths by which the outline may be wrong
LASHES = 0.055  # half widths: how thick the line is


class Lid:
    def __init__(self, eye: Eye, picture: Tensor):
        """picture (3, height, width): for the colour of the lashes"""
        self.eye = eye
        places = np.linspace(-SIDE, SIDE, COLUMNS)
        upper, lower = (_over(places, line) for line in (eye.upper, eye.lower))
        arch = np.clip(1 - (places / (1 + BESIDE)) ** 2, 0, None) ** 0.75
        upper, lower = upper - ABOVE * arch, lower + BELOW * arch
        brow = float(eye.brow[:, 1].mean())
        self.fold = float(np.clip(0.8 * (upper.min() - brow), 0.2, 1.0))  # how much skin is drawn down
        self.bounds = (-SIDE, SIDE, float(upper.min()) - self.fold - 0.15, float(lower.max()) + 0.3)
        device = picture.device
        self.u = torch.linspace(-SIDE, SIDE, COLUMNS, device=device)
        self.v = torch.linspace(self.bounds[2], self.bounds[3], ROWS, device=device)
        self.upper, self.reach = (torch.from_numpy(line).to(self.u) for line in (upper, lower - upper))
        self.lashes = _darkest(picture, eye)

    def field(self, blink: Tensor) -> Tensor:
        """blink (n) in 0..1 -> (n, 4, rows, columns): movement (2), height above the lid's edge, and how far the skin
        is drawn over the eye"""
        v, upper = self.v[None, :, None], self.upper[None, None]
        drawn = (blink[:, None] * self.reach.clamp(min=0))[:, None]  # (n, 1, columns): by which the edge is lower
        edge = upper + drawn
        movement = drawn * ((v - (upper - self.fold)) / (self.fold + drawn)).clamp(0, 1)
        height = edge - v
        return torch.stack([torch.zeros_like(movement), movement, height, drawn.expand_as(movement)], dim=1)

    def covered(self, skin: Tensor, eye: Tensor, height: Tensor, drawn: Tensor, sharp: float) -> Tensor:
        """The lid's skin over the eye, with its lashes; height and drawn (n, 1, h, w), sharp: pixels in a half width"""
        over = (0.5 + height * sharp).clamp(0, 1) * (drawn * sharp).clamp(0, 1)
        line = torch.exp(-((height / LASHES) ** 2)) * (drawn / 0.2).clamp(0, 1)
        lid = torch.lerp(skin * (1 - 0.10 * line), self.lashes[None, :, None, None].expand_as(skin), 0.75 * line)
        return torch.lerp(torch.lerp(eye, lid, over), lid, over * line)


def _over(places: np.ndarray, line: np.ndarray) -> np.ndarray:
    """A lid's line, a little longer than the mesh's, and at the corners' height beyond."""
    bell = np.hanning(7)
    heights = np.interp(places / (1 + BESIDE), line[:, 0], line[:, 1], left=0.0, right=0.0)
    return np.convolve(np.pad(heights, 3, "edge"), bell / bell.sum(), "valid").astype(np.float64)


def _darkest(picture: Tensor, eye: Eye) -> Tensor:
    """(3): the colour of the lashes, from the upper lid's line"""
    found = eye.frame.colours(
        picture, np.concatenate([eye.upper + np.array([0, by]) for by in (-0.12, -0.06, 0, 0.06)])
    )
    order = found.mean(0).argsort()
    return found[:, order[: max(1, len(order) // 4)]].mean(1)
