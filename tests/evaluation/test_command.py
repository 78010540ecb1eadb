"""The whole command on films of drawn people, whose sound is early or late by what we planted."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from shared import REPOSITORY
from torch.nn import functional as F

from joyhallo.config import FPS, SAMPLE_RATE
from joyhallo.drawn.drawing import Sitter, look_of
from joyhallo.drawn.speaking import monologue
from joyhallo.drawn.synthesize import poses
from joyhallo.evaluation import __main__ as command
from joyhallo.evaluation.clips import Clip
from joyhallo.evaluation.examine import lost
from joyhallo.evaluation.records import Records
from joyhallo.film.write import write
from joyhallo.libraries import LibraryError
from joyhallo.measures.syncnet import published
from joyhallo.work import DIED

SAMPLES = SAMPLE_RATE // FPS
PLANTED = {"a.mp4": 0, "b.mp4": 3, "c.mp4": -4}  # frames by which the sound is early
SECONDS, SIZE = 4, 160
NAMES = "lip_sync,lip_offset,smooth_linear,flicker,psnr,ssim,drift"


@dataclass(frozen=True)
class Laid:
    folder: Path
    box: str


@pytest.fixture(scope="module")
def films(tmp_path_factory) -> Laid:
    folder, boxes = tmp_path_factory.mktemp("films"), []
    for number, (name, early) in enumerate(PLANTED.items()):
        dice = np.random.default_rng([5, number])
        try:
            said = monologue(dice, "validation", SECONDS * FPS, number % 2, 0.8)
        except LibraryError as error:
            pytest.skip(str(error))
        sitter, moving = Sitter(look_of(dice), SIZE), poses(said.motion, dice)
        frames = torch.stack([torch.from_numpy(sitter.picture(pose).copy()) for pose in moving]).float() / 255
        boxes.append([(box.left, box.top, box.right, box.bottom) for box in map(sitter.face, moving)])
        sound = F.pad(said.samples, (-early * SAMPLES, early * SAMPLES))
        write(folder / name, iter(frames.split(8)), FPS, (sound[None], SAMPLE_RATE))
    left, top, right, bottom = np.concatenate(boxes).mean(0)
    return Laid(folder, f"{left:.0f},{top:.0f},{right:.0f},{bottom:.0f}")


def evaluated(films: Laid, out: Path, *more: str) -> int:
    given = ["--box", films.box, "--metrics", NAMES, "-o", str(out), "--workers", "0", *more]
    return command.main([str(films.folder), *given])


def results(out: Path) -> dict:
    found = json.loads((out / "results.json").read_text())
    return {name: found[name] for name in ("schema", "measures", "clips")}


@pytest.fixture(scope="module")
def outcome(films, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("outcome")
    assert evaluated(films, out, "--truth", str(films.folder)) == 0
    return out


def test_planted_offsets_are_found_and_controls_fall(outcome):
    found = results(outcome)
    assert {clip["name"]: clip["values"]["lip_offset"] for clip in found["clips"]} == PLANTED
    sync = found["measures"]["lip_sync"]
    assert not sync["says_nothing"]
    assert sync["controls"]["still"] < 0.05 < sync["controls"]["shuffled"] + 0.1 < sync["value"]
    assert sync["controls"]["truth"] == sync["value"]  # it was given as its own truth


def test_a_still_control_silences_what_stillness_wins(outcome):
    told = results(outcome)["measures"]
    assert all("still" in told[name]["says_nothing"] for name in ("smooth_linear", "flicker"))


def test_a_film_equals_itself(outcome):
    found = results(outcome)
    assert found["measures"]["ssim"]["value"] == 1
    assert all("equal to the truth" in clip["missing"]["psnr"] for clip in found["clips"])


def test_the_page_needs_nothing_else(outcome):
    page = (outcome / "report.html").read_text()
    assert page.count("data:image/jpeg;base64,") == len(PLANTED)
    assert "http" not in page
    assert "<script" not in page


def test_processes_that_are_stopped_go_on_and_end_as_an_undisturbed_run(films, outcome, tmp_path, monkeypatch):
    made = []

    def stopping(done, total, record):
        made.append(record.name)
        if len(made) == 1:
            raise KeyboardInterrupt

    monkeypatch.setattr(command, "_show", stopping)
    given = ("--truth", str(films.folder), "--workers", "2")
    assert evaluated(films, tmp_path, *given) == 130
    assert evaluated(films, tmp_path, *given) == 0
    assert sorted(made) == sorted(PLANTED)  # each once
    assert len(Records(tmp_path).read()) == len(PLANTED)
    assert results(tmp_path) == results(outcome)  # made in one process


def test_a_clip_whose_process_died_is_measured_the_next_time(films, outcome, tmp_path):
    out = Path(shutil.copytree(outcome, tmp_path / "out"))
    (first, *_) = Records(out).read().values()
    Records(out).add(lost(Clip(first.name, films.folder / first.name), first.key, DIED))
    assert evaluated(films, out, "--truth", str(films.folder)) == 0
    assert results(out) == results(outcome)
    assert not Records(out).read()[first.key].lost


def test_what_is_broken_or_without_sound_costs_the_others_nothing(films, tmp_path, capsys):
    folder = tmp_path / "films"
    folder.mkdir()
    whole = (films.folder / "a.mp4").read_bytes()
    (folder / "a.mp4").write_bytes(whole)
    (folder / "broken.mp4").write_bytes(whole[:500])
    (folder / "torn.mp4").write_bytes(whole[: len(whole) // 2])
    write(folder / "one.mp4", iter([torch.rand(1, SIZE, SIZE, 3)]), FPS, None)
    write(folder / "silent.mp4", iter([torch.rand(50, SIZE, SIZE, 3)]), FPS, None)
    assert evaluated(Laid(folder, films.box), tmp_path / "out") == 1
    clips = {clip["name"]: clip for clip in results(tmp_path / "out")["clips"]}
    assert "cannot be used" in clips["broken.mp4"]["failed"]
    assert clips["a.mp4"]["values"]["lip_offset"] == 0
    assert "no sound" in clips["silent.mp4"]["missing"]["lip_sync"]
    assert {"flicker", "smooth_linear", "lip_sync"} <= set(clips["one.mp4"]["missing"])
    assert "cannot be decoded" in " ".join(clips["torn.mp4"]["notes"])
    assert results(tmp_path / "out")["measures"]["flicker"]["clips_with_it"] == 3
    assert "broken.mp4: The video cannot be used" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (["nowhere"], "nowhere does not exist"),
        ([".", "--metrics", "sinc_c"], "'sinc_c', which is no measure"),
        ([".", "--box", "3,4"], "expected four numbers"),
        ([".", "--weights", "nowhere"], "where weights should be, does not exist"),
        ([".", "--landmarker", "nowhere"], "There is no file nowhere"),
    ],
)
def test_mistakes_are_told_before_any_work(films, tmp_path, monkeypatch, capsys, given, told):
    monkeypatch.chdir(films.folder)
    assert command.main([*given, "-o", str(tmp_path)]) == 2
    assert told in capsys.readouterr().err


def test_weights_that_are_not_there_are_told_with_their_place(films, tmp_path, capsys):
    given = ["--box", films.box, "--metrics", "sync_c,flicker", "-o", str(tmp_path), "--workers", "0"]
    assert command.main([str(films.folder / "a.mp4"), *given]) == 0
    assert "not there: SyncNet: put syncnet_v2.model (54 MB" in capsys.readouterr().out
    assert command.main([str(films.folder / "a.mp4"), *given, "--strict"]) == 1


def test_a_judge_of_others_is_known_by_its_contents_and_doubts_short_clips(films, tmp_path, capsys):
    dice = torch.Generator().manual_seed(0)
    state = {name: 0.02 * torch.randn(shape, generator=dice) for name, shape in published().items()}
    state |= {name: torch.ones_like(tensor) for name, tensor in state.items() if name.endswith("running_var")}
    torch.save(state, tmp_path / "somebody.pth")
    sound = 0.1 * torch.randn(1, 42 * SAMPLES, generator=dice)
    write(tmp_path / "short.mp4", iter([torch.rand(42, SIZE, SIZE, 3)]), FPS, (sound, SAMPLE_RATE))
    given = ["--box", films.box, "--metrics", "sync_c,sync_offset", "--weights", str(tmp_path), "--workers", "0"]
    assert command.main([str(tmp_path / "short.mp4"), *given, "-o", str(tmp_path / "out")]) == 0
    (clip,) = results(tmp_path / "out")["clips"]
    assert clip["controls"].keys() == {"still", "shuffled", "shifted"}
    told = capsys.readouterr().out
    assert "37 windows only, too few" in told
    assert "its face is too small" in told


def test_help_shows_how():
    told = subprocess.run(
        [sys.executable, "-m", "joyhallo.evaluation", "--help"], cwd=REPOSITORY, capture_output=True, text=True
    )
    assert told.returncode == 0
    assert "films/ --landmarker face_landmarker.task" in told.stdout
