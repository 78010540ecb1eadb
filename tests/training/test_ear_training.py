"""The puppet's ear is trained: what it is told is true, a run continues as if never stopped, and the file is read."""

import json
import shutil

import numpy as np
import pytest
import torch

from joyhallo.drawn.mouths import GESTURES, PRESSED, articulation, motion
from joyhallo.drawn.voice import Phoneme
from joyhallo.methods.puppet.hearing import HEARD, listen, open_ear
from joyhallo.sound.audio import Recording
from joyhallo.sound.bands import BANDS
from joyhallo.training.small import ear, ear_figures, rooms
from joyhallo.training.small.ear import EarTraining, Heard
from joyhallo.training.small.takes import Take

TINY = EarTraining(hours=0.01, steps=4, batch=2, seconds=1.0)


@pytest.fixture(scope="module")
def heard() -> Heard:
    """Noise whose colour tells the mouth."""
    dice = torch.Generator().manual_seed(0)
    mouths = torch.rand(3, 100, len(HEARD), generator=dice)
    colours = torch.randn(len(HEARD), BANDS, generator=dice)
    powers = (mouths @ colours).repeat_interleave(4, dim=1) - 4
    return Heard(powers.half(), mouths, torch.rand(1000, BANDS, generator=dice) * 1e-4)


# ---- the truth


def said(*names: str, seconds: float = 0.08) -> list[Phoneme]:
    return [Phoneme(name, number * seconds, (number + 1) * seconds) for number, name in enumerate(names)]


def test_lips_are_shut_in_the_closure_and_nothing_else_differs_from_the_drawn_mouth():
    phonemes = said("_:", "a", "m", "a", "f", "u", "b", "i", "S", "_:")
    told, drawn = dict(zip(GESTURES, articulation(phonemes, 20).T, strict=True)), motion(phonemes, 20)
    assert np.array_equal(told["spread"], drawn.spread)
    free = told["press"] < PRESSED[0]
    assert np.array_equal(told["opening"][free], drawn.opening[free])
    assert (told["opening"] <= drawn.opening).all()
    for number in (2, 6):  # m and b, of two frames each
        assert (told["opening"][2 * number : 2 * number + 2] == 0).any()
        assert (told["press"][2 * number : 2 * number + 2] > 0.6).any()


def test_gestures_are_those_of_the_phonemes():
    phonemes = said("_:", "f", "u", "S", "i", "_:", seconds=0.4)
    middles = articulation(phonemes, 60)[5::10]  # of each phoneme
    told = dict(zip(GESTURES, middles.T, strict=True))
    assert np.allclose(told["teeth"], [0, 1, 0, 0, 0, 0], atol=0.01)
    assert np.allclose(told["rounding"], [0, 0, 1, 0.5, 0, 0], atol=0.01)
    assert not told["press"].any()


# ---- recordings


def test_a_vocal_tract_of_the_usual_length_changes_nothing(monkeypatch):
    monkeypatch.setattr(rooms, "TRACT", 1.0)
    maps = rooms._tracts(np.random.default_rng(0), 3)
    assert torch.allclose(maps, torch.eye(BANDS).expand(3, -1, -1), atol=1e-6)


def test_an_echo_comes_after_the_sound():
    sound = torch.zeros(8, 120, BANDS)
    sound[:, 50] = 1.0
    found = rooms._echoing(sound, np.random.default_rng(0))
    assert torch.allclose(found[:, :50], torch.zeros(()), atol=1e-6)
    assert torch.allclose(found[:, 50], torch.ones(()), atol=1e-5)
    assert 0 < (found[:, 51:].sum((1, 2)) > 1).sum() < 8  # some rooms have none
    assert (found[:, 51:80].diff(dim=1) < 1e-6).all()


def test_where_nobody_speaks_the_mouth_is_shut(heard, monkeypatch):
    monkeypatch.setattr(rooms, "QUIET", 1.0)
    sound, mouth = ear.batch(heard, TINY, 8, 0)
    assert sound.isfinite().all()
    assert not mouth.any()


