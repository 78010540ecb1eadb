"""Schedules against numpy, pauses in sound whose pauses are known, and what weights do to the network."""

from __future__ import annotations

import logging

import numpy as np
import pytest
import small
import torch
from speakers import MANDARIN, spoken
from torch import Tensor

from joyhallo.methods.hallo.motion import (
    EXPRESSIVENESS,
    MotionError,
    anchors,
    curve,
    gate,
    keyframes,
    pauses,
    quietest,
    threshold,
    weights,
)
from joyhallo.methods.hallo.networks.audio_module import AudioBlock
from joyhallo.methods.hallo.sampling import Sampler, Settings
from joyhallo.sound.audio import levels, load, video_frames

# ---- schedules


@pytest.mark.parametrize(
    ("text", "times", "values"),
    [
        ("0.8", [0], [0.8]),
        ("0: 1, 2.5: 0.4, 3s: 1, 00:01:05.5: 0", [0, 2.5, 3, 65.5], [1, 0.4, 1, 0]),
        ("#50: 1; #75: 0\n1:01: .5;", [2, 3, 61], [1, 0, 0.5]),
        ("０：１，２．５：０．４；３秒：１、＃１００：０", [0, 2.5, 3, 4], [1, 0.4, 1, 0]),
        ("3: 0, 1: 2", [1, 3], [2, 0]),
        ("0.28: 3, 1: 0", [0.28, 1], [3, 0]),
    ],
)
def test_keyframes_are_joined_as_numpy_joins_them(text, times, values):
    found = keyframes(text, 1700)
    expected = np.interp(np.arange(1700), np.round(np.array(times) * 25, 6), values)
    assert found.dtype == torch.float32
    assert np.allclose(found.numpy(), expected, atol=1e-6)


@pytest.mark.parametrize("text", ["0: 0.5, 2: 1 -> 0.2, 3: 0.6 -> 0", "0：0.5，2：1→0.2；3：0.6－＞0"])
def test_an_arrow_jumps(text):
    before = np.interp(np.arange(50), [0, 50], [0.5, 1])
    after = np.interp(np.arange(50, 75), [50, 75], [0.2, 0.6])
    assert np.allclose(keyframes(text, 80).numpy(), [*before, *after, *[0] * 5], atol=1e-6)


def test_a_jump_is_at_its_frame_to_the_last_bit():
    """In floating point 0.28 s at 25 frames a second are a little more than 7 frames."""
    assert keyframes("0: 1, 0.28: 1 -> 0", 10).tolist() == [1] * 7 + [0] * 3


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "empty.*as in 0: 1, 2.5: 0.4"),
        (" ,\n", "empty"),
        ("loud", "strength 'loud' in 'loud' is not a number from 0 to 3.*as in"),
        ("1:05", "'05' in '1:05' is not a number from 0 to 3"),
        ("0: 1, 2: -0.5", "'-0.5' in '2: -0.5'"),
        ("0: 1, 2: nan", "'nan' in '2: nan'"),
        ("0: 1, 2: 1 ->", "'' in '2: 1 ->'"),
        ("0: 1, 0.5", "'0.5' is not a keyframe: there is no colon.*as in"),
        ("0: 1, #2.5: 1", "time '#2.5' in '#2.5: 1'.*as in"),
        ("-1: 1, 2: 1", "time '-1' in '-1: 1'"),
        (": 1", "time '' in ': 1'"),
        ("1:2:3:4: 1", "time '1:2:3:4'"),
        ("0: 1, 2: 0.5, #50: 1", r"at 2 s. For a jump write 2: 0.5 -> 1"),
    ],
)
def test_what_is_not_understood_is_named_with_an_example(text, words):
    with pytest.raises(MotionError, match=words):
        keyframes(text, 10)


@pytest.mark.parametrize("given", [[1.0, 0.5, 0], (1, 0.5, 0), torch.tensor([1, 0.5, 0]), np.array([1, 0.5, 0])])
def test_lists_are_held_and_cut(given):
    assert curve(given, 5).tolist() == [1, 0.5, 0, 0, 0]
    assert curve(given, 2).tolist() == [1, 0.5]


def test_one_number_is_for_all_frames():
    for given in (2, 2.0, np.float64(2), torch.tensor(2.0, dtype=torch.bfloat16), [2.0]):
        assert curve(given, 3).tolist() == [2, 2, 2]


