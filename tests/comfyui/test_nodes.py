"""The nodes in a running ComfyUI."""

from __future__ import annotations

import io
import re
import time
from itertools import pairwise

import av
import numpy as np
import pytest
from film import FILM, NODES, Film
from page_lines import known_as
from PIL import Image

SAMPLING = {"JoyHalloSampler", "SaveTalkingVideo"}


@pytest.fixture
def run(client):
    def run(graph, *rest, status="success", **more):
        found = client.run(graph, *rest, **more)
        assert found.status == status, found.message
        return found

    return run


def fresh(**changes):
    """Other results than any run before had."""
    changes["sampler"] = {"seed": time.time_ns(), **changes.get("sampler", {})}
    return Film(**changes)


def kinds(graph, nodes):
    return {graph[node]["class_type"] for node in nodes}


# ---- what ComfyUI knows of them


def test_all_nodes_are_there(server, client):
    about = client.nodes()
    assert sorted(name for name in about if about[name]["category"] == "JoyHallo") == NODES
    assert "IMPORT FAILED" not in server.text()


@pytest.mark.parametrize("node", NODES)
def test_every_socket_and_widget_is_explained(client, node):
    about = client.nodes()[node]
    for inputs in about["input"].values():
        for name, (_, *options) in inputs.items():
            if about["input_order"].get("hidden") is None or name not in about["input_order"]["hidden"]:
                assert options[0].get("tooltip", "").endswith("."), name
    assert all(tooltip.endswith(".") for tooltip in about["output_tooltips"])
    assert about["description"]


# ---- running again


def test_nothing_runs_twice_for_the_same_inputs(run):
    graph = fresh()
    run(graph)
    assert run(graph).executed == []


@pytest.mark.parametrize(
    ("changes", "again"),
    [
        ({"sampler": {"seed": 77}}, SAMPLING),
        ({"sampler": {"lip_weight": 0.5}}, SAMPLING),
        ({"saved": {"quality": "small"}}, {"SaveTalkingVideo"}),
        ({"face": {"lip_expand": 1.5}}, {"FaceMaskPrep", *SAMPLING}),
        ({"speech": {"loudness": "levelled"}}, {"ChineseWav2Vec2Encode", *SAMPLING}),
        ({"models": {"weight_dtype": "fp16"}}, set(FILM)),
    ],
)
def test_only_what_follows_from_a_change_runs_again(run, changes, again):
    run(Film())
    graph = Film(**changes)
    assert kinds(graph, run(graph).executed) == again


# ---- while it runs


def test_every_step_is_counted_and_shown(run):
    graph = fresh(sampler={"steps": 1}, sound="speech.wav")
    found, node = run(graph), graph.sampler.node
    counted = [(value, total) for at, value, total in found.progress if at == node]
    chunks = counted[0][1]
    assert chunks > 2
    assert counted == [(step, chunks) for step in range(1, chunks + 1)]
    shown = [picture for at, picture in found.previews if at == node]
    pictures = [np.array(Image.open(io.BytesIO(picture)).convert("RGB")) for picture in shown]
    assert len(pictures) == chunks
    # the portrait until a chunk is done, then one frame after another
    assert all(not np.array_equal(before, after) for before, after in pairwise(pictures))


def test_what_is_ahead_is_told_on_the_node(run):
    graph = fresh(sampler={"steps": 2}, sound="speech.wav")
    first, *later, last = (text for node, text in run(graph).texts if node == graph.sampler.node)
    assert first.startswith("69 frames in 5 chunks; up to ")
    assert len(later) == 4
    assert all(re.fullmatch(r"About \d+ s left\.", text) for text in later)
    assert re.fullmatch(r"Made in \d+ s, [\d.]+ s for a second of video\.", last)
    assert [known_as(text) for text in (first, later[0], last)] == [["ahead"], ["left"], ["made"]]


def test_cancelling_stops_within_a_step_and_harms_nothing(run, client):
    graph = fresh(sampler={"steps": 50})

    def cancel(kind, data, found):
        if kind == "progress" and data["node"] == graph.sampler.node and data["value"] == 3:
            client.interrupt(found)

    found = run(graph, cancel, status="interrupted")
    steps = [value for node, value, _ in found.progress if node == graph.sampler.node]
    assert steps[-1] <= 4
    run(fresh())


