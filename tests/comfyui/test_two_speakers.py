"""The example workflow for two people: each face follows its own track, and both end up in one video.

With the small model that comes with the nodes, and with masks for the faces, which tell to the pixel what is whose.
"""

from __future__ import annotations

import json

import av
import numpy as np
import pytest
from film import MODELS
from numpy.typing import NDArray
from PIL import Image

from tools.comfyui.server import ROOT, Client, Prompt
from tools.comfyui.workflow import as_prompt
from tools.demo_model.bundle import FOLDER

WORKFLOW = ROOT / "example_workflows" / "two_speakers.json"
LEFT, RIGHT = (slice(None), slice(None), slice(0, 512)), (slice(None), slice(None), slice(512, 1024))


@pytest.fixture(scope="module")
def film(server):
    """The workflow at its smallest, with what is said when; its frames, (n, height, width, 3), and its sound."""
    client, workflow = Client(server.url), json.loads(WORKFLOW.read_text(encoding="utf-8"))

    def film(turns: str) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
        prompt = as_prompt(workflow, client.nodes())
        small = {
            "LoadJoyHalloModels": MODELS,
            "LoadAudio": {"audio": "short.wav"},
            "JoyHalloTurns": {"turns": turns},
            "JoyHalloSampler": {"size": 64, "steps": 2, "resume": False},
            "SaveTalkingVideo": {"format": "mkv", "quality": "medium", "filename_prefix": "couple"},
        }
        for node in prompt.values():
            node["inputs"].update(small.get(node["class_type"], {}))
        mask_faces(prompt)
        run = client.run(prompt)
        assert run.status == "success", run.message
        saving = next(number for number, node in prompt.items() if node["class_type"] == "SaveTalkingVideo")
        (saved,) = run.files(saving)
        with av.open(str(server.base / "output" / saved["subfolder"] / saved["filename"])) as video:
            pictures = np.stack([frame.to_ndarray(format="rgb24") for frame in video.decode(video=0)])
        with av.open(str(server.base / "output" / saved["subfolder"] / saved["filename"])) as video:
            heard = np.concatenate([frame.to_ndarray().reshape(-1) for frame in video.decode(audio=0)])
        return pictures, heard

    return film


def mask_faces(prompt: Prompt) -> None:
    faces = [node["inputs"] for node in prompt.values() if node["class_type"] == "FaceMaskPrep"]
    for number, face in enumerate(sorted(faces, key=lambda face: face["which_face"])):
        for mask, channel in (("face_mask", ("red", "green")[number]), ("lip_mask", "blue")):
            source = {"image": "couple_masks.png", "channel": channel}
            prompt[f"{mask} {number}"] = {"class_type": "LoadImageMask", "inputs": source}
            face[mask] = [f"{mask} {number}", 0]
        face.update(which_face="auto", identity="neutral")


@pytest.fixture(scope="module")
def talk(film):
    return film("1: 0-0.3, 2: 0.3-")


def test_both_faces_move_in_one_picture(talk):
    frames, _ = talk
    assert frames.shape == (15, 512, 1024, 3)
    still = np.asarray(Image.open(FOLDER / "couple.png")).astype(int)
    masks = np.asarray(Image.open(FOLDER / "couple_masks.png"))
    for channel in (0, 1):
        face = masks[..., channel] > 0
        assert (np.abs(frames - still)[:, face] > 8).any(-1).mean() > 0.3  # another face than the still one
        assert np.abs(np.diff(frames.astype(int), axis=0))[:, face].mean() > 0.5
    between = frames[:, :, 500:524].astype(int)
    assert np.abs(between - still[:, 500:524])[..., 10:14, :].max() <= 3  # at the seam the picture is as it was


def test_what_one_says_moves_nobody_else(talk, film):
    """Who speaks second says less: the first one's frames are the same to the last bit."""
    (frames, _), (fewer, _) = talk, film("1: 0-0.3, 2: 0.44-")
    assert np.array_equal(frames[LEFT], fewer[LEFT])
    assert not np.array_equal(frames[RIGHT], fewer[RIGHT])
    (later, _) = film("1: 0-0.2, 2: 0.3-")
    assert np.array_equal(frames[RIGHT], later[RIGHT])
    assert not np.array_equal(frames[LEFT], later[LEFT])


def test_both_are_heard(talk):
    _, heard = talk
    assert np.abs(heard).max() > 0.05
    half = len(heard) // 2
    assert min(heard[:half].std(), heard[half:].std()) > 0.01