def test_another_length_is_told_where_it_is_no_rounding(caplog):
    with caplog.at_level(logging.INFO):
        curve([1.0] * 9, 10)
        curve([1.0], 10)
        assert not caplog.text
        curve([1.0] * 8, 10)
        curve([1.0] * 12, 10)
    assert "8 weights were given for 10 frames: the last one is repeated" in caplog.text
    assert "12 weights were given for 10 frames: the rest is ignored" in caplog.text


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ([], "empty"),
        ([1.0, float("nan")], "weight of frame 1 is nan"),
        (float("inf"), "weight of frame 0 is inf"),
        ([0.5, 0.5, -0.1], "weight of frame 2 is -0.1"),
        ("1", "a str; give a number"),
        (None, "a NoneType"),
        (True, "a bool"),
        ([[1.0], [1.0]], r"a list of shape \(2, 1\)"),
        ([[1.0], [1.0, 2.0]], "a list; give"),
    ],
)
def test_what_is_no_weight_is_said(given, words):
    with pytest.raises(MotionError, match=words):
        curve(given, 4)


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


# ---- all together


def test_weights_are_the_product_of_what_was_asked_for():
    opening = torch.linspace(0, 1, 50)
    found = weights(50, "0: 1, 1: 0", [0.5] * 50, 2, "lively", opening)
    factors = EXPRESSIVENESS["lively"]
    assert np.allclose(found[:, 0], np.interp(np.arange(50), [0, 25], [1, 0]) * factors[0], atol=1e-6)
    assert np.allclose(found[:, 1], 0.5 * factors[1])
    assert np.allclose(found[:, 2], 2 * factors[2] * np.linspace(0, 1, 50), atol=1e-6)
    assert torch.equal(weights(50), torch.ones(50, 3))
    with pytest.raises(MotionError, match="'wild' is unknown; choose calm, natural"):
        weights(50, expressiveness="wild")


# ---- what they do to the network


def sampler(rows: Tensor) -> Sampler:
    picture = small.portrait()
    settings = Settings(steps=2, weights=rows, chunk_frames=len(rows), motion_frames=2)
    codec = small.BlockCodec()
    return Sampler(
        small.net(), picture, codec.encode(picture.picture[None]), settings, torch.device("cpu"), torch.float32
    )


def test_gates_differ_in_the_frames_and_regions_that_are_named_and_nowhere_else():
    rows = torch.ones(8, 3)
    rows[2:5, 2] = 0.0
    rows[6, 0] = 0.5
    plain, found = (sampler(each)._gates(0, 8) for each in (torch.ones(8, 3), rows))
    changed = torch.zeros(8, 1, 3, dtype=torch.bool)
    changed[2:5, :, 2] = changed[6, :, 0] = True
    for before, after, mask in zip(plain, found, small.portrait().masks, strict=True):
        assert torch.equal(after.weights != before.weights, changed)
        assert torch.equal(after.masks != before.masks, changed.expand_as(after.masks))
        assert torch.equal(after.masks[6, :, 0], 0.5 * mask[0])


class Heard:
    """What the audio modules are given and give, in the order of their use."""

    def __init__(self, net: torch.nn.Module, monkeypatch: pytest.MonkeyPatch):
        self.inputs, self.outputs = [], []
        forward = AudioBlock.forward

        def listening(block: AudioBlock, x: Tensor, *rest: object) -> Tensor:
            self.inputs.append(x.clone())
            self.outputs.append(forward(block, x, *rest))  # type: ignore[arg-type]
            return self.outputs[-1]

        monkeypatch.setattr(AudioBlock, "forward", listening)


def first_step(rows: Tensor, speech: Tensor, monkeypatch: pytest.MonkeyPatch) -> Heard:
    with torch.no_grad(), monkeypatch.context() as patch:
        made = sampler(rows)
        chunk = made.prepare_chunk(speech, 0, None)
        heard = Heard(made.net, patch)
        noise = torch.randn(len(rows), 4, 8, 8, generator=torch.Generator().manual_seed(1))
        made.velocity(made._denoiser(), noise, 999, chunk)
    return heard


def test_a_frame_without_weight_is_as_unheard_and_the_others_are_untouched(monkeypatch):
    frames, still = 6, [1, 4]
    others = [frame for frame in range(frames) if frame not in still]
    speech, rows = small.windows(frames), torch.ones(frames, 3)
    rows[still] = 0.0
    plain, gated = first_step(torch.ones(frames, 3), speech, monkeypatch), first_step(rows, speech, monkeypatch)
    silent = first_step(torch.zeros(frames, 3), speech, monkeypatch)
    # the first audio module comes before any motion module, which mixes frames: up to it nothing else can differ
    (before, after, unheard) = (heard.outputs[0].unflatten(0, (-1, frames)) for heard in (plain, gated, silent))
    assert torch.equal(plain.inputs[0], gated.inputs[0])
    assert torch.equal(after[:, others], before[:, others])
    assert torch.equal(after[:, still], unheard[:, still])
    assert (after[:, still] != before[:, still]).any(-1).float().mean() > 0.5
    other_words = first_step(rows, small.windows(frames).flip(0), monkeypatch).outputs[0].unflatten(0, (-1, frames))
    assert torch.equal(other_words[:, still], after[:, still])  # whatever is said there
    assert not torch.equal(other_words[1, others], after[1, others])


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
