"""The comparison with originals, as far as it goes without their checkouts: MuseTalk's network is diffusers' own."""

import importlib
import sys
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
import torch

from benchmarks.redub_methods import latentsync, musetalk
from benchmarks.redub_methods.__main__ import main
from benchmarks.redub_methods.measuring import SOUND, Clip, redubbed, turns
from benchmarks.redub_methods.originals import open_checkout
from joyhallo.methods.latentsync.alignment import matrices, three_points
from joyhallo.sound import whisper

NOWHERE = Path("no checkout")


@pytest.fixture(scope="module")
def both():
    return musetalk.Both(NOWHERE, musetalk.Sizes((32, 32), 1, SOUND))


@pytest.fixture(scope="module")
def clip():
    return Clip.drawn(96, 3, 3)


def test_both_sides_of_musetalk_have_the_same_weights(both):
    with torch.inference_mode():
        found = both.step(frames=2, count=1)
    assert found["most_apart"] < 1e-4
    assert min(found["ours_s"] + found["theirs_s"]) > 0


def test_a_clip_is_redubbed_where_its_face_is_and_nothing_is_remembered(both, clip):
    remembered = len(whisper.KEPT)
    with torch.inference_mode():
        made, again = (redubbed(both.method(parsed=False), clip) for _ in range(2))
    assert made.shape == clip.pictures.shape
    assert torch.equal(made, again)
    changed = (made != clip.pictures).any(-1)
    assert changed.flatten(1).any(1).all()
    assert not changed[:, :40].any()
    assert len(whisper.KEPT) == remembered


def test_the_original_of_latentsync_is_told_the_same_points(clip):
    means = [latentsync.landmarks(clip)[:, list(group)].mean(1) for group in latentsync.POINTS]
    assert np.allclose(np.stack(means, 1), three_points(clip.track))
    assert np.isfinite(matrices(clip.track, 256, "original")).all()


def test_either_side_takes_its_turns():
    order = []
    found = turns(lambda: order.append("ours"), lambda: order.append("theirs"), 2)
    assert order == ["ours", "theirs"] * 2
    assert len(found["ours_s"]) == 3


@pytest.mark.slow
def test_musetalk_is_counted_at_its_published_size():
    with torch.no_grad():
        found = musetalk.counted(musetalk.Sizes())
    assert 0.99 < found["step_tflop_a_frame"]["ours_to_theirs"] <= 1
    assert found["step_mb"]["ours_to_theirs"] < 0.8
    assert found["batch_mb"]["ours_to_theirs"] < 0.52


# ---- checkouts


def test_what_is_unused_and_not_installed_is_stood_in_for(tmp_path):
    (tmp_path / "made_up_original.py").write_text("import made_up_needless\nimport json\nUSED = json.dumps(1)\n")
    names = ("made_up_needless", "json")
    with mock.patch.object(sys, "path", [*sys.path]), mock.patch.dict(sys.modules):
        open_checkout(tmp_path, "made_up_original.py", "somewhere", names)
        assert importlib.import_module("made_up_original").USED == "1"


def test_another_folder_is_refused(tmp_path):
    with pytest.raises(SystemExit, match=r"has no scripts/inference.py; expected a checkout of github.com/TMElyralab"):
        musetalk.open_original(tmp_path)


def test_without_a_checkout_there_is_nothing_to_compare(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["redub_methods"])
    with pytest.raises(SystemExit):
        main()
    assert "give --latentsync or --musetalk" in capsys.readouterr().err
