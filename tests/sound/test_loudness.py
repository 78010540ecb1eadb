import math

import numpy as np
import pytest
import torch
from speakers import voice

from joyhallo.notices import Notice
from joyhallo.sound.audio import Recording
from joyhallo.sound.loudness import levelled, loudness


def sine(level: float, rate: int = 48_000, seconds: float = 5, frequency: float = 997) -> torch.Tensor:
    t = torch.arange(round(rate * seconds), dtype=torch.float64) / rate
    return (10 ** (level / 20) * torch.sin(2 * math.pi * frequency * t)).float()


@pytest.mark.parametrize("rate", [16_000, 44_100, 48_000])
@pytest.mark.parametrize("level", [0.0, -20.0, -40.0])
def test_the_standards_own_tone(rate, level):
    """BS.1770: a sine of 997 Hz at full scale in one channel reads -3.01 LKFS."""
    assert loudness(sine(level, rate), rate) == pytest.approx(level - 3.01, abs=0.05)


def test_the_standards_filters_in_time():
    """BS.1770's printed coefficients at 48 kHz, run over the samples, give the same loudness of speech."""
    signal = pytest.importorskip("scipy.signal")
    x = voice(48_000, 48_000 * 8)
    y = signal.lfilter(
        [1.53512485958697, -2.69169618940638, 1.19839281085285], [1, -1.69065929318241, 0.73248077421585], x
    )
    y = signal.lfilter([1, -2, 1], [1, -1.99004745483398, 0.99007225036621], y)
    power = np.array([np.mean(y[i : i + 19_200] ** 2) for i in range(0, len(y) - 19_200 + 1, 4_800)])
    power = power[-0.691 + 10 * np.log10(power) > -70]
    power = power[power > power.mean() / 10]
    assert loudness(torch.from_numpy(x), 48_000) == pytest.approx(-0.691 + 10 * np.log10(power.mean()), abs=0.1)


def test_pauses_do_not_count():
    tone = sine(-20, 16_000)
    assert loudness(torch.cat([tone, torch.zeros(160_000)])) == pytest.approx(loudness(tone), abs=0.3)


def test_levelling():
    speech = Recording(torch.from_numpy(voice(16_000, 80_000)), (Notice("a", "note"),))
    for change in (0.05, 1.0, 3.0):
        found = levelled(Recording(speech.samples * change, speech.notices), -23)
        assert loudness(found.samples) == pytest.approx(-23, abs=0.1)
        assert found.notices == speech.notices


def test_levelling_never_clips_nor_lifts_silence():
    click = torch.zeros(32_000)
    click[::4_000] = 0.5
    assert levelled(Recording(click), -5).samples.abs().max() <= 0.99
    assert not levelled(Recording(torch.zeros(16_000))).samples.any()
    faint = Recording(sine(-65, 16_000))
    assert levelled(faint).samples.abs().max() / faint.samples.abs().max() == pytest.approx(10**1.5, rel=1e-3)
