"""One reading of a film for all that look at it: `watch` hands its frames round in pieces."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from ..faces.boxes import Picture
from ..film.write import VideoError

AT_ONCE = 16  # frames
PIXELS = 16 << 20  # of all frames of a piece: large frames come fewer at a time


class Watcher(Protocol):
    def see(self, frames: Tensor) -> None:
        """frames (n, height, width, 3) in bytes, in the order of the film; a ValueError of what cannot be measured"""
        ...


def pieces(pictures: Iterable[Picture]) -> Iterator[Tensor]:
    coming = iter(pictures)
    size: tuple[int, ...] | None = None
    while (first := next(coming, None)) is not None:
        few = max(1, min(AT_ONCE, PIXELS // (first.shape[0] * first.shape[1])))
        some = [first, *islice(coming, few - 1)]
        size = size or first.shape
        if any(picture.shape != size for picture in some):
            raise VideoError("the frames change their size within the film; encode it again at one size")
        yield torch.from_numpy(np.stack(some))


def watch(pictures: Iterable[Picture], watchers: dict[str, Watcher]) -> dict[str, str]:
    """Why those who gave up did so, by name; the others have seen all."""
    gone = dict[str, str]()
    for frames in pieces(pictures):
        for name, watcher in watchers.items():
            if name not in gone:
                try:
                    watcher.see(frames)
                except ValueError as error:
                    gone[name] = str(error)
    return gone
