"""Every example workflow and blueprint: explained, made of nodes that are there, and running to the end.

They run as they are, with small models under the names of the real ones (`stock.py`); size, steps, pictures and sound
are made small.
"""

from __future__ import annotations

import io
import json
import re
import shutil
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from comfy_lint import Diagnostic, lint_workflow
from comfy_lint.schema import normalize
from mesh import mesh
from PIL import Image
from stock import stock

from joyhallo.film.read import Film
from joyhallo.film.write import write
from joyhallo.sound.audio import prepare
from tools.comfyui.server import ROOT, Client, Run
from tools.comfyui.workflow import NEVER, NOTES, as_prompt, widgets
from tools.demo import speech_of
from tools.demo_model.bundle import FOLDER

WORKFLOWS = {path.stem: path for path in sorted((ROOT / "example_workflows").glob("*.json"))}
BLUEPRINTS = {path.stem: path for path in sorted((ROOT / "subgraphs").glob("*.json"))}
EXPECTED = {
    *("quick_start", "long_video", "edit_masks", "paste_back", "two_speakers", "upscale_and_background"),
    *("hallo", "demo", "puppet", "animatic", "redub", "redub_another_model", "sharper_lips"),
    *("redub_latentsync", "redub_musetalk", "restore_faces", "which_is_better", "align_sound"),
}
SCORING = ("which_is_better", "align_sound")  # whose nodes take films as they are
CONTROLS = {  # of each blueprint, with values other than those it is saved with
    "Talking portrait": {
        "which_face": "0",
        "seed": 7,
        "preset": "draft",
        "lip_weight": 0.5,
        "size": 128,
        "picture": "square",
    },
    "Redub lips": {
        "model": "wav2lip/wav2lip_gan.pth",
        "which_face": "most central",
        "when_video_is_short": "loop",
        "sync_offset": 0.0,
        "blend": "feather",
        "silence": "source",
        "strength": 0.5,
    },
}
OURS, COMFYUIS = "custom_nodes.ComfyUI-JoyHallo", ("nodes", "comfy_extras.")
CHINESE = re.compile("[\u4e00-\u9fff]")
RANGES = {"INT": int, "FLOAT": (int, float), "STRING": str, "BOOLEAN": bool}
SMALL = {"JoyHalloSampler": {"size": 64, "steps": 2, "resume": False}, "LoadAudio": {"audio": "brief.wav"}}
SMALL |= {
    "LoadVideo": {"file": "brief.mp4"},
    "RedubLips": {"resume": False, "steps": 1, "guidance": 1.0},
    "CutFaces": {"size": 64},
    "ImageScale": {"width": 128},
}
DRAWS_A_FACE = {  # of random weights nobody would find one
    "LoadJoyHalloModels": dict.fromkeys(("checkpoint", "audio_encoder", "face_models", "vae"), "demo"),
    "FaceMaskPrep": {"identity": "neutral"},
    "JoyHalloSampler": {"size": 128, "preset": "exact", "steps": 2, "cfg": 1.0, "resume": False},
}
GIVEN = ("LoadImage", "LoadAudio", "LoadVideo", "UpscaleModelLoader")  # list what the user has
BRIEF = 12  # frames of the film, which is then shown more than once
FRAMES = 22  # two chunks; a second person speaks from frame 20 on

Graph = dict[str, Any]


def read(path: Path) -> Graph:
    return json.loads(path.read_text(encoding="utf-8"))


@pytest.fixture(params=WORKFLOWS)
def workflow(request) -> Graph:
    return read(WORKFLOWS[request.param])


