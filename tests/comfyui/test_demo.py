"""The harness itself, and the example workflow from the page's file to a video that plays."""

from __future__ import annotations

import json
import math
import wave

import av
import numpy as np
import pytest
from film import Film

from joyhallo.drawn.drawing import Pose
from joyhallo.evaluation import __main__ as evaluation
from tools.comfyui.server import Server
from tools.comfyui.workflow import Graph
from tools.demo import film
from tools.demo_model.bundle import FOLDER, note
from tools.pictures import portrait

NODES = ("LoadJoyHalloModels", "FaceMaskPrep", "ChineseWav2Vec2Encode", "JoyHalloSampler", "SaveTalkingVideo")


def test_the_pack_is_loaded(server, client):
    assert client.nodes().keys() >= set(NODES)
    started = server.text().partition("got prompt")[0]  # what follows is told to whoever asked
    assert "IMPORT FAILED" not in started
    assert "Traceback" not in started


@pytest.fixture(scope="module")
def example(server):
    run, saving = film(server)
    assert run.status == "success", run.message
    (saved,) = run.files(saving)
    return run, server.base / "output" / saved["subfolder"] / saved["filename"]


def test_the_example_goes_through_all_nodes(example, client, server):
    run, _ = example
    assert not run.cached
    assert {node["class_type"] for node in client.history(run)["prompt"][2].values()} > set(NODES)
    assert {value for _, value, total in run.progress if total == 5 * 2} >= set(range(1, 11))  # chunks and steps
    assert run.previews
    assert note() in server.text()
    assert "Missing VAE keys" not in server.text()


def test_the_example_plays(example):
    """Pictures and sound in codecs that browsers play, as long as the recording, and something in each."""
    with wave.open(str(FOLDER / "speech.wav")) as recording:
        seconds = recording.getnframes() / recording.getframerate()
    with av.open(example[1]) as video:
        pictures, sound = video.streams.video[0], video.streams.audio[0]
        assert (pictures.codec_context.name, sound.codec_context.name) == ("h264", "aac")
        assert pictures.average_rate == 25
        frames = [frame.to_ndarray(format="rgb24") for frame in video.decode(video=0)]
    with av.open(example[1]) as video:
        heard = np.concatenate([frame.to_ndarray() for frame in video.decode(audio=0)], axis=1)
        rate = video.streams.audio[0].rate
    assert len(frames) == math.ceil(seconds * 25)
    assert abs(heard.shape[1] / rate - len(frames) / 25) < 0.04 + 1024 / rate  # AAC comes in blocks of 1024
    assert frames[0].shape == (512, 512, 3)  # the portrait's, into which the square is put back
    assert min(frame.std() for frame in frames) > 10
    assert np.ptp(np.stack(frames), axis=0).max() > 20  # something moves
    assert np.abs(heard).max() > 0.1


def test_the_evaluation_finds_the_example_in_sync(example, tmp_path):
    """What stands guard over the bundled model: scored as any film would be, by the bundled lip reader."""
    face = portrait.sitter().face(Pose())
    box = ",".join(f"{side:.0f}" for side in (face.left, face.top, face.right, face.bottom))
    given = ["--box", box, "--metrics", "lip_sync,lip_offset", "-o", str(tmp_path), "--workers", "0"]
    assert evaluation.main([str(example[1]), *given]) == 0
    found = json.loads((tmp_path / "results.json").read_text(encoding="utf-8"))
    assert found["clips"][0]["values"]["lip_offset"] == 0
    sync = found["measures"]["lip_sync"]
    assert not sync["says_nothing"]
    assert sync["controls"]["still"] < sync["controls"]["shuffled"] + 0.1 < 0.5 < sync["value"]


def test_the_smallest_film_is_a_chunk(client):
    graph = Film()
    run = client.run(graph)
    assert run.status == "success", run.message
    assert [total for node, _, total in run.progress if node == graph.sampler.node] == [2, 2]


def test_models_of_the_folder(client, server):
    small = {"checkpoint": "small-hallo.safetensors", "audio_encoder": "small-wav2vec2", "vae": "small-vae.safetensors"}
    graph = Film(models=small)
    run = client.run(graph)
    assert run.status == "success", run.message
    assert "small-hallo.safetensors is a Hallo checkpoint" in server.text()


def test_what_is_known_is_not_computed_again(client):
    graph = Graph()
    picture = graph.add("LoadImage", image="portrait.png")
    graph.add("PreviewImage", images=picture[0])
    client.run(graph)
    assert client.run(graph).executed == []
    assert set(client.run(graph).cached) == set(graph)


def test_a_prompt_that_fits_in_part_is_invalid(client):
    graph = Graph()
    graph.add("PreviewImage", images=graph.add("LoadImage", image="portrait.png")[0])
    graph.add("PreviewImage", images=graph.add("LoadImage", image="nobody.png")[0])
    run = client.run(graph)
    assert run.status == "invalid"
    assert "nobody.png" in run.message


def test_an_error_is_told(client):
    graph = Graph()
    loaded = graph.add("LoadImage", image="portrait.png")
    graph.add("PreviewImage", images=graph.add("VAEDecode", samples=loaded[0], vae=loaded[0])[0])
    assert "mismatch" in client.run(graph).message
    graph = Film(models={"checkpoint": "net.pth"})
    run = client.run(graph)
    assert (run.status, run.error["node_id"]) == ("error", graph.models.node)
    assert "net.pth" in run.message


def test_a_run_can_be_interrupted(client):
    graph = Film(sampler={"seed": 1, "steps": 50})

    def after_a_step(kind, data, run):
        if kind == "progress" and data["node"] == graph.sampler.node:
            client.interrupt(run)

    run = client.run(graph, after_a_step)
    assert run.status == "interrupted"
    assert run.progress[-1][1] < 50


def test_a_server_that_does_not_start_says_why(comfyui, tmp_path):
    with pytest.raises(RuntimeError, match="unrecognized arguments: --nonsense"):
        Server(tmp_path, ["--cpu", "--nonsense"], tree=comfyui).__enter__()
