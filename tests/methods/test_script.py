"""What is made anew of each frame: nothing without a face, in between beside a gap, and what pauses ask for."""

import numpy as np
import pytest
import torch

from joyhallo.config import SAMPLE_RATE
from joyhallo.methods.script import at_frames, presence, script, speaking, without_noise
from joyhallo.sound.audio import Recording


def usable(count: int, missing: range) -> np.ndarray:
    return np.array([frame not in missing for frame in range(count)])


def test_beside_a_gap_it_fades():
    assert presence(usable(14, range(6, 8)), ()).tolist() == [1, 1, 1, 0.75, 0.5, 0.25, 0, 0, 0.25, 0.5, 0.75, 1, 1, 1]


@pytest.mark.parametrize(
    ("missing", "cuts", "expected"),
    [
        (range(4, 8), (4, 8), [1, 1, 1, 1, 0, 0, 0, 0, 1, 1, 1, 1]),
        (range(4, 8), (5,), [1, 0.75, 0.5, 0.25, 0, 0, 0, 0, 0.25, 0.5, 0.75, 1]),
        (range(4, 8), (3,), [1, 1, 1, 0.25, 0, 0, 0, 0, 0.25, 0.5, 0.75, 1]),
        (range(0, 2), (), [0, 0, 0.25, 0.5, 0.75, 1, 1, 1, 1, 1, 1, 1]),
        (range(0, 0), (5,), [1] * 12),
    ],
)
def test_another_shot_begins_at_once(missing, cuts, expected):
    assert presence(usable(12, missing), cuts).tolist() == expected


def test_frames_after_the_speech_stay_as_they_are():
    found = script(np.array([0, 1, 2, 1, 0, 1]), usable(3, range(0)), (), 4, torch.tensor([1, 0.5, 0, 1]))
    assert found.amounts.tolist() == [1, 0.5, 0, 1, 0, 0]
    assert found.spoken.tolist() == [True, True, False, True, False, False]


def test_a_curve_at_another_rate_is_linear_in_between():
    curve = torch.tensor([0.0, 1.0, 0.0])
    assert torch.allclose(at_frames(curve, 6, 50.0), torch.tensor([0, 0.5, 1, 0.5, 0, 0]))
    assert torch.equal(at_frames(curve, 3, 25.0), curve)


def test_noise_in_pauses_is_not_heard():
    noise = torch.randn(2 * SAMPLE_RATE, generator=torch.Generator().manual_seed(1)) * 0.003
    voice = torch.sin(torch.arange(2 * SAMPLE_RATE) * 0.09) * 0.4
    voice[: SAMPLE_RATE // 2] = voice[SAMPLE_RATE:] = 0
    recording = Recording(voice + noise)
    gate = speaking(recording)
    quiet = without_noise(recording, gate).samples
    assert quiet[: SAMPLE_RATE // 4].abs().max() == 0
    assert quiet[-SAMPLE_RATE // 2 :].abs().max() == 0
    spoken = slice(int(0.55 * SAMPLE_RATE), int(0.95 * SAMPLE_RATE))
    assert torch.equal(quiet[spoken], recording.samples[spoken])
    assert len(quiet) == len(recording.samples)
