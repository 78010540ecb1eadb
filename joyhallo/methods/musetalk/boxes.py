"""Boxes of the face (left, top, right, bottom) in whole pixels: the bridge of the nose halves them, the chin ends them.

What lies below the bridge is painted anew.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from ...faces.boxes import Size
from ...faces.bridge import landmarks
from ...faces.steady import centred, stretches
from ...faces.track import Track


class Pads(NamedTuple):
    """Pixels of the picture added to each side."""

    top: int = 0
    bottom: int = 0
    left: int = 0
    right: int = 0


NONE = Pads()


def boxes_of(track: Track, smoothing: str, shift: int = 0, pads: Pads = NONE) -> Tensor:
    """(frames, 4), within the picture; all 0 where there is no face, so that no frame is lost.

    smoothing: centred, or anything else for none, as in the original.
    """
    places = np.where(track.found[:, None, None], landmarks(track), 0).clip(0, track.size)
    otherwise = np.where(np.isfinite(track.boxes), track.boxes, 0).clip(0, np.tile(track.size, 2))
    boxes = halved(torch.from_numpy(places), torch.from_numpy(otherwise), shift)
    if smoothing == "centred":
        for stretch in stretches(track):
            boxes[stretch] = centred(boxes[stretch])
    boxes = padded(boxes, pads, track.size)
    boxes[torch.from_numpy(~track.found)] = 0
    return boxes


def halved(points: Tensor, otherwise: Tensor, shift: int = 0) -> Tensor:
    """points (n, points, 2), that on the bridge first -> boxes (n, 4) whose middle it is, moved down by `shift`.

    otherwise (n, 4): what is taken where these are none, or reach beyond the picture's left.
    """
    points = points.trunc().long()
    points[:, 0, 1] += shift
    middle = points[:, 0, 1]
    (left, _), (right, bottom) = points.amin(1).T, points.amax(1).T
    boxes = torch.stack([left, (2 * middle - bottom).clamp(min=0), right, bottom], dim=1)
    none = (boxes[:, 3] <= boxes[:, 1]) | (right <= left) | (left < 0)
    return torch.where(none[:, None], otherwise.long(), boxes)


def padded(boxes: Tensor, pads: Pads, picture: Size) -> Tensor:
    """Cut at the borders of the picture."""
    left, top, right, bottom = boxes.unbind(1)
    sides = [left - pads.left, top - pads.top, right + pads.right, bottom + pads.bottom]
    most = (picture[0], picture[1], picture[0], picture[1])
    return torch.stack([side.clamp(0, limit) for side, limit in zip(sides, most, strict=True)], dim=1)
