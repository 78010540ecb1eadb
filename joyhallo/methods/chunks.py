"""What every method yields and takes: finished chunks of frames, how far the work is, and where chunks are kept."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from torch import Tensor


class Chunk(Protocol):
    """Frames that are finished."""

    @property
    def index(self) -> int: ...

    @property
    def start(self) -> int:
        """The film's number of the first frame."""
        ...

    @property
    def frames(self) -> Tensor:
        """(n, 3, height, width) in 0..1: of the crop that the method works on, not of the whole picture."""
        ...


@dataclass(frozen=True)
class Progress:
    """How far the work is, after a step."""

    done: int
    total: int
    estimate: Tensor | None = None  # (frames, channels, height, width): the latents that this step points at, if any


class Kept(Protocol):
    """Where the results of finished chunks are kept, those of an earlier run first."""

    def read(self, index: int) -> Tensor | None:
        """None where there is none yet."""
        ...

    def write(self, index: int, result: Tensor, /) -> None: ...
