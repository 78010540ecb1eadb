"""Pauses in sound whose pauses are known, the gate that follows them, and places to cut."""

from __future__ import annotations

import logging

import numpy as np
import pytest
import torch
from speakers import MANDARIN, spoken
from torch import Tensor

from joyhallo.sound.audio import levels, load, video_frames
from joyhallo.sound.pauses import anchors, gate, pauses, quietest, threshold

# ---- pauses


def talk(noise: float, seconds: float = 12, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Levels of speech over noise (dB of full scale), and where nobody speaks: from 3 to 5 s and from 8 to 8.6 s."""
    rate, count = 16_000, round(seconds * 16_000)
    t = np.arange(count) / rate
    syllables = 0.35 + 0.65 * np.sin(2 * np.pi * 2 * t) ** 2
    speech = 0.2 * np.sin(2 * np.pi * 180 * t) * syllables
    silent = ((t >= 3) & (t < 5)) | ((t >= 8) & (t < 8.6))
    hiss = np.random.default_rng(seed).standard_normal(count) * 10 ** (noise / 20)
    sound = torch.from_numpy((speech * ~silent + hiss).astype(np.float32))
    return levels(sound, count // 640), torch.from_numpy(silent[::640])


@pytest.mark.parametrize("noise", [-200, -80, -60, -45, -35])
@pytest.mark.parametrize("gain", [0, -30])
def test_pauses_are_found_whatever_the_noise(noise, gain):
    heard, silent = talk(noise)
    assert torch.equal(pauses((heard + gain).clamp(min=-100)), silent)


def test_real_words_have_their_pauses(tmp_path):
    """Two sentences of a synthesiser with a second of nothing between them, which then hisses."""
    spoke = load(spoken(tmp_path, "cmn-latn-pinyin", MANDARIN)).samples
    sound = torch.cat([spoke, torch.zeros(16_000), spoke])
    noisy = sound + 1e-3 * torch.randn(len(sound), generator=torch.Generator().manual_seed(0))
    start, stop, rows = len(spoke) // 640 + 1, (len(spoke) + 16_000) // 640, video_frames(len(sound))
    for heard in (levels(sound, rows), levels(noisy, rows)):
        found = pauses(heard)
        assert found[start:stop].all()
        assert found.float().mean() < 0.5


def test_short_gaps_and_lone_dips_are_no_pauses():
    heard = torch.full((100,), -20.0)
    heard[20:24] = -90
    heard[50:55] = -90
    assert pauses(heard).nonzero().flatten().tolist() == [50, 51, 52, 53, 54]


def test_what_wavers_at_the_threshold_does_not_flicker():
    heard = torch.full((200,), -20.0)
    heard[60:140] = -60
    middle = threshold(heard)
    assert middle is not None
    heard[80:120] = middle.level + middle.reach * torch.tensor([0.8, -0.8]).repeat(20)
    assert pauses(heard).nonzero().flatten().tolist() == list(range(60, 140))


@pytest.mark.parametrize("quiet_first", [False, True])
def test_what_wavers_at_the_beginning_is_as_what_comes_next(quiet_first):
    heard = torch.full((120,), -20.0)
    heard[20 : 60 if quiet_first else 20] = -60
    heard[60 if quiet_first else 80 :] = -20.0 if quiet_first else -60.0
    middle = threshold(heard)
    assert middle is not None
    heard[:20] = middle.level
    assert pauses(heard).nonzero().flatten().tolist() == list(range(60) if quiet_first else range(80, 120))


def test_clicks_and_long_silence_do_not_move_the_threshold():
    heard, _ = talk(-50)
    plain = threshold(heard)
    clicked = heard.clone()
    clicked[110] = -1.0
    waited = torch.cat([heard, torch.full((3000,), -100.0)])
    for other in (clicked, waited):
        found = threshold(other)
        assert plain is not None
        assert found is not None
        assert found.level == pytest.approx(plain.level, abs=1.5)
    assert pauses(waited)[300:].all()


def test_sensitivity_moves_the_threshold():
    heard, silent = talk(-50)
    assert torch.equal(pauses(heard, 3.0), silent)
    assert pauses(heard, -40.0).sum() == 0
    assert pauses(heard, 40.0).all()
    counts = [int(pauses(heard, shift).sum()) for shift in range(-20, 21, 4)]
    assert counts == sorted(counts)


def test_without_a_difference_nothing_is_a_pause(caplog):
    with caplog.at_level(logging.INFO):
        assert not pauses(levels(0.1 * torch.randn(64_000, generator=torch.Generator().manual_seed(0)), 100)).any()
    assert "pauses cannot be found" in caplog.text


def test_silence_alone_is_a_pause():
    assert pauses(torch.full((20,), -100.0)).all()


# ---- the gate


def test_the_gate_is_open_when_speech_begins_and_closes_afterwards():
    silent = torch.ones(40, dtype=torch.bool)
    silent[10:20] = False
    found = gate(silent, attack=3, release=5)
    opening, closing = ([0.5 - 0.5 * np.cos(np.pi * k / (n + 1)) for k in range(1, n + 1)] for n in (3, 5))
    expected = [0.0] * 7 + opening + [1.0] * 10 + closing[::-1] + [0.0] * 15
    assert np.allclose(found.numpy(), expected, atol=1e-6)
    assert (found[10:20] == 1).all()
    assert (found[:7] == 0).all()


def test_a_gate_of_no_length_is_a_switch():
    silent = torch.tensor([1, 1, 0, 0, 1, 0, 1], dtype=torch.bool)
    assert torch.equal(gate(silent, 0, 0), (~silent).float())


def test_a_pause_shorter_than_its_ramps_does_not_close():
    silent = torch.zeros(30, dtype=torch.bool)
    silent[10:16] = True
    found = gate(silent, attack=8, release=8)
    assert found.min() > 0.3
    assert (found.diff().sign().diff() != 0).sum() <= 4  # down once, up once


def test_gates_of_one_kind_alone():
    assert torch.equal(gate(torch.ones(9, dtype=torch.bool)), torch.zeros(9))
    assert torch.equal(gate(torch.zeros(9, dtype=torch.bool)), torch.ones(9))


# ---- where a cut is heard least


def brute(heard: list[float], starts: list[int], every: int) -> list[int]:
    found, last = [], starts[0]
    while True:
        window = [s for s in starts if last + every <= s < last + 2 * every] or [
            s for s in starts if s >= last + every
        ][:1]
        if not window:
            return found
        last = sorted(window, key=lambda s: (max(heard[s - 2 : s + 2], default=-1e9), s))[0]
        found.append(starts.index(last))


@pytest.mark.parametrize("every", [1, 16, 50, 125, 1000, 5000])
def test_anchors_are_at_the_quietest_boundaries(every):
    random = np.random.default_rng(every)
    heard = random.uniform(-60, -10, 2000).astype(np.float32).tolist()
    starts = list(range(0, 2000, 16))
    found = anchors(torch.tensor(heard), starts, every)
    assert found == brute(heard, starts, every)
    assert bool(found) == (every < 2000)


def test_an_anchor_is_in_the_pause():
    heard, silent = talk(-60)
    (first, *_) = anchors(heard, range(0, 300, 16), 60)
    assert silent[16 * first - 2 : 16 * first + 2].all()


def test_the_first_frames_are_as_loud_as_any():
    """Around them there is less to hear, not nothing."""
    heard = torch.tensor([-10.0, -10, -10, -10, -10, -10, -50, -50, -50, -50])
    assert quietest(heard, [0, 1, 8], [0, 1, 2]) == 2


def test_no_anchors_at_no_distance():
    with pytest.raises(ValueError, match="every 0 frames"):
        anchors(torch.zeros(9), [0, 4], 0)
