"""What a speech encoder hears of a recording, 50 rows a second, and the rows that each frame of a film gets.

A recording is encoded in blocks, as frames ask for them; `windows` picks the rows by time, at any frame rate.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

import torch
from torch import Tensor

from ..recent import Recent

ROWS_PER_SECOND = 50  # of Whisper, and of all that is built like wav2vec2

Joints = Literal["blocks", "overlapped"]  # of blocks: they know nothing of each other, or share some rows
Beyond = Literal["repeated", "zero"]  # what is heard before the first row and after the last


@dataclass(frozen=True)
class Heard:
    """The states of a recording: `heard[rows]` is (n, states, width), for any rows in any order."""

    rows: int
    whole: int  # rows of a block that is full
    step: int  # rows from the beginning of one block to that of the next
    margin: int  # rows at the ends of blocks that are not used
    block: Callable[[int], Tensor]  # its number -> (rows, states, width)

    def __len__(self) -> int:
        return self.rows

    def __getitem__(self, rows: Tensor) -> Tensor:
        last = max(0, -(-(self.rows - self.whole) // self.step))
        blocks = ((rows - self.margin) // self.step).clamp(0, last)
        parts = [(blocks == number).nonzero()[:, 0] for number in blocks.unique().tolist()]
        found = [self.block(int(blocks[part[0]]))[rows[part] - blocks[part] * self.step] for part in parts]
        order = torch.cat(parts).argsort()
        return torch.cat(found)[order]


def remembered(kept: Recent, named: str, given: Tensor, encode: Callable[[], Tensor]) -> Tensor:
    """States, encoded only if they are not known. named, given: all that they depend on."""
    key = hashlib.sha256(named.encode() + given.cpu().numpy().tobytes()).hexdigest()
    states = kept.get(key)
    if states is None:
        states = encode().float().cpu()
        kept.keep(key, states)
    return states


# ---- the window of each frame


@dataclass(frozen=True)
class HeardWindows:
    """`windows[[3, 4]]` is (2, tokens, width): rows of states one after the other, the states of each row in order."""

    heard: Heard
    starts: Tensor  # (frames): the first row of each
    count: int  # rows of each
    beyond: Beyond

    def __len__(self) -> int:
        return len(self.starts)

    def rows(self, frames: Sequence[int] | slice) -> Tensor:
        """(n, count), of which some may lie beyond the recording."""
        return self.starts[frames][:, None] + torch.arange(self.count)

    def __getitem__(self, frames: Sequence[int] | slice) -> Tensor:
        rows = self.rows(frames)
        inside = rows.clamp(0, max(0, len(self.heard) - 1))
        found = self.heard[inside.flatten()].unflatten(0, rows.shape)
        if self.beyond == "zero":
            found = found * ((rows >= 0) & (rows < len(self.heard)))[..., None, None]
        return found.flatten(1, 2)


def windows(
    heard: Heard,
    beyond: Beyond,
    rate: Fraction | float,
    frames: int,
    *,
    offset: float = 0.0,
    before: int = 2,
    after: int = 2,
) -> HeardWindows:
    """For each of so many frames at a rate: `before` 25ths of a second before it, its own and `after` after it.

    Frame i begins at row floor(i * 50 / rate), exactly, so that nothing drifts at any rate. offset: milliseconds by
    which lips come later.
    """
    if not rate > 0:
        raise ValueError(f"The frame rate is {rate}; it must be above 0.")
    step = rows_per_frame(rate)
    late = Fraction(offset).limit_denominator(1000) * ROWS_PER_SECOND / 1000
    first = torch.tensor([math.floor(number * step - late) for number in range(frames)], dtype=torch.long)
    return HeardWindows(heard, first - 2 * before, 2 * (before + after + 1), beyond)


def rows_per_frame(rate: Fraction | float) -> Fraction:
    return ROWS_PER_SECOND / Fraction(rate).limit_denominator(1 << 20)
