"""One reading of a film for all that look at it: `watch` hands its frames round in pieces."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Protocol

import torch
from torch import Tensor

from ..faces.boxes import Picture
from ..measures import streamed


class Watcher(Protocol):
    def see(self, frames: Tensor) -> None:
        """frames (n, height, width, 3) in bytes, in the order of the film; a ValueError of what cannot be measured"""
        ...


def pieces(pictures: Iterable[Picture]) -> Iterator[Tensor]:
    return streamed.pieces(map(torch.from_numpy, pictures))


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
