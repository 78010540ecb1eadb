"""Power in bands of the mel scale, for networks that hear how somebody speaks: `spectra`, however loud it was recorded.

Four spectra lie evenly around the middle of each video frame, and no end is padded but by `excerpt`, with silence.
"""

from __future__ import annotations

import math
from functools import lru_cache

import torch
from torch import Tensor
from torch.nn import functional as F

from ..config import FPS, SAMPLE_RATE
from .audio import video_frames

HOP, WINDOW, BINS = 160, 400, 512  # samples: 10 ms, 25 ms, and the length of the transform
ROWS = SAMPLE_RATE // FPS // HOP  # spectra for each video frame, evenly around its middle
BEFORE = (BINS - HOP) // 2  # samples that the first spectrum of a frame begins earlier than the frame
BANDS = 48
LOWEST_BAND, HIGHEST_BAND = 80.0, 7600.0  # Hz
FAINTEST = 1e-9  # power of a band below which nothing is heard; speech at its usual level reaches 1e-3
SPEECH = 4e-3  # power of all bands of speech at its usual level
SILENCE, BELOW_MEAN = 1e-9, 0.1  # powers that do not count when the level is measured, the second against the mean
MOST_GAIN = 1e3  # of the power; more would lift noise, not speech
PIECE = 1000  # frames at a time; the result does not depend on it


def gain_of(samples: Tensor) -> float:
    """The factor of power that brings speech to its usual level, whatever pauses there are."""
    frames = range(0, video_frames(len(samples)), PIECE)
    power = torch.cat([powers(excerpt(samples, start, start + PIECE)).sum(1).double() for start in frames])
    heard = power[power > SILENCE]
    heard = heard[heard > heard.mean() * BELOW_MEAN]
    return min(SPEECH / heard.mean().item(), MOST_GAIN) if len(heard) else MOST_GAIN


def spectra(samples: Tensor, gain: float) -> Tensor:
    """(rows, BANDS): logarithms of powers, which networks take"""
    return (powers(samples) * gain + FAINTEST).log10()


def excerpt(samples: Tensor, first: int, last: int) -> Tensor:
    """Samples of these video frames with BEFORE more on either side; frames may lie beyond the ends, in silence."""
    size = SAMPLE_RATE // FPS
    start, stop = first * size - BEFORE, last * size + BEFORE
    heard = samples[max(0, start) : max(0, stop)].float()
    return F.pad(heard, (max(0, -start), stop - max(0, start) - len(heard)))


def powers(samples: Tensor) -> Tensor:
    """(rows, BANDS): the power in each band, of samples with BEFORE more on either side"""
    window = torch.hann_window(WINDOW, device=samples.device)
    window = window / window.square().sum().mul(BINS).sqrt()
    found = torch.stft(samples, BINS, HOP, WINDOW, window, center=False, return_complex=True)
    return (found.real.square() + found.imag.square()).T @ bands().to(samples)


@lru_cache(maxsize=1)
def bands() -> Tensor:
    """(bins, BANDS): triangles, evenly spaced on the mel scale."""
    edges = frequency(torch.linspace(mel(LOWEST_BAND), mel(HIGHEST_BAND), BANDS + 2).double())
    bins = torch.arange(BINS // 2 + 1, dtype=torch.float64)[:, None] * (SAMPLE_RATE / BINS)
    rising, falling = (bins - edges[:-2]) / edges.diff()[:-1], (edges[2:] - bins) / edges.diff()[1:]
    return torch.minimum(rising, falling).clamp(min=0).float()


def mel(hertz: float) -> float:
    return 2595 * math.log10(1 + hertz / 700)


def frequency(mels: Tensor) -> Tensor:
    return 700 * (10 ** (mels / 2595) - 1)
