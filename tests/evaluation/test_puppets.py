"""A photograph that speaks, seen by a face mesh that we did not write."""

from __future__ import annotations

import json
from dataclasses import replace

import mesh as true_mesh
import numpy as np
import pytest
import torch

from joyhallo.config import FPS, SAMPLE_RATE
from joyhallo.evaluation import __main__ as evaluation
from joyhallo.evaluation import puppets
from joyhallo.evaluation.puppets import MARKS, clips, figures, measured, report
from joyhallo.faces.find import FaceMesh
from joyhallo.film.write import write
from joyhallo.libraries import LibraryError
from joyhallo.methods.puppet.hearing import open_ear


@pytest.fixture(scope="module")
def speech():
    try:
        return clips(open_ear(), 2, 2.0, 3)
    except LibraryError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def finder(tmp_path_factory):
    task = tmp_path_factory.mktemp("task") / "face_landmarker.task"
    task.write_bytes(true_mesh.task())
    with FaceMesh(task).at_work() as found:
        yield found


def test_a_photograph_speaks_as_its_speech_does(speech, finder):
    model = puppets.Model.of("astronaut", puppets.astronaut(), finder)
    found = figures(model, speech, finder)
    assert found["opening"] > 0.75
    assert found["opening by the truth"] > 0.85
    assert abs(found["opening, shuffled"]) < 0.45
    assert 0.75 < found["range"] < 1.25
    assert 0.8 < found["sharpness"] < 1.2
    assert found["changed outside"] == 0


def test_a_mesh_tells_opening_and_width():
    mesh = np.zeros((2, 478, 2))
    mesh[:, puppets.EYES[1], 0] = 10
    mesh[1, puppets.MIDDLE_DOWN, 1] = 2
    mesh[:, puppets.CORNERS[1], 0] = 4
    opening, spread = measured(mesh)
    assert opening.tolist() == [0, 0.2]
    assert spread.tolist() == [0.4, 0.4]


def test_closures_that_are_not_seen_are_counted(speech):
    clip = max(speech, key=lambda one: sum(phoneme.name in ("p", "ph", "b", "m") for phoneme in one.said.phonemes))
    seen = puppets.Seen(clip.truth.opening.numpy().astype(float), clip.truth.spread.numpy(), 1.0, 0.0)
    told = puppets._closed(seen, clip)
    assert told
    assert np.mean(told) > 0.9
    open_all_the_time = replace(seen, opening=np.where(seen.opening > 0.3, seen.opening, 0.3))
    open_all_the_time.opening[:6] = 0  # so that there is something shut to compare with
    assert np.mean(puppets._closed(open_all_the_time, clip)) < 0.5


def test_a_missed_mark_is_told_and_fails_the_command():
    good = {name: (max(mark.least, -1e3) + min(mark.most, 1e3)) / 2 for name, mark in MARKS.items()} | {
        "opening": 0.95,
        "spread": 0.9,
        "closures": 1.0,
    }
    assert report({"one": good})[1]
    table, met = report({"one": good | {"opening": 0.5}})
    assert not met
    assert next(line for line in table.splitlines() if "missed" in line).startswith("opening ")


def test_silence_is_quiet_and_settled(speech):
    clip = speech[0]
    quiet = replace(clip.truth, loudness=torch.full_like(clip.truth.loudness, -90), opening=clip.truth.opening * 0)
    seen = puppets.Seen(np.linspace(0, 1, len(quiet)), np.zeros(len(quiet)), 1.0, 0.0)
    told = puppets._in_silence(seen, replace(clip, truth=quiet))
    assert len(told) == len(quiet) - puppets.SETTLING
    assert told[-1] > 0.9


def test_the_evaluation_finds_a_puppet_in_sync(speech, finder, tmp_path):
    """What stands guard over the puppet: scored as any film would be, by the mesh and the bundled lip reader."""
    model = puppets.Model.of("astronaut", puppets.astronaut(), finder)
    films = tmp_path / "films"
    films.mkdir()
    for number, clip in enumerate(speech):
        frames = torch.stack(list(model.film(clip.heard, number)))
        write(films / f"{number}.mp4", iter(frames.split(8)), FPS, (clip.said.samples[None], SAMPLE_RATE))
    task = tmp_path / "face_landmarker.task"
    task.write_bytes(true_mesh.task())
    names = "lip_sync,lip_offset,opening_follows,face_seen"
    given = ["--landmarker", str(task), "--metrics", names, "-o", str(tmp_path / "out"), "--workers", "0"]
    assert evaluation.main([str(films), *given]) == 0
    found = json.loads((tmp_path / "out" / "results.json").read_text())
    assert [clip["values"]["lip_offset"] for clip in found["clips"]] == [0] * len(speech)
    assert all(clip["values"]["lip_sync"] > 0.3 for clip in found["clips"])
    assert not found["measures"]["lip_sync"]["says_nothing"]
    assert found["measures"]["face_seen"]["value"] == 1
