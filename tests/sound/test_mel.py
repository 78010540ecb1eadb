"""Wav2Lip's mel, against the spectra of transformers, and the windows, against the original's loop."""

import math
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from joyhallo.sound import mel as module
from joyhallo.sound.audio import AudioError
from joyhallo.sound.mel import COLUMNS, SILENT, basis, frames_of, listen, mel, windows

RATES = st.sampled_from([24.0, 25.0, 29.97, 30000 / 1001, 24000 / 1001, 30.0, 50.0, 60.0, Fraction(24000, 1001)])


def noise(count: int) -> torch.Tensor:
    return torch.randn(count).mul(0.1).clamp(-1, 1)


def theirs(samples: torch.Tensor, ends: str = "reflect") -> torch.Tensor:
    from transformers.audio_utils import mel_filter_bank, spectrogram, window_function

    x = samples.double().numpy()
    return torch.from_numpy(
        spectrogram(
            np.append(x[:1], x[1:] - 0.97 * x[:-1]),
            window_function(800, "hann", periodic=True),
            frame_length=800,
            hop_length=200,
            power=1.0,
            pad_mode=ends,
            mel_filters=mel_filter_bank(401, 80, 55, 7600, 16000, norm="slaney", mel_scale="slaney"),
            mel_floor=1e-5,
            log_mel="log10",
        )
    ).mul(20).sub(20).add(100).mul(0.08).sub(4).clamp(-4, 4)  # fmt: skip


@pytest.mark.parametrize("count", [401, 2999, 3000, 12345])
def test_the_same_as_transformers_says(count):
    samples = noise(count)
    found, expected = mel(samples), theirs(samples)
    assert found.shape == expected.shape == (80, 1 + count // 200)
    torch.testing.assert_close(found, expected.float(), rtol=0, atol=1e-4)


def test_silence_beyond_the_ends():
    samples = noise(4321)
    found = mel(samples, "silent")
    torch.testing.assert_close(found, theirs(samples, "constant").float(), rtol=0, atol=1e-4)
    assert torch.equal(found[:, 2:-2], mel(samples)[:, 2:-2])
    assert not torch.isclose(found[:, :2], mel(samples)[:, :2], atol=0.1).all()


def test_the_filters_are_the_same_too():
    from transformers.audio_utils import mel_filter_bank

    expected = mel_filter_bank(401, 80, 55, 7600, 16000, norm="slaney", mel_scale="slaney").T
    np.testing.assert_allclose(basis().numpy(), expected, atol=1e-8)


def test_blocks_leave_no_seam(monkeypatch):
    samples = noise(9_000)
    whole = mel(samples)
    monkeypatch.setattr(module, "AT_ONCE", 7)
    torch.testing.assert_close(mel(samples), whole, rtol=0, atol=1e-5)


def test_silence_is_the_floor_however_short():
    for count in (0, 1, 400, 3000):
        assert (mel(torch.zeros(count)) == SILENT).all()
    assert mel(torch.ones(100)).max() > SILENT


def test_samples_that_are_no_numbers_are_refused():
    with pytest.raises(AudioError, match="samples that are not numbers"):
        mel(torch.tensor([0.0, math.nan]))


# ---- windows


def originals(columns: int, rate: float) -> list[int]:
    found, i = [], 0
    while True:
        start = int(i * (80.0 / rate))
        if start + 16 > columns:
            return [*found, columns - 16]
        found.append(start)
        i += 1


@settings(max_examples=60, deadline=None)
@given(st.integers(16, 3000), RATES)
def test_windows_are_the_originals(columns, rate):
    spectrum = torch.arange(columns).expand(80, -1).float()
    found, expected = windows(spectrum, rate), originals(columns, float(rate))
    assert found.starts.tolist() == expected
    assert len(found) == frames_of(columns, rate) == math.ceil((columns - 15) * float(rate) / 80) + 1
    cut = found[1:4]
    assert cut.shape == (min(3, len(found) - 1), 80, COLUMNS)
    assert cut[:, 7].tolist() == [list(range(start, start + 16)) for start in expected[1:4]]


def test_a_sound_too_short_for_a_window_ends_in_silence():
    found = windows(torch.zeros(80, 9), 25)
    assert found.starts.tolist() == [0, 0]
    assert (found[:][:, :, :9] == 0).all()
    assert (found[:][:, :, 9:] == SILENT).all()


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 40_000), RATES)
def test_the_tail_is_covered(count, rate):
    found = listen(torch.zeros(count), rate, cover_tail=True)
    assert len(found) == math.ceil(Fraction(count) * Fraction(rate) / 16000)
    assert found.starts.tolist() == [int(i * (80.0 / float(rate))) for i in range(len(found))]
    assert found[:].shape == (len(found), 80, COLUMNS)


def test_forty_milliseconds_restore_the_alignment_of_training():
    spectrum = torch.arange(2000).expand(80, -1).float()
    late = windows(spectrum, 25, offset=40.0)
    assert len(late) == len(windows(spectrum, 25))
    expected = [int(80.0 * ((i - 1) / 25.0)) for i in range(1, len(late) - 1)]
    assert late[1:-1][:, 0, 0].tolist() == expected
    first = late[:1][0, 0]
    assert (first[:4] == SILENT).all()  # 3.2 columns before the beginning
    assert first[4:].tolist() == list(range(12))


def test_windows_may_begin_later_too():
    found = windows(torch.zeros(80, 100), 25, offset=-50.0)
    assert found.starts[:3].tolist() == [4, 7, 10]
    assert (found[:][-1] == SILENT).any()


def test_a_frame_rate_of_nothing():
    with pytest.raises(ValueError, match="frame rate is 0"):
        windows(torch.zeros(80, 20), 0)


@pytest.mark.parametrize("rate", [Fraction(1), Fraction(24000, 1001), Fraction(60)])
def test_a_spectrum_that_is_made_as_it_is_heard_is_the_whole_one(rate, monkeypatch):
    monkeypatch.setattr(module, "AT_ONCE", 50)
    samples = noise(90_000)
    coming, whole = listen(samples, rate, offset=40.0), windows(mel(samples), rate, offset=40.0)
    assert torch.equal(coming.starts, whole.starts)
    for some in ([0, 1, 2], [len(whole) - 1], list(range(len(whole)))[::-1]):
        assert torch.equal(coming[some], whole[some])