@pytest.fixture(scope="module")
def stocked(server):
    """The server's folders with small models; without them again for the tests that follow."""
    folder = stock(server.base)
    inputs = server.base / "input"
    speech_of(FRAMES / 25, inputs / "speech.wav", inputs / "brief.wav")
    write(inputs / "brief.mp4", [next(Film(FOLDER / "clip.mp4").frames(at_once=BRIEF))], 25)
    for name in ("portrait", "couple"):
        picture = Image.open(inputs / f"{name}.png")
        picture.resize((picture.width // 2, picture.height // 2)).save(inputs / f"small_{name}.png")
    yield
    for place in folder.iterdir():
        if place.is_dir():
            shutil.rmtree(place)
    for file in (server.base / "models" / "upscale_models").iterdir():  # ComfyUI asks for a folder that it saw
        file.unlink()
    Client(server.url).free()


@pytest.fixture(scope="module")
def nodes(stocked, server):
    """With the names of the examples among the choices, as the page sees to when it opens a template."""
    Client(server.url).post("/joyhallo/examples", {})
    return Client(server.url).nodes()


def test_there_is_one_for_each_use():
    assert WORKFLOWS.keys() >= EXPECTED
    assert BLUEPRINTS


def test_it_says_what_it_is_in_two_languages(workflow):
    notes = [node["widgets_values"][0] for node in workflow["nodes"] if node["type"] == "MarkdownNote"]
    assert all(note.startswith("## ") for note in notes)
    assert {bool(CHINESE.search(note)) for note in notes} == {True, False}
    assert all("output/video" in note for note in notes)
    assert not any("`" in note for note in notes)  # hardly readable in Nodes 2.0


@pytest.mark.parametrize("name", WORKFLOWS)
def test_it_has_a_picture_in_the_list_of_templates(name):
    file = WORKFLOWS[name].with_suffix(".jpg")
    assert file.stat().st_size < 60_000
    picture = Image.open(file)
    assert (picture.format, picture.width) == ("JPEG", 640)
    assert np.asarray(picture).std() > 20


def test_nothing_on_the_canvas_lies_upon_another(workflow):
    boxes = [(*node["pos"], *node["size"]) for node in workflow["nodes"]]
    for number, (x, y, width, height) in enumerate(boxes):
        for left, top, across, down in boxes[:number]:
            beside = x >= left + across or left >= x + width
            assert beside or y - 30 >= top + down or top - 30 >= y + height  # titles lie above


# ---- what is on the canvas


def graphs(workflow: Graph) -> list[Graph]:
    return [workflow, *workflow.get("definitions", {}).get("subgraphs", [])]


@pytest.mark.parametrize("path", [*WORKFLOWS.values(), *BLUEPRINTS.values()], ids=lambda path: path.stem)
def test_nodes_are_there_and_their_widgets_hold_what_they_may(path, nodes):
    workflow = read(path)
    inner = {graph["id"] for graph in graphs(workflow)}
    for node in (node for graph in graphs(workflow) for node in graph["nodes"]):
        if node["type"] in NOTES or node["type"] in inner:
            continue
        about = nodes[node["type"]]
        assert about["python_module"] == OURS or about["python_module"].startswith(COMFYUIS), node["type"]
        assert not any(about.get(kind) for kind in ("deprecated", "experimental", "api_node")), node["type"]
        check_values(node, about)


def check_values(node: Graph, about: Graph) -> None:
    declared = {**about["input"].get("required", {}), **about["input"].get("optional", {})}
    assert {put["name"] for put in node["inputs"]} >= set(declared) - {"upload"}, node["type"]
    names = list(widgets(about))
    held = node.get("widgets_values", [])
    assert len(held) >= len(names), node["type"]
    for name, value in zip(names, held, strict=False):
        if name is None:
            assert value == "fixed"  # a second run with nothing changed has nothing to do
            continue
        kind, *more = declared[name]
        limits = more[0] if more else {}
        if isinstance(kind, list) or kind == "COMBO":
            if node["type"] not in GIVEN:
                assert value in (kind if isinstance(kind, list) else limits["options"]), (node["type"], name, value)
        else:
            assert isinstance(value, RANGES[kind]), (node["type"], name, value)
            assert limits.get("min", value) <= value <= limits.get("max", value), (node["type"], name, value)


NOSE_TIP, UPPER_LIP = 1, 0  # of the mesh
LOADING = ("LoadImage", "LoadAudio", "LoadVideo")


def test_only_ready_inputs_are_named(workflow):
    """The pictures, the speech and the film that the pack brings; models are listed on the loader, not by the page."""
    held = [node["widgets_values"][0] for node in workflow["nodes"] if node["type"] in LOADING]
    assert held
    assert all((FOLDER / name.removeprefix("joyhallo_")).exists() for name in held)
    assert not any("models" in node.get("properties", {}) for node in workflow["nodes"])
    loaders = [node for node in workflow["nodes"] if node["type"] == "LoadJoyHalloModels"]
    loaders += [node for node in workflow["nodes"] if node["type"] == "LoadRedubModel"]
    assert not any(
        value is True for loader in loaders for value in loader["widgets_values"]
    )  # nobody downloads by looking


def test_an_app_shows_two_inputs_and_the_video():
    films = "redub", "redub_latentsync", "redub_musetalk"
    for name in ("demo", "quick_start", "puppet", "animatic", "redub_another_model", *films):
        workflow = read(WORKFLOWS[name])
        kinds, app = {node["id"]: node["type"] for node in workflow["nodes"]}, workflow["extra"]["linearData"]
        assert [(kinds[node], widget) for node, widget in app["inputs"]] == [
            ("LoadVideo", "file") if name in films else ("LoadImage", "image"),
            ("LoadAudio", "audio"),
        ]
        assert [kinds[node] for node in app["outputs"]] == ["SaveTalkingVideo"]
        assert app["outputs"][0] in {node["id"] for node in workflow["nodes"] if node["mode"] == 0}


def test_a_linter_that_knows_the_nodes_finds_nothing(workflow, nodes):
    prompt, known = as_prompt(workflow, nodes), normalize(nodes)
    assert [one for one in lint_workflow(prompt, known) if not takes_several(prompt, nodes, one)] == []
    choices = {"SaveTalkingVideo": "quality", "ScoreVideo": "measures"}
    chosen = next(node for node in prompt.values() if node["class_type"] in choices)
    chosen["inputs"][choices[chosen["class_type"]]] = "perfect"
    assert lint_workflow(prompt, known)


def takes_several(prompt: dict[str, Any], nodes: Graph, found: Diagnostic) -> bool:
    """The linter does not know inputs of several types, such as VIDEO,IMAGE."""
    if found.rule != "type-mismatch":
        return False
    node = prompt[found.node_id]
    source, slot = node["inputs"][found.field]
    taken = nodes[node["class_type"]]["input"]["required"][found.field][0]
    return nodes[prompt[source]["class_type"]]["output"][slot] in taken.split(",")


# ---- running them


def made_small(prompt: dict[str, Any]) -> dict[str, Any]:
    kinds = {node["class_type"] for node in prompt.values()}
    small = SMALL | DRAWS_A_FACE if kinds >= {"JoyHalloSampler", "RedubLips"} else SMALL
    known = small is not SMALL or any(
        node["inputs"].get("face_models") == "demo" or node["class_type"] == "PuppetPortrait"
        for node in prompt.values()
    )  # as they are, by content
    for node in prompt.values():
        node["inputs"].update(small.get(node["class_type"], {}))
        if str(node["inputs"].get("model")).startswith("latentsync"):
            node["inputs"]["version"] = "1.5"  # of half as many pixels a side
        if node["class_type"] == "LoadImage" and not known:
            node["inputs"]["image"] = node["inputs"]["image"].replace("joyhallo_", "small_")
    return prompt


def check_run(server, prompt: dict[str, Any]) -> None:
    run = Client(server.url).run(made_small(prompt))
    assert run.status == "success", run.message
    (saving,) = (number for number, node in prompt.items() if node["class_type"] == "SaveTalkingVideo")
    (saved,) = run.files(saving)
    with av.open(str(server.base / "output" / saved["subfolder"] / saved["filename"])) as video:
        frames = [frame.to_ndarray(format="rgb24") for frame in video.decode(video=0)]
    with av.open(str(server.base / "output" / saved["subfolder"] / saved["filename"])) as video:
        heard = np.concatenate([frame.to_ndarray() for frame in video.decode(audio=0)], axis=1)
    assert len(frames) == FRAMES
    assert np.ptp(np.stack(frames).astype(int), axis=0).max() > 20  # something moves
    assert np.abs(heard).max() > 0.1


@pytest.mark.parametrize("name", [name for name in WORKFLOWS if name not in SCORING])
def test_it_runs_to_the_end(name, nodes, server):
    check_run(server, as_prompt(read(WORKFLOWS[name]), nodes))


def run_as_it_is(server, nodes, name: str, kind: str) -> tuple[Run, str]:
    """The run, and the number of the node that saves."""
    prompt = as_prompt(read(WORKFLOWS[name]), nodes)
    run = Client(server.url).run(prompt)
    assert run.status == "success", run.message
    (saving,) = (number for number, node in prompt.items() if node["class_type"] == kind)
    return run, saving


def test_of_two_films_the_one_whose_lips_fit_is_better(nodes, server):
    run, saving = run_as_it_is(server, nodes, "which_is_better", "EvaluationReport")
    (table,) = run.files(saving)
    assert Image.open(io.BytesIO(Client(server.url).view(table))).width >= 768
    told = json.loads(newest(server.base / "output" / "video", "json").read_text(encoding="utf-8"))
    first, second = told["videos"]
    assert [first["name"], second["name"]] == ["joyhallo_late", "joyhallo_clip"]
    assert told["measures"]["lip_sync"]["best"] == ["joyhallo_late"]
    assert first["values"]["lip_offset"] == 0
    assert "lip_sync" not in first["says_nothing"]
    assert second["values"]["flicker"] > 0.9
    assert newest(server.base / "output" / "video", "csv").read_text(encoding="utf-8").count("\n") == 3


def newest(folder: Path, ending: str) -> Path:
    return max(folder.glob(f"*.{ending}"), key=lambda file: file.stat().st_mtime)


def test_a_late_sound_is_saved_where_it_belongs(nodes, server):
    run, saving = run_as_it_is(server, nodes, "align_sound", "SaveTalkingVideo")
    (saved,) = run.files(saving)
    film, given = (Film(server.base / "output" / saved["subfolder"] / saved["filename"]), Film(FOLDER / "late.mp4"))
    heard, before = (prepare(*one.sound()).samples.numpy() for one in (film, given))
    moved = np.correlate(before[2560:60_000], heard[: 60_000 - 5120])  # 0: it begins 4 frames earlier
    assert moved.argmax() == pytest.approx(0, abs=30)
    assert len(list(film.pictures())) == 100


def test_only_the_mouth_is_made_anew(nodes, server):
    """What the network makes of random weights is noise; around the mouth the film is as it came in."""
    prompt = made_small(as_prompt(read(WORKFLOWS["redub"]), nodes))
    (number,) = (number for number, node in prompt.items() if node["class_type"] == "SaveTalkingVideo")
    prompt[number]["inputs"] |= {"format": "mkv", "quality": "small"}
    run = Client(server.url).run(prompt)
    assert run.status == "success", run.message
    (saved,) = run.files(number)
    made = next(Film(server.base / "output" / saved["subfolder"] / saved["filename"]).frames(at_once=FRAMES))
    given = next(Film(server.base / "input" / "brief.mp4").frames(at_once=BRIEF))
    changed = (made[:BRIEF] - given).abs().amax(-1) > 1 / 255
    for frame, film in zip(changed, given, strict=True):
        points = mesh((film.numpy() * 255).round().astype(np.uint8))
        rows, columns = (np.flatnonzero(frame.any(axis)) for axis in (1, 0))
        low, high = points.min(0), points.max(0)
        assert low[1] < points[NOSE_TIP, 1] - 30 < rows.min(), "not above the nose"
        assert rows.max() < high[1] + 40
        assert low[0] - 20 < columns.min() < points[UPPER_LIP, 0] < columns.max() < high[0] + 20
        assert frame[tuple(points[UPPER_LIP].round().astype(int)[::-1])]


def test_what_waits_in_the_animatic_runs_too_once_it_is_unmuted(nodes, server):
    workflow = read(WORKFLOWS["animatic"])
    (group,) = workflow["groups"]
    x, y, width, height = group["bounding"]
    for node in workflow["nodes"]:
        (left, top), (across, down) = node["pos"], node["size"]
        within = x < left and y < top and left + across < x + width and top + down < y + height
        assert (node["mode"] == NEVER) == within, node["type"]
        node["mode"] = 0
    prompt = as_prompt(workflow, nodes)
    videos = {node["inputs"]["video"][0] for node in prompt.values() if node["class_type"] == "SaveTalkingVideo"}
    assert {prompt[video]["class_type"] for video in videos} == {"PuppetPortrait", "JoyHalloSampler"}
    run = Client(server.url).run(made_small(prompt))
    assert run.status == "success", run.message


# ---- the blueprint


@pytest.mark.parametrize("name", BLUEPRINTS)
def test_comfyui_offers_the_blueprint(name, server):
    offered = json.loads(Client(server.url).get("/global_subgraphs"))
    assert [(one["name"], one["info"]["node_pack"]) for one in offered.values() if one["name"] == name] == [
        (name, OURS)
    ]


@pytest.mark.parametrize("name", BLUEPRINTS)
def test_the_blueprint_is_found_by_other_words(name):
    """By newer pages, which take a list."""
    words = read(BLUEPRINTS[name])["extra"]["BlueprintSearchAliases"]
    assert {"lip sync", "talking head", "数字人", "对口型"} <= set(words)
    assert len(set(words)) == len(words)


@pytest.mark.parametrize("name", BLUEPRINTS)
def test_the_blueprint_runs_with_its_controls(name, nodes, server):
    """Beside a picture or a film, and a sound; its controls reach the nodes within."""
    blueprint, chosen = read(BLUEPRINTS[name]), CONTROLS[name]
    (node,) = blueprint["nodes"]
    assert [put["name"] for put in node["inputs"] if "widget" in put] == list(chosen)
    node["id"] = 3
    for put, link in zip(node["inputs"], (1, 2), strict=False):
        put["link"] = link
    kind = node["inputs"][0]["type"]
    blueprint["nodes"] += [
        {"id": 1, **SHOWN[kind]},
        {"id": 2, "type": "LoadAudio", "widgets_values": ["joyhallo_speech.wav"]},
    ]
    blueprint["links"] = [[1, 1, 0, 3, 0, kind], [2, 2, 0, 3, 1, "AUDIO"]]
    node["widgets_values"] = list(chosen.values())
    if all(inner["type"] != "SaveTalkingVideo" for inner in blueprint["definitions"]["subgraphs"][0]["nodes"]):
        blueprint["nodes"].append({"id": 4, "type": "SaveTalkingVideo", "inputs": [{"name": "video", "link": 3}]})
        blueprint["nodes"][-1]["widgets_values"] = [25, "video/JoyHallo", "mp4", "high", "off"]
        blueprint["links"].append([3, 3, 0, 4, 1, "VIDEO"])
    prompt = as_prompt(blueprint, nodes)
    within = {name: value for one in prompt.values() for name, value in one["inputs"].items() if name in chosen}
    assert within == chosen
    check_run(server, prompt)


SHOWN = {
    "IMAGE": {"type": "LoadImage", "widgets_values": ["joyhallo_portrait.png", "image"]},
    "VIDEO": {"type": "LoadVideo", "widgets_values": ["joyhallo_clip.mp4", "image"]},
}
