"""Cepstra of sound (MFCC) as python_speech_features makes them, with which SyncNet hears.

They are made of 16-bit numbers as they are: of samples in -1..1 the first of each column would be 20.8 less.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import lru_cache

import torch
from torch import Tensor
from torch.nn import functional as F

from ..config import SAMPLE_RATE
from .audio import check_numbers

HOP, WINDOW = 160, 400  # samples
COLUMNS_PER_SECOND = SAMPLE_RATE // HOP
POINTS = 512  # of the transform, to which a window is filled with zeros
BANDS, KEPT = 26, 13  # triangles, and coefficients of theirs
LIFTER = 22
PRE_EMPHASIS = 0.97
NOTHING = torch.finfo(torch.float64).eps  # which takes the place of no energy at all
AT_ONCE = 1 << 13  # columns, so that the spectrum of an hour is never held whole
FULL = 1 << 15  # of 16 bits


def in_16_bits(samples: Tensor) -> Tensor:
    """samples (n) in -1..1 -> int16"""
    check_numbers(samples)
    return (samples.double() * FULL).round().clamp(-FULL, FULL - 1).to(torch.int16)


def mfcc(samples: Tensor) -> Tensor:
    """samples int16 (n) at 16 kHz -> (columns, 13) in double precision; column k begins at sample 160 k."""
    return torch.cat([_cepstra(*block) for block in energies(samples)])


def energies(samples: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Blocks of columns: the energy in each band (columns, 26), and all of it (columns)."""
    if samples.dtype != torch.int16 or samples.ndim != 1:
        raise ValueError(
            f"The sound is {tuple(samples.shape)} numbers of the type {str(samples.dtype).removeprefix('torch.')}; "
            "expected samples (n) of 16 bits (torch.int16), see in_16_bits."
        )
    sound = samples.double()
    sound = torch.cat([sound[:1], sound[1:] - PRE_EMPHASIS * sound[:-1]])
    columns = columns_of(len(sound))
    sound = F.pad(sound, (0, HOP * (columns - 1) + WINDOW - len(sound)))
    return map(_energies, sound.unfold(0, WINDOW, HOP).split(AT_ONCE))


def columns_of(samples: int) -> int:
    """One at least; the last one is filled with silence."""
    return 1 + max(0, math.ceil((samples - WINDOW) / HOP))


def _energies(windows: Tensor) -> tuple[Tensor, Tensor]:
    power = torch.fft.rfft(windows, POINTS).abs().square() / POINTS
    bands = power @ triangles().to(power.device).T
    whole = power.sum(1)
    return bands.where(bands != 0, NOTHING), whole.where(whole != 0, NOTHING)


def _cepstra(bands: Tensor, whole: Tensor) -> Tensor:
    found = bands.log() @ _cosines().to(bands.device).T
    found[:, 0] = whole.log()
    return found


@lru_cache(maxsize=1)
def triangles() -> Tensor:
    """(26, 257): evenly spaced on the mel scale, with corners at whole points of the transform."""
    highest = 2595 * math.log10(1 + SAMPLE_RATE / 2 / 700)
    hertz = 700 * (10 ** (torch.linspace(0, highest, BANDS + 2, dtype=torch.float64) / 2595) - 1)
    corners = ((POINTS + 1) * hertz / SAMPLE_RATE).floor()
    low, middle, high = corners[:-2, None], corners[1:-1, None], corners[2:, None]
    points = torch.arange(POINTS // 2 + 1, dtype=torch.float64)
    rising, falling = (points - low) / (middle - low), (high - points) / (high - middle)
    return torch.where(points < middle, rising, falling).clamp(min=0)


@lru_cache(maxsize=1)
def _cosines() -> Tensor:
    """(13, 26): the first rows of the orthonormal cosine transform, the higher ones raised."""
    rows, bands = torch.arange(KEPT, dtype=torch.float64)[:, None], torch.arange(BANDS, dtype=torch.float64)
    cosines = (math.pi * rows * (2 * bands + 1) / (2 * BANDS)).cos() * math.sqrt(2 / BANDS)
    cosines[0] /= math.sqrt(2)
    return cosines * (1 + LIFTER / 2 * (math.pi * rows / LIFTER).sin())
