"""The five nodes in a running ComfyUI."""

from __future__ import annotations

import io
import json
import time

import numpy as np
import pytest
from PIL import Image
from talking import Talking

from demo.__main__ import SAVING, WORKFLOW
from demo.workflow import as_prompt

NODES = ["ChineseWav2Vec2Encode", "FaceMaskPrep", "JoyHalloSampler", "LoadJoyHalloModels", "SaveTalkingVideo"]
SAMPLING = ["sampler", "save"]


@pytest.fixture
def run(client):
    def run(graph, *rest, status="success", **more):
        found = client.run(graph, *rest, **more)
        assert found.status == status, found.message
        return found

    return run


def fresh(graph):
    """Other results than any run before had."""
    return graph.change("sampler", seed=time.time_ns())


# ---- what ComfyUI knows of them


def test_all_nodes_are_there(server, client):
    about = client.nodes()
    assert sorted(name for name in about if about[name]["category"] == "JoyHallo") == NODES
    assert "IMPORT FAILED" not in server.text()


@pytest.mark.parametrize("node", NODES)
def test_every_socket_and_widget_has_a_tooltip(client, node):
    about = client.nodes()[node]
    for inputs in about["input"].values():
        for name, (_, *options) in inputs.items():
            if about["input_order"].get("hidden") is None or name not in about["input_order"]["hidden"]:
                assert options[0].get("tooltip"), name
    assert all(about["output_tooltips"])
    assert about["description"]


# ---- the example workflow


def test_the_example_workflow_leaves_a_video(run, client, base):
    workflow = json.loads(WORKFLOW.read_text(encoding="utf-8"))
    prompt = as_prompt(workflow, client.nodes())
    (sampler,) = (node for node in prompt.values() if node["class_type"] == "JoyHalloSampler")
    sampler["inputs"]["steps"] = 1
    found = run(prompt, workflow=workflow)
    (saving,) = (node for node, entry in prompt.items() if entry["class_type"] == SAVING)
    (saved,) = found.files(saving)
    path = base / "output" / saved["subfolder"] / saved["filename"]
    av = pytest.importorskip("av")
    with av.open(str(path)) as file:
        assert json.loads(file.metadata["workflow"]) == workflow
        assert json.loads(file.metadata["prompt"])["9"]["inputs"] == prompt["9"]["inputs"]
        pictures = [frame.to_ndarray(format="rgb24") for frame in file.decode(video=0)]
        assert file.streams.audio[0].rate == 22_050
    assert len(pictures) == 69  # 2.73 s of speech
    assert pictures[0].shape == (64, 64, 3)
    assert np.std(pictures[0]) > 5


# ---- running again


def test_nothing_runs_twice_for_the_same_inputs(run):
    graph = fresh(Talking())
    run(graph)
    assert run(graph).executed == []


@pytest.mark.parametrize(
    ("node", "changes", "again"),
    [
        ("sampler", {"seed": 77}, SAMPLING),
        ("sampler", {"lip_weight": 0.5}, SAMPLING),
        ("save", {"quality": "small"}, ["save"]),
        ("face", {"lip_expand": 1.5}, ["face", *SAMPLING]),
        ("speech", {"loudness": "levelled"}, ["speech", *SAMPLING]),
        ("models", {"weight_dtype": "fp16"}, ["models", "face", "speech", *SAMPLING]),
    ],
)
def test_only_what_follows_from_a_change_runs_again(run, node, changes, again):
    run(Talking())
    graph = Talking().change(node, **changes)
    assert set(graph.named(run(graph).executed)) == set(again)


# ---- while it runs


def test_every_step_is_counted_and_shown(run):
    graph = fresh(Talking(seconds=1.0)).change("sampler", steps=3)
    found = run(graph)
    counted = [(value, total) for node, value, total in found.progress if node == graph.names["sampler"]]
    assert counted == [(step, 6) for step in range(1, 7)]  # 25 frames are two chunks of three steps
    shown = [picture for node, picture in found.previews if node == graph.names["sampler"]]
    assert len(shown) == 6
    pictures = [np.array(Image.open(io.BytesIO(picture)).convert("RGB")) for picture in shown]
    assert all(np.array_equal(pictures[0], picture) for picture in pictures[:3])  # the portrait, until a chunk is done
    assert not np.array_equal(pictures[3], pictures[4])  # then one frame of it after another


def test_cancelling_stops_within_a_step_and_harms_nothing(run, client):
    graph = fresh(Talking(seconds=1.0)).change("sampler", steps=50)

    def cancel(kind, data, found):
        if kind == "progress" and data["node"] == graph.names["sampler"] and data["value"] == 3:
            client.interrupt(found)

    found = run(graph, cancel, status="interrupted")
    steps = [value for node, value, _ in found.progress if node == graph.names["sampler"]]
    assert steps[-1] <= 4
    run(fresh(Talking()))


