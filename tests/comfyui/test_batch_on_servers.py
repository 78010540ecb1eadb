"""A table on a ComfyUI server: the same films and keys as on this machine, also where another server is dead."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from joyhallo.commands import main
from joyhallo.commands.batch.graphs import LABELS, graph_of
from joyhallo.commands.batch.plain import needed
from joyhallo.commands.batch.table import Task
from joyhallo.commands.jobs import INPUTS, OPTIONS, Job
from joyhallo.film.marks import read_marks
from joyhallo.film.read import Film
from tools.comfyui.server import Client
from tools.comfyui.workflow import Graph
from tools.demo import speech_of
from tools.demo_model.bundle import FOLDER

NOBODY = "127.0.0.1:9"  # where nothing listens
HEAD = "picture,sound,output,seed,quality\n"


@pytest.fixture
def table(tmp_path, monkeypatch):
    """Text -> a table beside a portrait and a recording of 0.2 s."""
    monkeypatch.chdir(tmp_path)
    shutil.copy(FOLDER / "portrait.png", tmp_path)
    speech_of(0.2, FOLDER / "speech.wav", tmp_path / "你好.wav")
    (tmp_path / "broken.png").write_bytes(b"no picture")

    def table(text: str, name: str = "table.csv") -> Path:
        (tmp_path / name).write_text(text, encoding="utf-8")
        return tmp_path / name

    return table


def last(folder: Path) -> dict[str, dict[str, Any]]:
    lines = (folder / "manifest.jsonl").read_text(encoding="utf-8").splitlines()
    return {entry["file"]: entry for entry in map(json.loads, lines)}


def test_rows_are_the_same_on_a_server_and_a_dead_one_costs_none(server, table, tmp_path, capsys):
    path = table(f"{HEAD}portrait.png,你好.wav,王 1.mp4,1,small\nportrait.png,你好.wav,2.mkv,2,small\n")
    assert main(["batch", str(path), "-o", "here"]) == 0
    given = ["batch", str(path), "-o", "there", "--servers", f"{NOBODY},{server.url}"]
    assert main(given) == 0
    here, there = last(tmp_path / "here"), last(tmp_path / "there")
    assert {name: entry["key"] for name, entry in there.items()} == {name: entry["key"] for name, entry in here.items()}
    assert {entry["server"] for entry in there.values()} == {server.url}
    for name in here:
        films = [Film(tmp_path / folder / name) for folder in ("here", "there")]
        one, other = (np.stack(list(film.pictures())) for film in films)
        assert np.array_equal(one, other)
        assert films[0].sound()[0].equal(films[1].sound()[0])
        assert read_marks(tmp_path / "here" / name) == read_marks(tmp_path / "there" / name)
    assert "127.0.0.1:9 does not answer" in capsys.readouterr().err
    lines = (tmp_path / "there" / "manifest.jsonl").read_bytes()
    assert main(given) == 0
    assert (tmp_path / "there" / "manifest.jsonl").read_bytes() == lines, "nothing is made again"
    (tmp_path / "there" / "2.mkv").unlink()
    Client(server.url).post("/history", {"clear": True})
    assert main(given) == 0, "what a server finds in its memory is as good as made"


def test_a_workflow_is_filled_and_a_nodes_error_is_that_of_its_row(server, table, tmp_path):
    graph = Graph()
    sound = graph.add("LoadAudio", audio="none.wav")[0]
    picture = graph.add("LoadImage", image="none.png")[0]
    still = dict.fromkeys(("strength", "expressiveness", "blinks", "sway"), 1.0)
    video = graph.add("PuppetPortrait", image=picture, audio=sound, seed=1, **still)[0]
    graph.add("SaveTalkingVideo", video=video, fps=25.0, filename_prefix="a", format="mp4", quality="small")
    for node, title in zip(graph.values(), ("Sound", "Picture", "Puppet", "Save"), strict=True):
        node["_meta"] = {"title": title}
    workflow = tmp_path / "workflow.json"
    workflow.write_text(json.dumps(graph), encoding="utf-8")
    path = table("Sound.audio,Picture.image,#3.seed,output\n你好.wav,portrait.png,4,a.mp4\n你好.wav,broken.png,5,b\n")
    assert main(["batch", str(path), "-o", "films", "--servers", server.url, "--workflow", str(workflow)]) == 1
    made = last(tmp_path / "films")
    assert (made["a.mp4"]["state"], made["a.mp4"]["frames"]) == ("done", 5)
    assert (made["b.mp4"]["state"], "Picture: " in made["b.mp4"]["error"]) == ("failed", True)
    assert len(list(Film(tmp_path / "films" / "a.mp4").pictures())) == 5
    assert not (tmp_path / "films" / "b.mp4").exists()


DEMO = dict.fromkeys(("checkpoint", "audio_encoder", "face_models", "vae"), "demo")
KEYFRAMES = {"lip_weight": "0: 1, 0.5: 0.2", "rest_in_pauses": True, "background": Path("b.mp4"), "square": True}
PAINTED = {"lip_mask": Path("l.png"), "face_mask": Path("f.png")}


@pytest.mark.parametrize(
    ("kind", "options", "models"),
    [
        ("talk", PAINTED, {}),
        ("talk", {"model": Path("demo"), "which_face": "0", "identity": "neutral", **PAINTED}, DEMO),
        ("talk", {"model": Path("demo"), **KEYFRAMES}, DEMO),
        ("redub", {"mask": Path("m.png"), "reference": Path("r.png")}, {"model": "wav2lip/wav2lip_gan.pth"}),
    ],
)
def test_nodes_know_all_that_rows_ask_of_them(server, kind, options, models):
    usual = {option.name: option.default for option in OPTIONS[kind]}
    job = Job(kind, dict.fromkeys(INPUTS[kind], FOLDER / "portrait.png"), usual | options, Path("a.mp4"))
    graph, nodes = graph_of(job, lambda _, path: path, "name", models), Client(server.url).nodes()
    assert {node["class_type"] for node in graph.values()} <= needed([Task(1, job)])
    for node in graph.values():
        specs, given = nodes[node["class_type"]]["input"], node["inputs"]
        assert specs["required"].keys() <= given.keys() <= specs["required"].keys() | specs.get("optional", {}).keys()
        for name, value in given.items():
            wanted, *facts = (specs["required"] | specs.get("optional", {}))[name]
            if isinstance(value, list):
                assert nodes[graph[value[0]]["class_type"]]["output"][value[1]] in str(wanted).split(",")
            elif not isinstance(value, Path) and (choices := wanted if isinstance(wanted, list) else (
                    facts[0].get("options") if facts else None)):  # fmt: skip
                assert value in choices, name


def test_what_rows_say_of_labels_are_choices_of_the_node(server):
    labels = Client(server.url).nodes()["SaveTalkingVideo"]["input"]["optional"]["label"][1]["options"]
    assert set(labels) == set(LABELS.values())
