"""Mel spectra as Wav2Lip hears them, and the 200 ms of them that each video frame gets.

`listen(samples, rate)` gives windows that are cut only when they are asked for, so an hour of speech takes 90 MB.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from ..config import SAMPLE_RATE
from .audio import check_numbers

BANDS = 80
HOP, WINDOW = 200, 800  # samples
COLUMNS_PER_SECOND = 80.0
COLUMNS = 16  # of a window
SILENT = -4.0  # what digital silence is in every band; 4 is the loudest
PRE_EMPHASIS = 0.97
LOWEST, HIGHEST = 55.0, 7600.0  # Hz
LEAST = WINDOW // 2 + 1  # samples, which mirroring needs
AT_ONCE = 1 << 13  # columns, so that the spectrum of an hour is never held whole

Rate = Fraction | float
Ends = Literal["mirrored", "silent"]  # as in Wav2Lip's day, and as has become the custom
BEYOND: dict[Ends, str] = {"mirrored": "reflect", "silent": "constant"}


def mel(samples: Tensor, ends: Ends = "mirrored") -> Tensor:
    """samples (n) at 16 kHz in -1..1 -> (80, 1 + n // 200); column k is centred on sample 200 k.

    ends: what is heard beyond them. It changes the first and the last two columns.
    """
    check_numbers(samples)
    sound = F.pad(samples, (0, LEAST - len(samples))) if len(samples) < LEAST else samples
    count = 1 + len(sound) // HOP
    blocks = (range(start, min(start + AT_ONCE, count)) for start in range(0, count, AT_ONCE))
    return torch.cat([_columns(_heard(sound, block, ends)) for block in blocks], dim=1)


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

    mel: Tensor  # (80, columns)
    starts: Tensor  # (frames): the first column of each window

    def __len__(self) -> int:
        return len(self.starts)

    def __getitem__(self, frames: slice | Sequence[int]) -> Tensor:
        columns = self.starts[frames][:, None] + torch.arange(COLUMNS, device=self.starts.device)
        return self.mel[:, columns].transpose(0, 1)


def listen(samples: Tensor, rate: Rate, *, cover_tail: bool = False, offset: float = 0.0) -> MelWindows:
    """What a film at this frame rate hears of samples (n) at 16 kHz; see `windows`.

    The original's film ends up to 0.14 s before its sound; with `cover_tail` it has as many frames as the sound lasts.
    """
    frames = math.ceil(len(samples) * Fraction(rate) / SAMPLE_RATE) if cover_tail else None
    return windows(mel(samples), rate, frames=frames, offset=offset)


def windows(mel: Tensor, rate: Rate, *, frames: int | None = None, offset: float = 0.0) -> MelWindows:
    """The windows of a spectrum (80, columns): frame i hears the 200 ms that begin at i / rate seconds.

    frames: how many; by default as many as the original makes, of which the last hears the last 200 ms.
    offset: milliseconds by which each window begins earlier. 40 restores the alignment that Wav2Lip was trained with at
    25 frames a second. Before and after the spectrum there is silence.
    """
    if not rate > 0:
        raise ValueError(f"The frame rate is {rate}; it must be above 0.")
    columns = max(mel.shape[1], COLUMNS)
    frames_made = frames_of(columns, rate) if frames is None else frames
    # In this order and precision: exact fractions would differ by a column at some frames of 24000/1001.
    places = torch.arange(frames_made, dtype=torch.float64) - offset / 1000 * float(rate)
    starts = (places * (COLUMNS_PER_SECOND / float(rate))).floor().long()
    lead = max(0, -int(starts.min())) if frames_made else 0
    if frames is None and offset >= 0:
        starts = starts.clamp(max=columns - COLUMNS)
    needed = int(starts.max()) + COLUMNS if frames_made else COLUMNS
    padded = F.pad(mel, (lead, max(0, needed - mel.shape[1])), value=SILENT)
    return MelWindows(padded, (starts + lead).to(mel.device))


def frames_of(columns: int, rate: Rate) -> int:
    """How many frames the original makes of so many columns: all whose windows fit, and one more for the end."""
    step = COLUMNS_PER_SECOND / float(rate)
    fits = max(0, int((columns - COLUMNS) / step) - 1)
    while int(fits * step) + COLUMNS <= columns:
        fits += 1
    return fits + 1
