"""Schedules against numpy, and what weights do to the network."""

from __future__ import annotations

import logging

import numpy as np
import pytest
import small
import torch
from torch import Tensor

from joyhallo.methods.hallo.motion import EXPRESSIVENESS, MotionError, curve, keyframes, weights
from joyhallo.methods.hallo.networks.audio_module import AudioBlock
from joyhallo.methods.hallo.sampling import Sampler, Settings

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
