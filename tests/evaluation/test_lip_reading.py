"""The check of the lip reader: what it plants, spoils and counts is what it says."""

import json

import numpy as np
import pytest
import torch

from joyhallo.config import FPS
from joyhallo.data.dataset import SAMPLES
from joyhallo.evaluation import lip_reading
from joyhallo.evaluation.lip_reading import FAULTS, MARGIN, PLANTED, Talk, above, drawn_talks, figures
from joyhallo.faces.boxes import Box
from joyhallo.libraries import LibraryError
from joyhallo.measures.lip_reader import FEATURES, LipReader


def talk(frames: int = 40) -> Talk:
    """The number of each frame is its brightness and its loudness."""
    numbers = torch.arange(frames + 2 * MARGIN) / 100
    return Talk(numbers[:, None, None].expand(-1, 48, 64), numbers.repeat_interleave(SAMPLES))


@pytest.mark.parametrize("early", PLANTED)
def test_a_sound_that_is_early_says_now_what_is_seen_later(early):
    one = talk()
    heard = one.sound(early).unflatten(0, (-1, SAMPLES))[:, 0]
    seen = one.lips()[:, 0, 0]
    assert len(heard) == len(seen) == 40
    assert torch.allclose(heard - seen, torch.tensor(early / 100), atol=1e-6)


def test_people_of_a_check_are_the_same_each_time_and_differ_by_seed():
    try:
        first, other = next(drawn_talks(1, 2.0, 5)), next(drawn_talks(1, 2.0, 6))
    except LibraryError as error:
        pytest.skip(str(error))
    again = next(drawn_talks(1, 2.0, 5))
    assert torch.equal(first.crops, again.crops)
    assert torch.equal(first.samples, again.samples)
    assert not torch.equal(first.crops, other.crops)
    assert first.frames == 2 * FPS
    assert len(first.samples) == len(first.crops) * SAMPLES


def test_a_found_box_is_about_the_true_one_and_trembles():
    box = Box(100, 50, 200, 180)
    found = lip_reading.trembling([box] * 200, np.random.default_rng(0))
    sides = np.array([lip_reading._sides(each) for each in found])
    assert np.abs(sides.mean(0) - lip_reading._sides(box)).max() < 8
    assert np.allclose(sides.std(0), 1.0, rtol=0.3)


def test_figures_count_what_a_reader_tells(monkeypatch):
    """A reader that knows each frame by number finds all offsets, and one that knows nothing does not."""
    places = torch.nn.functional.normalize(torch.randn(60, FEATURES, generator=torch.Generator().manual_seed(0)), dim=1)

    def numbers(values: torch.Tensor) -> torch.Tensor:
        return places[(values * 100).round().long()][: len(values) - 4]

    monkeypatch.setattr(lip_reading, "seen", lambda _, pieces: numbers(pieces[0][:, 0, 0]))
    monkeypatch.setattr(lip_reading, "heard", lambda _, sound: numbers(sound.samples[::SAMPLES]))
    knowing = figures(LipReader(), [talk(), talk()])
    assert knowing["offsets found"] == knowing["within a frame"] == 1
    assert knowing["similarity, matched"] == pytest.approx(1, abs=1e-5)
    assert knowing["told from shifted"] == 1
    assert knowing["told from shuffled"] == 0  # the same talk twice
    monkeypatch.setattr(lip_reading, "heard", lambda _, sound: numbers(0 * sound.samples[::SAMPLES] + 0.5))
    assert figures(LipReader(), [talk(), talk()])["offsets found"] < 0.5


def test_what_is_above_is_counted_in_pairs():
    assert above([1, 3], [0, 2]) == 0.75
    assert above([1, 1], [1, 1]) == 0


# ---- faults


def test_frozen_frames_are_as_many_as_wanted():
    lips = torch.rand(100, 4, 6)
    for share in (0.0, 0.4, 0.8):
        still = lip_reading._frozen(lips, share).diff(dim=0).abs().amax((1, 2)) == 0
        assert int(still.sum()) == 4 * max(0, round(share * FPS) - 1)
    assert torch.equal(lip_reading._frozen(lips, 0.0), lips)


def test_shuffled_sound_is_the_same_sound_in_another_order():
    sound = torch.arange(20 * lip_reading.SHORT * SAMPLES).float()
    assert torch.equal(lip_reading._shuffled(sound, 0.0), sound)
    for share in (0.3, 0.9):
        found = lip_reading._shuffled(sound, share)
        assert torch.equal(found.sort().values, sound)
        assert float((found != sound).float().mean()) == pytest.approx(share)


def test_blurred_lips_keep_their_size_and_brightness_and_lose_detail():
    lips = torch.rand(5, 48, 64)
    for pixels in (4, 16):
        found = lip_reading._blurred(lips, pixels)
        assert found.shape == lips.shape
        assert found.mean() == pytest.approx(float(lips.mean()), abs=0.02)
        assert found.diff(dim=2).abs().mean() < 0.2 * lips.diff(dim=2).abs().mean()
    assert torch.equal(lip_reading._blurred(lips, 0), lips)


# ---- the command


@pytest.mark.parametrize(("share", "code"), [(0.94, 1), (0.95, 0)])
def test_the_mark_decides_the_exit_code(monkeypatch, tmp_path, capsys, share, code):
    found = {"drawn people": {"offsets found": share}, FAULTS: {"blur, pixels": {"0": 0.5, "4": 0.4}}}
    monkeypatch.setattr(lip_reading, "measured", lambda *_: found)
    assert lip_reading.main(["--json", str(tmp_path / "found.json")]) == code
    assert f"{share:.3f}" in capsys.readouterr().out
    assert json.loads((tmp_path / "found.json").read_text()) == found


def test_troubles_are_told(tmp_path, capsys):
    assert lip_reading.main(["picture.jpg"]) == 2
    assert "need --landmarker" in capsys.readouterr().err
    assert lip_reading.main(["--reader", str(tmp_path / "none.safetensors")]) == 2
    assert "does not exist" in capsys.readouterr().err
