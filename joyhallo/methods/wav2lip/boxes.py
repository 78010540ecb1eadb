"""Boxes of the face (left, top, right, bottom) in whole pixels, as Wav2Lip cuts them: padded, clipped, smoothed."""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
from torch import Tensor

from ...faces.boxes import Size
from ...faces.steady import SPAN, centred

Smoothing = Literal["original", "centred", "none"]


class Pads(NamedTuple):
    """Pixels added to each side of a detector's box; the chin needs some."""

    top: int = 0
    bottom: int = 10
    left: int = 0
    right: int = 0


def padded(boxes: Tensor, pads: Pads, picture: Size) -> Tensor:
    """boxes (n, 4), whole numbers -> the same with pads, cut at the borders of the picture (width, height)."""
    left, top, right, bottom = boxes.long().unbind(1)
    return torch.stack(
        [
            (left - pads.left).clamp(min=0),
            (top - pads.top).clamp(min=0),
            (right + pads.right).clamp(max=picture[0]),
            (bottom + pads.bottom).clamp(max=picture[1]),
        ],
        dim=1,
    )


def smoothed(boxes: Tensor, how: Smoothing = "original") -> Tensor:
    """boxes (n, 4) of one shot, each averaged with others.

    original: as the published results were made, with the next four frames. centred: with two before and two after,
    which neither runs ahead of the face nor treats the end of the clip in another way.
    """
    if how == "none" or not len(boxes):
        return boxes.long()
    return _originals(boxes) if how == "original" else centred(boxes)


def _originals(boxes: Tensor) -> Tensor:
    """In place and on whole numbers: at the end, where no four frames follow, averages are averaged again."""
    rows = boxes.tolist()
    for i in range(len(rows)):
        window = rows[i : i + SPAN] if i + SPAN <= len(rows) else rows[len(rows) - SPAN :]
        rows[i] = [int(sum(side) / len(window)) for side in zip(*window, strict=True)]
    return torch.tensor(rows, device=boxes.device)