def test_a_step_hears_the_same_again_and_another_step_something_else(heard):
    first, again, other = (ear.batch(heard, TINY, 8, step) for step in (3, 3, 4))
    assert all(torch.equal(*pair) for pair in zip(first, again, strict=True))
    assert not torch.equal(first[0], other[0])
    assert first[0].shape == (2, (25 + 16) * 4, BANDS)
    assert first[1].shape == (2, 25, len(HEARD))


# ---- learning


def test_it_learns(heard, tmp_path, monkeypatch):
    monkeypatch.setattr(ear, "KEPT", 10)
    lines: list[float] = []
    settings = EarTraining(hours=0.01, steps=40, batch=2, seconds=1.0, learning_rate=5e-3)
    ear.train(settings, heard, tmp_path / "kept.training", lambda _, each: lines.append(each.sum().item()))
    assert len(lines) == 4
    assert lines[-1] < 0.7 * lines[0]


def test_a_stopped_run_continues_as_if_it_had_not_been(heard, tmp_path, monkeypatch):
    monkeypatch.setattr(ear, "KEPT", 2)

    def stop(step: int, _: object) -> None:
        if step == 2:
            raise KeyboardInterrupt

    whole = ear.train(TINY, heard, tmp_path / "whole.training").state_dict()
    with pytest.raises(KeyboardInterrupt):
        ear.train(TINY, heard, tmp_path / "stopped.training", stop)
    resumed = ear.train(TINY, heard, tmp_path / "stopped.training").state_dict()
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)
    with pytest.raises(ValueError, match="other settings; delete it"):
        ear.train(EarTraining(hours=0.01, steps=5, batch=2, seconds=1.0), heard, tmp_path / "stopped.training")


# ---- figures


def test_closures_are_looked_for_a_frame_around_each():
    curve = torch.arange(50.0)
    parts = ear_figures.within(curve, torch.tensor([[0.4, 0.48], [1.0, 1.12]]))
    assert parts.tolist() == [[9, 10, 11, 12, 12], [24, 25, 26, 27, 28]]


def test_a_take_of_another_size_is_the_same_take_faster():
    mouth = torch.linspace(0, 1, 300)[:, None].repeat(1, len(HEARD))
    tone = torch.sin(torch.arange(300 * 640) * 2 * torch.pi * 200 / 16_000)
    take = Take(tone.half(), mouth, torch.tensor([[2.0, 2.2], [11.5, 11.6], [11.9, 12.0]]), "")
    faster = ear_figures.of_another_size(take, 1.25)
    assert len(faster.mouth) == 240
    assert len(faster.samples) == 240 * 640
    assert torch.allclose(faster.closures, torch.tensor([[1.6, 1.76], [9.2, 9.28]]))
    assert torch.allclose(faster.mouth[100], mouth[125], atol=5e-3)
    peak = torch.fft.rfft(faster.sound).abs().argmax() / (240 * 0.04)
    assert abs(peak.item() - 250) < 1


# ---- the command


@pytest.mark.skipif(shutil.which("espeak-ng") is None, reason="espeak-ng is not installed, so nobody speaks")
def test_the_command_speaks_trains_and_writes(tmp_path, capsys):
    path = tmp_path / "ear.safetensors"
    options = ["--hours", "0.007", "--steps", "2", "--batch", "2", "--seconds", "1", "--cache", str(tmp_path / "cache")]
    assert ear.main(["-o", str(path), *options]) == 0
    assert "2 of 2" in capsys.readouterr().out
    told = json.loads(path.with_suffix(".json").read_text())
    assert EarTraining(**told["settings"]) == EarTraining(hours=0.007, steps=2, batch=2, seconds=1.0)
    assert "highest opening in room tone" in told["figures"]
    assert not path.with_suffix(".training").exists()
    assert len(listen(open_ear(path), Recording(torch.zeros(16_000)))) == 25


@pytest.mark.parametrize("changes", [{"steps": 0}, {"hours": 0.0}, {"seconds": 11.5}, {"seconds": 0.1}])
def test_settings_that_cannot_be_are_refused(changes):
    with pytest.raises(ValueError, match=r"Give at least one step of one piece, of 0.5 to 11 seconds"):
        EarTraining(**changes)
