"""Faces that were cut out of a film, and that something else has changed: the way back into it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import torch
from torch import Tensor

from ..faces.cutouts import Cutouts
from ..film.batches import batches
from ..film.write import as_floats, pieces
from .redub import Redubbed


def cut_out(pictures: Iterable[Tensor], cutouts: Cutouts, device: torch.device | str) -> Iterator[Tensor]:
    """The faces one by one, (3, side, side) in 0..1. pictures: (height, width, 3) of bytes, those with a face."""
    for picture, frame in zip(pictures, cutouts.frames.tolist(), strict=True):
        yield cutouts.cut(picture[None].to(device), [frame])[0]


def handed_back(
    pictures: Iterable[Tensor], cutouts: Cutouts, faces: Tensor, count: int, at_once: int, device: torch.device | str
) -> Iterator[Redubbed]:
    """A film of so many pictures in chunks. faces: (n, height, width, 3) in 0..1, in the order of their frames."""
    starts = range(0, count, at_once)
    lengths = (min(at_once, count - start) for start in starts)
    for index, (start, read) in enumerate(zip(starts, batches(pictures, lengths), strict=True)):
        batch, stop = read.to(device), start + len(read)
        first, last = np.searchsorted(cutouts.frames, [start, stop])
        at = tuple((cutouts.frames[first:last] - start).tolist())
        frames = [as_floats(piece).to(device) for piece in pieces(faces[first:last], int(first))]
        yield Redubbed(index, start, batch, torch.cat(frames) if frames else batch.new_zeros(0, 3, 1, 1), at)
