"""How lids close: the skin above the eye is drawn over it, and the eye stays where it is.

A mesh tells an eye's outline only roughly. So the skin is taken from well above the lashes and drawn to well below the
eye, and the line where the lids meet is drawn anew. Over the eye come lashes, make-up or a crease, which a closed lid
does not show so large: what differs from skin takes the colour of the skin around.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from .easing import smooth
from .face import Eye

Line = NDArray[np.float64]

SIDE, COLUMNS, ROWS = 1.5, 91, 97  # half widths of the eye
ABOVE, BELOW, BESIDE = 0.16, 0.10, 0.10  # half widths by which the outline may be wrong
LASHES = 0.055  # half widths: how thick the line is
CREASE, OTHER = 0.5, 0.25  # half widths over which the skin's colour begins; share of brightness by which others differ
SOON = 0.4  # half widths that a lid has come down where it has all of the skin's colour and of its lashes
USUAL = (0.45, 0.85)  # between these quantiles of brightness it is neither make-up nor gloss
BARE, BAG = (0.15, 0.75), 0.7  # of the way to the brow, and of so many half widths below the eye: where there is skin


class Lid:
    def __init__(self, eye: Eye, picture: Tensor):
        """picture (3, height, width): for the colours of skin and lashes"""
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
        self.skin = _skin(picture, eye, places, upper, lower, brow).to(self.u)

    def field(self, blink: Tensor) -> Tensor:
        """blink (n) in 0..1 -> (n, 6, rows, columns): movement down, height above the lid's edge, how far the skin is
        drawn over the eye, and its colour (3)"""
        v, upper = self.v[None, :, None], self.upper[None, None]
        drawn = (blink[:, None] * self.reach.clamp(min=0))[:, None]  # (n, 1, columns): by which the edge is lower
        edge = upper + drawn
        movement = drawn * ((v - (upper - self.fold)) / (self.fold + drawn)).clamp(0, 1)
        height = edge - v
        told = torch.stack([movement, height, drawn.expand_as(movement)], dim=1)
        return torch.cat([told, self.skin[None, :, None].expand(len(told), -1, len(self.v), -1)], dim=1)

    def covered(self, seen: Tensor, eye: Tensor, found: Tensor, sharp: float) -> Tensor:
        """The lid over the eye, with its lashes. seen: what the picture shows there; found: the field (n, 6, h, w);
        sharp: pixels in a half width"""
        height, drawn, skin = found[:, 1:2], found[:, 2:3], found[:, 3:]
        wanted = skin.mean(1, keepdim=True)
        other = smooth((wanted - seen.mean(1, keepdim=True)).abs() / (OTHER * wanted + 0.01))
        reach = smooth((drawn + CREASE - height) / CREASE) * smooth(drawn / SOON)
        skin = torch.lerp(seen, skin * _form(height, drawn), reach * (0.3 + 0.7 * other))
        over = (0.5 + height * sharp).clamp(0, 1) * (drawn * sharp).clamp(0, 1)
        wide = math.hypot(LASHES, 0.5 / sharp)  # as soft as the picture, and so much fainter
        line = torch.exp(-((height / wide) ** 2)) * smooth(drawn / SOON) * (0.4 + 0.6 * LASHES / wide)
        lid = torch.lerp(skin * (1 - 0.10 * line), self.lashes[None, :, None, None].expand_as(skin), 0.75 * line)
        return torch.lerp(torch.lerp(eye, lid, over), lid, over * line)


def _form(height: Tensor, drawn: Tensor) -> Tensor:
    """A lid is round: darker towards its lashes, and where it folds above."""
    return 1 - 0.15 * torch.exp(-((height / 0.22) ** 2)) - 0.08 * torch.exp(-(((height - drawn - ABOVE) / 0.13) ** 2))


def _over(places: np.ndarray, line: np.ndarray) -> np.ndarray:
    """A lid's line, a little longer than the mesh's, and at the corners' height beyond."""
    bell = np.hanning(7)
    heights = np.interp(places / (1 + BESIDE), line[:, 0], line[:, 1], left=0.0, right=0.0)
    return np.convolve(np.pad(heights, 3, "edge"), bell / bell.sum(), "valid").astype(np.float64)


def _skin(picture: Tensor, eye: Eye, places: NDArray[np.float64], upper: Line, lower: Line, brow: float) -> Tensor:
    """(3, places): the colour of the skin around the eye over each place, whatever is painted on some of it."""
    shares = np.linspace(*BARE, 7)[:, None]
    heights = np.concatenate([upper + shares * (brow - upper), lower + shares * BAG])
    points = np.stack([np.broadcast_to(places, heights.shape), heights], axis=-1)
    found = eye.frame.colours(picture, points.reshape(-1, 2)).unflatten(1, heights.shape)
    grey = found.mean(0)
    dark, light = (grey.quantile(share, dim=0) for share in USUAL)
    usual = ((grey >= dark) & (grey <= light)).to(found)
    bare = (found * usual).sum(1) / usual.sum(0)
    bell = torch.hann_window(2 * (COLUMNS // 5) + 1, periodic=False).to(found)
    padded = F.pad(bare[:, None], (len(bell) // 2, len(bell) // 2), "replicate")
    return F.conv1d(padded, (bell / bell.sum())[None, None])[:, 0]


def _darkest(picture: Tensor, eye: Eye) -> Tensor:
    """(3): the colour of the lashes, from the upper lid's line"""
    found = eye.frame.colours(
        picture, np.concatenate([eye.upper + np.array([0, by]) for by in (-0.12, -0.06, 0, 0.06)])
    )
    order = found.mean(0).argsort()
    return found[:, order[: max(1, len(order) // 4)]].mean(1)
