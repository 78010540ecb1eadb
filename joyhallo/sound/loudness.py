"""Perceived loudness, ITU-R BS.1770 for one channel (LUFS), and `levelled`, which brings a recording to a level.

chinese-wav2vec2-base does not normalise its input, so a faint recording moves the lips less. Levelling is off by
default, because the published weights were trained without it.
"""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from torch import Tensor

from ..config import SAMPLE_RATE
from .audio import Recording

LOUDNESS = {"as recorded": False, "levelled": True}  # as users choose it: whether to level

SPEECH = -23.0  # LUFS: EBU R 128's level for broadcasts
MOST_GAIN = 30.0  # dB; more would lift noise, not speech
PEAK = 0.99

BLOCK_SECONDS, STEP_SECONDS = 0.4, 0.1
SILENCE, BELOW_MEAN = -70.0, 10.0  # gates: LUFS, and LU below the mean of the blocks that pass the first
BLOCKS_AT_ONCE = 600  # a minute


def levelled(recording: Recording, target: float = SPEECH) -> Recording:
    """The recording at `target` LUFS, or as near as full scale and MOST_GAIN allow. Silence is left unchanged."""
    now, peak = loudness(recording.samples), recording.samples.abs().max().item()
    if now == -math.inf:
        return recording
    gain = min(10 ** (min(target - now, MOST_GAIN) / 20), max(PEAK / peak, 1.0 if target >= now else 0.0))
    return replace(recording, samples=recording.samples * gain)


def loudness(samples: Tensor, rate: int = SAMPLE_RATE) -> float:
    """Gated loudness in LUFS of samples (n); minus infinity for silence."""
    power = _block_power(samples, rate)
    heard = power[power > 10 ** ((SILENCE + 0.691) / 10)]
    heard = heard[heard > heard.mean() * 10 ** (-BELOW_MEAN / 10)]
    return -0.691 + 10 * math.log10(heard.mean().item()) if len(heard) else -math.inf


def _block_power(samples: Tensor, rate: int) -> Tensor:
    """Mean square of each overlapping block, weighted as the ear does; the weighting is applied to the spectrum."""
    size, step = round(BLOCK_SECONDS * rate), round(STEP_SECONDS * rate)
    samples = torch.nn.functional.pad(samples, (0, max(0, size - len(samples))))
    weights = _ear(torch.fft.rfftfreq(size, 1 / rate, dtype=torch.float64), rate).float() / (size * size)
    weights[1 : (size + 1) // 2] *= 2  # the mirrored half
    powers = [
        (torch.fft.rfft(blocks).abs().square() * weights).sum(dim=-1)
        for blocks in samples.unfold(0, size, step).split(BLOCKS_AT_ONCE)
    ]
    return torch.cat(powers).double()


def _ear(frequencies: Tensor, rate: int) -> Tensor:
    """Squared response of BS.1770's two filters, a high shelf for the head and a high-pass, at any rate."""
    shelf = 10 ** (3.999843853973347 / 20)
    edge = shelf**0.4996667741545416
    k, q = math.tan(math.pi * 1681.974450955533 / rate), 0.7071752369554196
    head = _response(
        frequencies / rate,
        [shelf + edge * k / q + k * k, 2 * (k * k - shelf), shelf - edge * k / q + k * k],
        [1 + k / q + k * k, 2 * (k * k - 1), 1 - k / q + k * k],
    )
    k, q = math.tan(math.pi * 38.13547087602444 / rate), 0.5003270373238773
    scale = 1 + k / q + k * k
    low = _response(frequencies / rate, [scale, -2 * scale, scale], [scale, 2 * (k * k - 1), 1 - k / q + k * k])
    return head * low


def _response(cycles: Tensor, numerator: list[float], denominator: list[float]) -> Tensor:
    """|H|^2 at `cycles` per sample."""
    z = torch.exp(-2j * math.pi * cycles)
    powers = torch.stack([torch.ones_like(z), z, z * z])
    above, below = (torch.tensor(c, dtype=z.dtype) @ powers for c in (numerator, denominator))
    return (above / below).abs().square()
