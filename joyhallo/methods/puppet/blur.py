"""How soft a picture's own edges are, so that what is drawn into it looks no sharper: `blur`."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from ...faces.boxes import around, whole
from .face import Features

SHARPEST, SOFTEST = 0.32, 0.04  # of an edge: pixels that it has at the least, half widths that it has at the most
PLACE = np.array([[u, v] for u in (-1.2, 1.2) for v in (-0.6, 0.8)])  # around the mouth, in half widths
BINOMIAL = (1, 4, 6, 4, 1)  # of 16: a blur of one pixel
MARGIN = len(BINOMIAL) // 2


def blur(picture: Tensor, face: Features) -> float:
    """Deviation of the edges around the mouth, in half widths; picture (3, height, width).

    It is told by how much softer another pixel of blur makes them: the gradient energy of a step falls as its width
    grows.
    """
    least = SHARPEST / face.mouth.unit
    size = picture.shape[2], picture.shape[1]
    place = around(face.mouth.in_pixels(PLACE)).scaled(1).within(whole(size))
    if min(place.shape) <= 2 * MARGIN + 1:
        return least
    grey = picture[(slice(None), *place.slices)].mean(0)
    weights = torch.tensor(BINOMIAL).to(grey) / 16
    blurred = F.conv2d(grey[None, None], torch.outer(weights, weights)[None, None])[0, 0]
    before, after = _energy(grey[MARGIN:-MARGIN, MARGIN:-MARGIN]), _energy(blurred)
    if not before > after > 0:
        return least
    pixels = ((before / after) ** 2 - 1) ** -0.5
    return max(least, min(SOFTEST, pixels / face.mouth.unit))


def _energy(grey: Tensor) -> float:
    return float(grey.diff(dim=0).square().mean() + grey.diff(dim=1).square().mean())
