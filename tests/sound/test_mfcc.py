"""Cepstra, against a transcription of the formulas, one window and one band after the other."""

import math

import numpy as np
import pytest
import torch

from joyhallo.sound import mfcc as module
from joyhallo.sound.audio import AudioError
from joyhallo.sound.mfcc import in_16_bits, mfcc, triangles


def noise(count: int, loud: float = 3000) -> torch.Tensor:
    return (torch.randn(count) * loud).round().clamp(-32768, 32767).to(torch.int16)


def corner(number: int) -> int:
    mel = 2595 * math.log10(1 + 8000 / 700) * number / 27
    return math.floor(513 * 700 * (10 ** (mel / 2595) - 1) / 16000)


def triangle(number: int) -> np.ndarray:
    low, middle, high = (corner(number + step) for step in range(3))
    rising = [(point - low) / (middle - low) for point in range(low, middle)]
    falling = [(high - point) / (high - middle) for point in range(middle, high)]
    return np.array([0.0] * low + rising + falling + [0.0] * (257 - high))


def transcribed(samples: np.ndarray) -> np.ndarray:
    x = samples.astype(np.float64)
    x = np.append(x[:1], x[1:] - 0.97 * x[:-1])
    count = 1 if len(x) <= 400 else 1 + math.ceil((len(x) - 400) / 160)
    x = np.append(x, np.zeros(160 * (count - 1) + 400 - len(x)))
    bands = [triangle(number) for number in range(26)]
    columns = []
    for start in range(0, 160 * count, 160):
        power = np.abs(np.fft.rfft(x[start : start + 400], 512)) ** 2 / 512
        logs = np.log([(power @ band) or 2.220446049250313e-16 for band in bands])
        column = [
            math.sqrt((1 if row == 0 else 2) / 26)
            * sum(logs[band] * math.cos(math.pi * row * (band + 0.5) / 26) for band in range(26))
            * (1 + 11 * math.sin(math.pi * row / 22))
            for row in range(13)
        ]
        columns.append([math.log(power.sum() or 2.220446049250313e-16), *column[1:]])
    return np.array(columns)


@pytest.mark.parametrize("count", [1, 250, 399, 400, 401, 559, 560, 561, 3217])
def test_the_same_as_the_formulas(count):
    samples = noise(count)
    np.testing.assert_allclose(mfcc(samples).numpy(), transcribed(samples.numpy()), rtol=0, atol=1e-8)


@pytest.mark.parametrize("samples", [np.zeros(900), np.full(900, -32768), np.eye(1, 900)[0] * 900])
def test_silence_and_the_loudest(samples):
    samples = samples.astype(np.int16)
    np.testing.assert_allclose(mfcc(torch.from_numpy(samples)).numpy(), transcribed(samples), rtol=0, atol=1e-8)


def test_the_filters():
    np.testing.assert_allclose(triangles().numpy(), [triangle(number) for number in range(26)], rtol=0, atol=1e-12)


def test_loudness_is_in_the_first_of_them_alone():
    samples = noise(4000, 300)
    quiet, loud = mfcc(samples), mfcc(samples * 8)
    torch.testing.assert_close(loud[:, 1:], quiet[:, 1:])
    torch.testing.assert_close(loud[:, 0], quiet[:, 0] + 2 * math.log(8))


def test_blocks_leave_no_seam(monkeypatch):
    samples = noise(6_000)
    whole = mfcc(samples)
    monkeypatch.setattr(module, "AT_ONCE", 7)
    torch.testing.assert_close(mfcc(samples), whole, rtol=0, atol=1e-12)


def test_no_sound_is_a_column_of_silence():
    assert torch.equal(mfcc(torch.zeros(0, dtype=torch.int16)), mfcc(torch.zeros(400, dtype=torch.int16)))


@pytest.mark.parametrize("samples", [torch.zeros(900), torch.zeros(2, 900, dtype=torch.int16)])
def test_other_numbers_are_refused(samples):
    with pytest.raises(ValueError, match="expected samples"):
        mfcc(samples)


def test_16_bits():
    samples = torch.tensor([-1.5, -1, -0.5, 0, 1 / 32768, 0.5 / 32768, 1.5 / 32768, 0.99999, 1, 2])
    assert in_16_bits(samples).tolist() == [-32768, -32768, -16384, 0, 1, 0, 2, 32767, 32767, 32767]
    with pytest.raises(AudioError):
        in_16_bits(torch.tensor([0.0, math.nan]))
