"""Recordings of speech, simulated on its power in bands instead of its samples: `recorded`, and `music` to go with it.

Powers of independent sounds add, filters scale bands, an echo smears power over time and a longer vocal tract moves it
down: all of it at a fraction of the cost of filtering sound, so that a network never hears the same recording twice.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from ...config import SAMPLE_RATE
from ...sound.bands import BANDS, HIGHEST_BAND, LOWEST_BAND, frequency, mel

LOUDNESS = 8.0  # dB, by which a recording may be louder or fainter than it should be
DRIFT, DRIFT_ROWS = 4.0, 80  # deviation in dB, and rows between its turns
TRACT = 1.2  # how much longer or shorter a speaker's vocal tract may be
FILTER = 5.0  # deviation in dB of a recording's frequency response, at most
QUIET = 0.15  # share of the pieces in which nobody speaks
SPEECH_POWER = 1e-3  # in a band, at the usual loudness
LONGEST_ECHO = 60  # rows


def recorded(clean: Tensor, music: Tensor, dice: np.random.Generator) -> tuple[Tensor, Tensor]:
    """clean (batch, rows, BANDS): logarithms of powers -> powers as recorded, and (batch) 0 where nobody speaks."""
    count, rows, _ = clean.shape
    generator = torch.Generator().manual_seed(int(dice.integers(1 << 62)))
    speaking = _some(dice, count, 1 - QUIET)
    heard = _voiced(clean @ _tracts(dice, count), dice, generator) * speaking[:, None, None]
    heard = _echoing(heard * _drift(dice, count, rows), dice)
    heard = heard + _noise(dice, speaking, rows, generator) + _played(music, dice, count, rows)
    return heard * _filters(dice, count) * _decibels(dice.uniform(-LOUDNESS, LOUDNESS, count))[:, None, None], speaking


def _some(dice: np.random.Generator, count: int, share: float) -> Tensor:
    return torch.from_numpy(dice.random(count) < share).float()


def _decibels(values: object) -> Tensor:
    return 10 ** (torch.as_tensor(values, dtype=torch.float32) / 10)


def _tracts(dice: np.random.Generator, count: int) -> Tensor:
    """(count, BANDS, BANDS): maps that move every band's frequency by a factor."""
    factors = torch.from_numpy(TRACT ** dice.uniform(-1, 1, count))[:, None]
    low, high = mel(LOWEST_BAND), mel(HIGHEST_BAND)
    size = (high - low) / (BANDS + 1)
    middles = low + size * torch.arange(1, BANDS + 1, dtype=torch.float64)
    sources = 2595 * (1 + frequency(middles) * factors / 700).log10()
    at = ((sources - low) / size - 1).clamp(0, BANDS - 1)
    near = 1 - (at[:, None, :] - torch.arange(BANDS)[:, None]).abs()
    return near.clamp(min=0).float()


def _voiced(clean: Tensor, dice: np.random.Generator, generator: torch.Generator) -> Tensor:
    """Powers of other voices: pitches that bands do not resolve, and breath in place of pitch."""
    count = len(clean)
    blurred = F.avg_pool1d(F.pad(clean, (1, 1), "replicate"), 3, 1)
    clean = torch.lerp(clean, blurred, torch.from_numpy(dice.uniform(0, 1, count)).float()[:, None, None])
    breath = _some(dice, count, 0.15) * torch.from_numpy(dice.uniform(0.3, 1, count)).float()
    rough = torch.rand(clean.shape, generator=generator).clamp(min=1e-3).log().neg().log10()
    return 10 ** (clean + breath[:, None, None] * rough)


