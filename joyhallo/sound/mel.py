"""Mel spectra as Wav2Lip hears them, and the 200 ms of them that each video frame gets.

`listen(samples, rate)` gives windows whose spectra are made when they are asked for: an hour of speech takes no more
memory than a minute, beside the samples themselves.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from functools import lru_cache
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from ..config import SAMPLE_RATE
from ..recent import Recent
from .audio import check_numbers

BANDS = 80
HOP, WINDOW = 200, 800  # samples
COLUMNS_PER_SECOND = 80.0
COLUMNS = 16  # of a window
SILENT = -4.0  # what digital silence is in every band; 4 is the loudest
PRE_EMPHASIS = 0.97
LOWEST, HIGHEST = 55.0, 7600.0  # Hz
LEAST = WINDOW // 2 + 1  # samples, which mirroring needs
AT_ONCE = 1 << 9  # columns of a block, which are made together
HELD = 4 * AT_ONCE * BANDS * 4  # bytes of blocks that are kept, as the next window may begin in the same one

Rate = Fraction | float
Block = Callable[[int], Tensor]  # its number -> (80, up to AT_ONCE columns)
Ends = Literal["mirrored", "silent"]  # as in Wav2Lip's day, and as has become the custom
BEYOND: dict[Ends, str] = {"mirrored": "reflect", "silent": "constant"}


def mel(samples: Tensor, ends: Ends = "mirrored") -> Tensor:
    """samples (n) at 16 kHz in -1..1 -> (80, 1 + n // 200); column k is centred on sample 200 k.

    ends: what is heard beyond them. It changes the first and the last two columns.
    """
    check_numbers(samples)
    block, columns = _blocks(samples, ends)
    return torch.cat([block(number) for number in range(-(-columns // AT_ONCE))], dim=1)


def _blocks(samples: Tensor, ends: Ends) -> tuple[Block, int]:
    """What makes each block, and how many columns there are in all."""
    sound = F.pad(samples, (0, LEAST - len(samples))) if len(samples) < LEAST else samples
    columns = 1 + len(sound) // HOP

    def block(number: int) -> Tensor:
        start = number * AT_ONCE
        return _columns(_heard(sound, range(start, min(start + AT_ONCE, columns)), ends))

    return block, columns


def _heard(sound: Tensor, columns: range, ends: Ends) -> Tensor:
    """All samples in the windows of these columns, high tones emphasised."""
    low, high = HOP * columns.start - WINDOW // 2, HOP * (columns.stop - 1) + WINDOW // 2
    first, last = max(0, low - LEAST), min(len(sound), high)
    before = sound[max(0, first - 1) : last].float()
    there = before[1:] - PRE_EMPHASIS * before[:-1]
    if not first:
        there = torch.cat([before[:1], there])
    lead, rest = max(0, first - low), max(0, high - last)
    return F.pad(there[None], (lead, rest), mode=BEYOND[ends])[0, low - first + lead :]


def _columns(block: Tensor) -> Tensor:
    window = torch.hann_window(WINDOW, device=block.device)
    spectrum = torch.stft(block, WINDOW, HOP, window=window, center=False, return_complex=True).abs()
    decibels = 20 * (basis().to(block.device) @ spectrum).clamp(min=1e-5).log10() - 20
    return (8 * (decibels + 100) / 100 - 4).clamp(-4, 4)


@lru_cache(maxsize=4)
def basis(window: int = WINDOW, lowest: float = LOWEST, highest: float = HIGHEST) -> Tensor:
    """(80, 1 + window / 2): triangles on Slaney's scale, each of the same area."""
    first, last = _mels(torch.tensor([lowest, highest], dtype=torch.float64)).tolist()
    places = _hertz(torch.linspace(first, last, BANDS + 2, dtype=torch.float64))
    low, middle, high = places[:-2, None], places[1:-1, None], places[2:, None]
    bins = torch.linspace(0, SAMPLE_RATE / 2, window // 2 + 1, dtype=torch.float64)
    triangles = torch.minimum((bins - low) / (middle - low), (high - bins) / (high - middle)).clamp(min=0)
    return (triangles * 2 / (high - low)).float()


# Slaney's scale: linear up to 1000 Hz, logarithmic beyond.
BEND, PER_MEL, GROWTH = 1000.0, 200 / 3, math.log(6.4) / 27


def _mels(hertz: Tensor) -> Tensor:
    return torch.where(hertz < BEND, hertz / PER_MEL, BEND / PER_MEL + (hertz / BEND).log() / GROWTH)


def _hertz(mels: Tensor) -> Tensor:
    return torch.where(mels * PER_MEL < BEND, mels * PER_MEL, BEND * ((mels - BEND / PER_MEL) * GROWTH).exp())


# ---- the window of each frame


@dataclass(frozen=True)
class MelWindows:
    """Columns of one spectrum for each frame of a film: `windows[a:b]` is (b - a, 80, 16)."""

    block: Block
    columns: int  # of the spectrum; before and after it there is silence
    starts: Tensor  # (frames): the first column of each window
    _recent: Recent = field(default_factory=lambda: Recent(HELD), repr=False, compare=False)

    def __len__(self) -> int:
        return len(self.starts)

    def __getitem__(self, frames: slice | Sequence[int]) -> Tensor:
        wanted = self.starts[frames][:, None] + torch.arange(COLUMNS)
        found = torch.full((*wanted.shape, BANDS), SILENT)
        inside = (wanted >= 0) & (wanted < self.columns)
        numbers = torch.where(inside, wanted // AT_ONCE, -1)
        for number in numbers[inside].unique().tolist():
            there = numbers == number
            found[there] = self._held(number)[:, wanted[there] - number * AT_ONCE].T
        return found.transpose(1, 2)

    def _held(self, number: int) -> Tensor:
        block = self._recent.get(number)
        if block is None:
            block = self.block(number)
            self._recent.keep(number, block)
        return block


def listen(samples: Tensor, rate: Rate, *, cover_tail: bool = False, offset: float = 0.0) -> MelWindows:
    """What a film at this frame rate hears of samples (n) at 16 kHz; see `windows`.

    The original's film ends up to 0.14 s before its sound; with `cover_tail` it has as many frames as the sound lasts.
    """
    check_numbers(samples)
    frames = math.ceil(len(samples) * Fraction(rate) / SAMPLE_RATE) if cover_tail else None
    block, columns = _blocks(samples, "mirrored")
    return MelWindows(block, columns, _starts(columns, rate, frames, offset))


def windows(mel: Tensor, rate: Rate, *, frames: int | None = None, offset: float = 0.0) -> MelWindows:
    """The windows of a spectrum (80, columns): frame i hears the 200 ms that begin at i / rate seconds.

    frames: how many; by default as many as the original makes, of which the last hears the last 200 ms.
    offset: milliseconds by which each window begins earlier. 40 restores the alignment that Wav2Lip was trained with at
    25 frames a second. Before and after the spectrum there is silence.
    """
    blocks, columns = mel.split(AT_ONCE, dim=1), mel.shape[1]
    return MelWindows(blocks.__getitem__, columns, _starts(columns, rate, frames, offset))


def _starts(columns: int, rate: Rate, frames: int | None, offset: float) -> Tensor:
    if not rate > 0:
        raise ValueError(f"The frame rate is {rate}; it must be above 0.")
    columns = max(columns, COLUMNS)
    frames_made = frames_of(columns, rate) if frames is None else frames
    # In this order and precision: exact fractions would differ by a column at some frames of 24000/1001.
    places = torch.arange(frames_made, dtype=torch.float64) - offset / 1000 * float(rate)
    starts = (places * (COLUMNS_PER_SECOND / float(rate))).floor().long()
    return starts.clamp(max=columns - COLUMNS) if frames is None and offset >= 0 else starts


def frames_of(columns: int, rate: Rate) -> int:
    """How many frames the original makes of so many columns: all whose windows fit, and one more for the end."""
    step = COLUMNS_PER_SECOND / float(rate)
    fits = max(0, int((columns - COLUMNS) / step) - 1)
    while int(fits * step) + COLUMNS <= columns:
        fits += 1
    return fits + 1
