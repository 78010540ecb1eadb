"""Boxes of the face (left, top, right, bottom) in whole pixels: from ear to ear, and from the nose as far downwards.

A network was trained on one person, with boxes that the original's own landmarks gave. Ours lie where those lie in the
mean face that its finder is given, and `shift` moves them for whom that does not fit.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from ...faces.boxes import Size
from ...faces.bridge import landmarks
from ...faces.steady import averaged, stretches
from ...faces.track import Track


def boxes_of(track: Track, smoothing: str = "original", shift: int = 0) -> Tensor:
    """(frames, 4), cut at the borders of the picture; all 0 where there is no face.

    smoothing: centred, or anything else for none, as in the original.
    """
    points = np.where(track.found[:, None, None], landmarks(track), 0)
    sides = torch.from_numpy(np.stack([points[..., 0].min(1), points[:, 0, 1], points[..., 0].max(1)], 1)).double()
    if smoothing == "centred":
        for stretch in stretches(track):
            sides[stretch] = averaged(sides[stretch])
    boxes = within(squares(sides.trunc().long(), shift), track.size)
    boxes[torch.from_numpy(~track.found)] = 0
    return boxes


def squares(sides: Tensor, shift: int = 0) -> Tensor:
    """sides (n, 3), whole numbers: left, top, right -> (n, 4)"""
    left, top, right = sides.unbind(1)
    return torch.stack([left, top + shift, right, top + shift + right - left], dim=1)


def within(boxes: Tensor, picture: Size) -> Tensor:
    """What lies within the picture: there the squares are none, in the original, too."""
    most = torch.tensor([*picture, *picture])
    return torch.minimum(boxes.clamp(min=0), most)