# ---- with ComfyUI's own nodes


def test_frames_are_scaled_and_made_a_video_by_others(run, base):
    graph = Film()
    size = {"width": 96, "height": 80, "upscale_method": "bilinear", "crop": "disabled"}
    parts = graph.add("GetVideoComponents", video=graph.sampler[0])
    scaled = graph.add("ImageScale", image=parts[0], **size)
    video = graph.add("CreateVideo", images=scaled[0], fps=parts[2], audio=parts[1])
    graph.add("SaveVideo", video=video[0], filename_prefix="others", format="mp4", codec="h264")
    again = {"fps": 25.0, "filename_prefix": "again", "format": "webm", "quality": "small"}
    graph.add("SaveTalkingVideo", video=video[0], **again)
    graph.add("SaveVideo", video=graph.saved[0], filename_prefix="copy", format="mp4", codec="h264")
    run(graph)
    for name, size in (("others_00001_.mp4", (96, 80)), ("again_00001_.webm", (96, 80)), ("copy_00001_.mp4", (64, 64))):
        with av.open(str(base / "output" / name)) as file:
            pictures = [frame.to_ndarray(format="rgb24") for frame in file.decode(video=0)]
            assert (len(pictures), pictures[0].shape[1::-1], len(file.streams.audio)) == (15, size, 1), name


def test_masks_leave_are_edited_and_come_back(run):
    graph = Film()
    shown = graph.add("PreviewImage", images=graph.add("MaskToImage", mask=graph.face[4])[0])
    inverted = graph.add("InvertMask", mask=graph.face[4])
    graph[graph.sampler.node]["inputs"]["lip_mask"] = inverted[0]
    frames = graph.add("PreviewImage", images=graph.add("GetVideoComponents", video=graph.sampler[0])[0])
    found = run(graph)
    assert (len(found.files(shown.node)), len(found.files(frames.node))) == (1, 15)


def test_comfyuis_own_nodes_take_our_models(run):
    graph = Film()
    latents = graph.add("VAEEncode", pixels=graph.face[1], vae=graph.models[3])
    decoded = graph.add("VAEDecode", samples=latents[0], vae=graph.models[3])
    shown = graph.add("PreviewImage", images=decoded[0])
    heard = graph.add("PreviewAudio", audio=graph.speech[1])
    found = run(graph)
    assert found.files(shown.node)
    assert found.files(heard.node)


# ---- what cannot work, and what ComfyUI's window then says


@pytest.mark.parametrize(
    ("changes", "status", "message"),
    [
        ({"sampler": {"size": 100}}, "invalid", "not a multiple of 64; try 128"),
        ({"sampler": {"size": 32}}, "invalid", "out of range"),
        ({"sampler": {"steps": -1}}, "invalid", "smaller than min"),
        ({"models": {"weight_dtype": "fp12"}}, "error", "weight dtype 'fp12' is unknown; choose auto"),
        ({"models": {"checkpoint": "nowhere.pth"}}, "error", "nowhere.pth"),
        ({"face": {"identity": "from the picture"}}, "error", "connect face_analysis from Load JoyHallo Models"),
        ({"face": {"face_mask": None}}, "error", "MediaPipe's face landmarker, but there is none"),
        ({"speech": {"separate_vocals": "on"}}, "error", "Kim_Vocal_2.onnx"),
        ({"sampler": {"model": "demo"}}, "error", "connect the output of Load JoyHallo Models"),
        ({"saved": {"video": None}}, "error", "Neither frames nor a video are connected; connect one of them"),
    ],
)
def test_a_mistake_is_told_in_a_sentence(run, changes, status, message):
    assert message in run(fresh(**changes), status=status).message


def test_everything_that_is_missing_is_told_at_once(run):
    missing = {
        "checkpoint": "joyhallo/net.pth",
        "audio_encoder": "chinese-wav2vec2-base",
        "face_models": "face_analysis",
        "vae": "sd-vae-ft-mse/diffusion_pytorch_model.safetensors",
    }
    found = run(Film(models=missing), status="error")
    for word in (*missing.values(), "download", "non-commercial"):
        assert word in found.message
    assert found.error["node_type"] == "LoadJoyHalloModels"
    run(Film())
