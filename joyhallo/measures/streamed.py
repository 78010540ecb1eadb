"""Films that come in pieces of any length, measured in parts of a fixed one: `Streamed`.

A network's last digits depend on how many pictures it is given at once, so parts make a film's figures the same
however it was cut into pieces.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Any

import torch
from torch import Tensor, nn

Ready = Callable[[Any], Any]  # called with the network before each use, to load it where it computes


def as_it_is(network: Any) -> Any:
    return network


AT_ONCE = 16  # frames of a piece
PIXELS = 16 << 20  # of all of them: large frames come fewer at a time


def pieces(pictures: Iterable[Tensor]) -> Iterator[Tensor]:
    """Pictures (height, width, 3) some at a time: (n, height, width, 3)"""
    coming, size = iter(pictures), None
    while (first := next(coming, None)) is not None:
        few = max(1, min(AT_ONCE, PIXELS // (first.shape[0] * first.shape[1])))
        some = [first, *islice(coming, few - 1)]
        size = first.shape if size is None else size
        if any(picture.shape != size for picture in some):
            raise MeasureError("The frames change their size within the video; make it again at one size.")
        yield torch.stack(some)


class MeasureError(ValueError):
    """A film that cannot be measured, in words for whoever chose it."""


class Streamed(ABC):
    name: str  # completes "has no ..."
    least: int  # frames

    def __init__(self, part: int, shared: int = 0):
        """part: frames that are measured together; shared: the last ones of a part, which the next begins with."""
        self._part, self._step = part, part - shared
        self._rest: Tensor | None = None
        self._done = list[Tensor]()
        self._last: Tensor | None = None  # of the rest, once asked for
        self.seen = 0  # frames

    @torch.no_grad()
    def see(self, frames: Tensor) -> None:
        """frames uint8 (n, height, width, 3), R, G, B: the next ones of the film, as many as there are."""
        self._check(frames)
        self.seen += len(frames)
        waiting = frames if self._rest is None else torch.cat([self._rest.to(frames.device), frames])
        while len(waiting) >= self._part:
            self._done.append(self._of(waiting[: self._part]))
            waiting = waiting[self._step :]
        self._rest, self._last = waiting.clone(), None

    @property
    @torch.no_grad()
    def found(self) -> Tensor:
        """Of all frames so far, what `_of` finds in each part of them."""
        if self._rest is None or self.seen < self.least:
            raise MeasureError(
                f"A film of {self.seen} {'frame' if self.seen == 1 else 'frames'} has no {self.name}. Choose one of "
                f"at least {self.least}."
            )
        if self._last is None:
            self._last = self._of(self._rest)
        return torch.cat([*self._done, self._last])

    @abstractmethod
    def _of(self, frames: Tensor) -> Tensor:
        """frames: of one part, or fewer at the film's end, perhaps none that the part before did not have."""

    def _check(self, frames: Tensor) -> None:
        if frames.dtype != torch.uint8 or frames.ndim != 4 or frames.shape[3] != 3 or 0 in frames.shape[1:3]:
            raise ValueError(
                f"Expected frames as bytes (n, height, width, 3), R, G, B; these are {tuple(frames.shape)} numbers of "
                f"the type {str(frames.dtype).removeprefix('torch.')}."
            )
        if self._rest is not None and frames.shape[1:] != self._rest.shape[1:]:
            now, before = (f"{size[2]}x{size[1]}" for size in (frames.shape, self._rest.shape))
            raise MeasureError(f"Frames of {now} pixels follow frames of {before}. Measure each size as its own film.")


def dtype_of(network: nn.Module) -> torch.dtype:
    return next(network.parameters()).dtype