# ---- with ComfyUI's own nodes


def test_frames_are_scaled_and_made_a_video_by_others(run, base):
    graph = Talking()
    size = {"width": 96, "height": 80, "upscale_method": "bilinear", "crop": "disabled"}
    graph.put("scaled", "ImageScale", image=graph["sampler", 0], **size)
    graph.put("video", "CreateVideo", images=graph["scaled", 0], fps=graph["sampler", 1], audio=graph["sound", 0])
    graph.put("saved", "SaveVideo", video=graph["video", 0], filename_prefix="others", format="mp4", codec="h264")
    again = {"fps": 25.0, "filename_prefix": "again", "format": "webm", "quality": "small"}
    graph.put("again", "SaveTalkingVideo", video=graph["video", 0], **again)
    graph.put("copy", "SaveVideo", video=graph["save", 0], filename_prefix="copy", format="mp4", codec="h264")
    run(graph)
    av = pytest.importorskip("av")
    for name, size in (("others_00001_.mp4", (96, 80)), ("again_00001_.webm", (96, 80)), ("copy_00001_.mp4", (64, 64))):
        with av.open(str(base / "output" / name)) as file:
            pictures = [frame.to_ndarray(format="rgb24") for frame in file.decode(video=0)]
            assert (len(pictures), pictures[0].shape[1::-1], len(file.streams.audio)) == (13, size, 1), name


def test_masks_leave_are_edited_and_come_back(run):
    graph = Talking(save=False)
    graph.put("lip picture", "MaskToImage", mask=graph["face", 4])
    graph.put("shown", "PreviewImage", images=graph["lip picture", 0])
    graph.put("inverted", "InvertMask", mask=graph["face", 4])
    graph.change("sampler", lip_mask=graph["inverted", 0])
    graph.put("frames", "PreviewImage", images=graph["sampler", 0])
    assert len(run(graph).files(graph.names["frames"])) == 13


def test_comfyuis_own_encoder_node_takes_our_encoder(run):
    graph = Talking()
    graph.put("encoded", "AudioEncoderEncode", audio_encoder=graph["models", 1], audio=graph["sound", 0])
    graph.put("vae", "VAEEncode", pixels=graph["face", 1], vae=graph["models", 3])
    graph.put("decoded", "VAEDecode", samples=graph["vae", 0], vae=graph["models", 3])
    graph.put("shown", "PreviewImage", images=graph["decoded", 0])
    graph.put("heard", "PreviewAudio", audio=graph["speech", 1])
    found = run(graph)
    assert found.files(graph.names["shown"])
    assert found.files(graph.names["heard"])


# ---- what cannot work, and what ComfyUI's window then says


@pytest.mark.parametrize(
    ("node", "changes", "status", "message"),
    [
        ("sampler", {"size": 100}, "invalid", "no multiple of 64; choose 128, say"),
        ("sampler", {"size": 32}, "invalid", "out of range"),
        ("sampler", {"steps": 0}, "invalid", "smaller than min"),
        ("models", {"weight_dtype": "fp12"}, "error", "weight dtype 'fp12' is unknown; choose auto"),
        ("models", {"checkpoint": "nowhere.pth"}, "error", "nowhere.pth"),
        ("face", {"identity": "from the picture"}, "error", "connect face_analysis from Load JoyHallo Models"),
        ("face", {"face_mask": None}, "error", "there is no MediaPipe face landmarker"),
        ("speech", {"separate_vocals": "on"}, "error", "Kim_Vocal_2.onnx"),
        ("sampler", {"model": "demo"}, "error", "connect the output of Load JoyHallo Models"),
        ("save", {"frames": None}, "error", "frames"),
    ],
)
def test_a_mistake_is_told_in_a_sentence(run, node, changes, status, message):
    graph = fresh(Talking()).change(node, **changes)
    inputs = graph[graph.names[node]]["inputs"]
    for name in [name for name, value in inputs.items() if value is None]:
        del inputs[name]
    found = run(graph, status=status)
    assert message in found.message


def test_everything_that_is_missing_is_told_at_once(run):
    missing = {"checkpoint": "joyhallo/net.pth", "audio_encoder": "chinese-wav2vec2-base"}
    missing |= {"face_models": "face_analysis", "vae": "sd-vae-ft-mse/diffusion_pytorch_model.safetensors"}
    found = run(Talking().change("models", **missing), status="error")
    for word in (*missing.values(), "download", "non-commercial"):
        assert word in found.message
    assert found.error["node_type"] == "LoadJoyHalloModels"
    run(Talking())