def _drift(dice: np.random.Generator, count: int, rows: int) -> Tensor:
    knots = torch.from_numpy(dice.standard_normal((count, 1, rows // DRIFT_ROWS + 2))).float()
    return _decibels(DRIFT * F.interpolate(knots, rows, mode="linear", align_corners=True))[:, 0, :, None]


def _echoing(heard: Tensor, dice: np.random.Generator) -> Tensor:
    """Rooms, for some: power that decays after every sound."""
    count = len(heard)
    times = torch.from_numpy(dice.uniform(0.1, 0.6, count)).float()[:, None]  # seconds to -60 dB
    decay = 10 ** (-6 * torch.arange(1, LONGEST_ECHO + 1) / 100 / times)
    strength = _decibels(-dice.uniform(0, 15, count)) * _some(dice, count, 0.5)
    kernel = F.pad(decay / decay.sum(1, keepdim=True) * strength[:, None], (1, 0), value=1.0)[..., None]
    size = heard.shape[1] + LONGEST_ECHO
    echoed = torch.fft.irfft(torch.fft.rfft(heard, size, dim=1) * torch.fft.rfft(kernel, size, dim=1), size, dim=1)
    return echoed[:, : heard.shape[1]].clamp(min=0)


def _noise(dice: np.random.Generator, speaking: Tensor, rows: int, generator: torch.Generator) -> Tensor:
    """Hiss, hum and murmur of any colour, some of it in bursts; as loud as speech where nobody speaks."""
    count = len(speaking)
    level = _decibels(16 * (1 - speaking) - torch.from_numpy(dice.uniform(8, 60, count))) * SPEECH_POWER
    colour = _curves(dice, np.full(count, 6.0), 5)
    fine = torch.rand((count, rows, BANDS), generator=generator).clamp(min=1e-4).log().neg()
    fine = (fine + torch.rand(fine.shape, generator=generator).clamp(min=1e-4).log().neg()) / 2
    knots = torch.from_numpy(dice.standard_normal((count, 1, rows // 12 + 2))).float()
    swell = F.interpolate(knots, rows, mode="linear", align_corners=True)[:, 0]
    swell = _decibels(10 * swell * _some(dice, count, 0.3)[:, None])
    return level[:, None, None] * colour * fine * swell[..., None]


def _played(music: Tensor, dice: np.random.Generator, count: int, rows: int) -> Tensor:
    """Music softly below some of the pieces."""
    starts = dice.integers(0, len(music) - rows, count)
    level = _decibels(-dice.uniform(6, 25, count)) * _some(dice, count, 0.2)
    return torch.stack([music[at : at + rows] for at in starts.tolist()]) * level[:, None, None]


def _filters(dice: np.random.Generator, count: int) -> Tensor:
    """Frequency responses of microphones, and the narrow band of a telephone for some."""
    bands = torch.arange(BANDS)
    top = np.where(dice.random(count) < 0.25, dice.uniform(0.62, 0.95, count) * BANDS, 2 * BANDS)
    bottom = np.where(dice.random(count) < 0.25, dice.uniform(0, 0.12, count) * BANDS, -1.0)
    beyond = torch.maximum(bands - torch.from_numpy(top)[:, None], torch.from_numpy(bottom)[:, None] - bands)
    return _curves(dice, dice.uniform(0, FILTER, count), 6) * _decibels(-15 * beyond.clamp(0, 4))[:, None]


def _curves(dice: np.random.Generator, deviations: NDArray[np.float64], knots: int) -> Tensor:
    """(count, 1, BANDS): smooth random factors, of deviations in dB."""
    values = torch.from_numpy(dice.standard_normal((len(deviations), 1, knots)) * deviations[:, None, None]).float()
    return _decibels(F.interpolate(values, BANDS, mode="linear", align_corners=True))


def music(dice: np.random.Generator, seconds: float = 60.0) -> Tensor:
    """Chords and beats that nobody composed."""
    size = round(seconds * SAMPLE_RATE)
    sound, at, pace = np.zeros(size), 0, 0.3
    while at < size - 4 * SAMPLE_RATE:
        if dice.random() < 0.1:
            pace = dice.uniform(0.15, 0.8)
        for note in dice.integers(36, 84, dice.integers(1, 5)):
            _add(sound, at, _note(440 * 2 ** ((note - 69) / 12), dice))
        if dice.random() < 0.5:
            beat = dice.standard_normal(SAMPLE_RATE // 5)
            _add(sound, at, beat * np.exp(-np.arange(len(beat)) / dice.uniform(100, 900)) * dice.uniform(0, 2))
        at += round(pace * SAMPLE_RATE)
    return torch.from_numpy(0.1 * sound / sound.std()).float()


def _note(hertz: float, dice: np.random.Generator) -> np.ndarray:
    times = np.arange(SAMPLE_RATE) / SAMPLE_RATE
    partials = np.arange(1, max(2, min(12, int(7000 / hertz))))
    strengths = dice.random(len(partials)) / partials ** dice.uniform(0.5, 2)
    tones = np.sin(2 * math.pi * hertz * partials[:, None] * times) * strengths[:, None]
    return tones.sum(0) * np.exp(-times / dice.uniform(0.1, 1.5)) * np.minimum(1, times / dice.uniform(0.002, 0.1))


def _add(sound: np.ndarray, at: int, piece: np.ndarray) -> None:
    sound[at : at + len(piece)] += piece[: len(sound) - at]
