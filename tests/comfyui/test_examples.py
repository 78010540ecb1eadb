"""The pack's own pictures, speech and film: there when a prompt names them, and nobody's files are touched."""

import json
import urllib.request

import pytest

from tools.comfyui.workflow import Graph
from tools.demo_model.bundle import FOLDER


@pytest.fixture
def examples(pack, tmp_path, monkeypatch):
    import folder_paths

    monkeypatch.setattr(folder_paths, "get_input_directory", lambda: str(tmp_path / "input"))
    return pack.nodes.examples


def prompt(**inputs):
    return {"prompt": {"1": {"class_type": "LoadImage", "inputs": inputs}}}


def test_a_prompt_gets_the_examples_it_names_and_no_more(examples, tmp_path):
    body = prompt(image="joyhallo_portrait.png", other=["2", 0])
    assert examples.before_prompt(body) == prompt(image="joyhallo_portrait.png", other=["2", 0])
    (there,) = (tmp_path / "input").iterdir()
    assert (there.name, there.read_bytes()) == ("joyhallo_portrait.png", (FOLDER / "portrait.png").read_bytes())


@pytest.mark.parametrize(
    "body", [{}, {"prompt": []}, {"prompt": {"1": 3}}, {"prompt": {"1": {"inputs": None}}}, prompt()]
)
def test_nothing_is_written_for_other_prompts(examples, tmp_path, body):
    assert examples.before_prompt(body) is body
    examples.before_prompt(prompt(image="portrait.png", other="../joyhallo_portrait.png"))
    assert not (tmp_path / "input").exists()


def test_what_the_user_has_under_the_name_stays(examples, tmp_path):
    mine = tmp_path / "input" / "joyhallo_speech.wav"
    mine.parent.mkdir()
    mine.write_bytes(b"mine")
    assert examples.provide(examples.EXAMPLES) == list(examples.EXAMPLES)
    assert mine.read_bytes() == b"mine"
    assert {file.name for file in mine.parent.iterdir()} == set(examples.EXAMPLES)


def test_a_folder_that_cannot_be_written_to_is_no_crash(examples, tmp_path, caplog):
    (tmp_path / "input").write_text("a file where a folder should be")
    examples.before_prompt(prompt(image="joyhallo_portrait.png"))
    assert "joyhallo_portrait.png cannot be written" in caplog.text


def test_a_prompt_from_anywhere_runs_with_them(client, server):
    place = server.base / "input" / "joyhallo_couple.png"
    place.unlink(missing_ok=True)
    graph = Graph()
    graph.add("PreviewImage", images=graph.add("LoadImage", image=place.name)[0])
    assert client.run(graph).status == "success"
    assert place.exists()


def test_load_video_takes_the_film(client, server):
    (server.base / "input" / "joyhallo_clip.mp4").unlink(missing_ok=True)
    graph = Graph()
    parts = graph.add("GetVideoComponents", video=graph.add("LoadVideo", file="joyhallo_clip.mp4")[0])
    graph.add("PreviewImage", images=parts[0])
    assert client.run(graph).status == "success"
    assert "joyhallo_clip.mp4" in client.nodes()["LoadVideo"]["input"]["required"]["file"][1]["options"]


def test_the_page_gets_them_all(server):
    asked = urllib.request.Request(f"{server.url}/joyhallo/examples", b"", method="POST")
    with urllib.request.urlopen(asked, timeout=60) as reply:
        names = json.load(reply)
    ours = ("portrait.png", "couple.png", "couple_masks.png", "speech.wav", "clip.mp4", "late.mp4")
    assert names == [f"joyhallo_{name}" for name in ours]
    assert all((server.base / "input" / name).exists() for name in names)
