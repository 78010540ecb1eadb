"""What is heard at each frame: ten rows of whisper's states, which are 200 ms, at any frame rate."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction

import torch
from torch import Tensor
from torch.nn import functional as F

from ...config import SAMPLE_RATE

ROWS_PER_SECOND = 50
BEFORE, ROWS = 4, 10  # of a window: those before its frame begins, and all


@dataclass(frozen=True)
class StateWindows:
    states: Tensor  # (rows + 1, states, width): of the whole recording, and a row of zeros for all that lies outside
    starts: Tensor  # (frames): the first row of each window

    def __len__(self) -> int:
        return len(self.starts)

    def __getitem__(self, frames: list[int]) -> Tensor:
        """(n, 50, width): row by row, of each all states"""
        rows, silence = self.starts[frames][:, None] + torch.arange(ROWS), len(self.states) - 1
        rows = torch.where((rows >= 0) & (rows < silence), rows, silence)
        return self.states[rows.to(self.states.device)].flatten(1, 2)


def windows(states: Tensor, samples: int, rate: Fraction, cover_tail: bool, offset: float) -> StateWindows:
    """Frame i hears from 80 ms before its beginning on. The original does so only at whole rates from 25 to 49.

    samples: of the recording, at 16 kHz; offset: milliseconds by which each window begins earlier.
    """
    length = samples * rate / SAMPLE_RATE
    count = math.ceil(length) if cover_tail else math.floor(length)
    moved = Fraction(offset) / 1000 * rate
    starts = [math.floor((frame - moved) * ROWS_PER_SECOND / rate) - BEFORE for frame in range(count)]
    known = states[: samples * ROWS_PER_SECOND // SAMPLE_RATE]
    return StateWindows(F.pad(known, (0, 0, 0, 0, 0, 1)), torch.tensor(starts, dtype=torch.long))
