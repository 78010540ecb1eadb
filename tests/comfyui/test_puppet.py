"""Puppet Portrait: a picture speaks, with whatever tells where its face is, and only what moves is changed."""

from __future__ import annotations

import re
from dataclasses import dataclass

import av
import numpy as np
import pytest
import torch
from drawn_faces import astronaut
from film import Film
from marked import tags_of
from mesh import task
from PIL import Image

from joyhallo.faces.known import KnownFaces
from joyhallo.sound.audio import read
from tools.comfyui.server import Client
from tools.comfyui.workflow import Graph
from tools.demo_model.bundle import FOLDER

SECONDS = 0.8
FRAMES = 20
STILL = dict.fromkeys(("strength", "expressiveness", "blinks", "sway"), 0.0)
USUAL = dict.fromkeys(STILL, 1.0)


def image(picture: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(picture)).float()[None] / 255


def mask(name: str) -> torch.Tensor:
    return torch.from_numpy(np.array(Image.open(FOLDER / name).convert("L"))).float()[None] / 255


def as_comfyui(mesh: np.ndarray, picture: np.ndarray) -> dict:
    return {"frames": [[{"landmarks_xy": mesh}]], "image_size": picture.shape[:2]}


PORTRAIT = np.array(Image.open(FOLDER / "portrait.png").convert("RGB"))
MESH = KnownFaces(FOLDER / "faces.safetensors").landmarker.meshes(PORTRAIT)[0]
OTHER = 255 - PORTRAIT  # that nobody knows


@dataclass
class Shown:
    frames: np.ndarray  # (n, height, width, 3), 8 bits
    report: str
    notices: list[str]  # their keys
    sound: tuple[torch.Tensor, int]

    def line(self, name: str) -> str:
        return next(line for line in self.report.splitlines() if line.startswith(f"{name}: ")).rstrip()


@pytest.fixture(scope="module")
def speech() -> dict:
    waveform, rate = read(FOLDER / "speech.wav")
    start = round(0.4 * rate)
    return {"waveform": waveform[None, :, start : start + round(SECONDS * rate)], "sample_rate": rate}


@pytest.fixture(scope="module")
def speak(pack, speech):
    @torch.inference_mode()
    def speak(**changes) -> Shown:
        given = {"image": image(PORTRAIT), "audio": speech, "seed": 1, **USUAL, **changes}
        out = pack.nodes.puppet.PuppetPortrait.execute(**given)
        video, report = out.args
        parts = video.get_components()
        frames = (parts.images * 255).round().byte().numpy()
        keys = [notice["key"] for notice in out.ui["joyhallo_notices"]]
        return Shown(frames, report, keys, (parts.audio["waveform"][0], parts.audio["sample_rate"]))

    return speak


@pytest.fixture(scope="module")
def usual(speak) -> Shown:
    return speak()


def moved(frames: np.ndarray, picture: np.ndarray = PORTRAIT) -> np.ndarray:
    """(height, width): by how many levels at most"""
    return np.abs(frames.astype(int) - picture).max((0, 3))


# ---- what is made


def test_the_face_moves_and_the_rest_is_the_picture(usual):
    assert usual.frames.shape == (FRAMES, *PORTRAIT.shape)
    width, height = map(int, re.search(r"of which (\d+)x(\d+) move", usual.line("Picture")).groups())
    changes = moved(usual.frames)
    rows, columns = np.nonzero(changes)
    assert np.ptp(rows) < height
    assert np.ptp(columns) < width < PORTRAIT.shape[1]
    x, y = MESH[[13, 14]].mean(0).round().astype(int)
    assert changes[y : y + 30, x - 15 : x + 15].max() > 60, "the mouth"
    assert (changes == 0).mean() > 0.1


def test_the_sound_is_the_given_one(usual, speech):
    waveform, rate = usual.sound
    assert rate == speech["sample_rate"]
    assert torch.equal(waveform, speech["waveform"][0])


def test_stereo_at_another_rate_stays_as_it_is(speak):
    sound = torch.randint(-9000, 9000, (1, 2, 22_050), generator=torch.Generator().manual_seed(2)) / 32_768
    found = speak(audio={"waveform": sound, "sample_rate": 44_100})
    assert len(found.frames) == 13
    assert found.sound[1] == 44_100
    assert torch.equal(found.sound[0][:, :22_050], sound[0])


def test_the_seed_moves_the_head_and_nothing_else_is_left_to_chance(speak, usual):
    assert np.array_equal(speak().frames, usual.frames)
    assert not np.array_equal(speak(seed=2).frames, usual.frames)
    calm = {name: 0.0 for name in STILL if name != "strength"}
    assert np.array_equal(speak(seed=3, **calm).frames, speak(seed=4, **calm).frames)


def test_without_strength_the_picture_is_still(speak):
    assert moved(speak(**STILL).frames).max() <= 1


def test_strengths_may_change_from_frame_to_frame(speak):
    calm = {**STILL, "strength": 1.0}
    half = [0.0] * (FRAMES // 2) + [1.0] * (FRAMES // 2)
    found, whole = speak(**{**calm, "strength": half}).frames, speak(**calm).frames
    assert moved(found[: FRAMES // 2]).max() <= 1
    assert np.array_equal(found[FRAMES // 2 :], whole[FRAMES // 2 :])
    assert moved(whole[: FRAMES // 2]).max() > 60


@pytest.mark.parametrize("name", STILL)
def test_each_strength_takes_a_list(speak, usual, name):
    assert np.array_equal(speak(**{name: [1.0] * FRAMES}).frames, usual.frames)


@pytest.mark.parametrize(("width", "height"), [(511, 387), (255, 511), (1023, 767)])
def test_any_size_is_kept(speak, width, height):
    picture = np.array(Image.fromarray(OTHER).resize((width, height)))
    found = speak(image=image(picture), landmarks=as_comfyui(MESH * (width / 512, height / 512), picture))
    assert found.frames.shape == (FRAMES, height, width, 3)
    changes = moved(found.frames, picture)
    assert changes.max() > 60
    assert changes[:, 0].max() == changes[:, -1].max() == 0


def test_the_report_says_how(usual):
    assert usual.line("Picture").startswith("Picture: 512x512, of which ")
    assert usual.line("Face").startswith("Face: found by the stored points of this picture, mouth 83 pixels wide")
    assert usual.line("Motion") == "Motion: seed 1, strength 1, expressiveness 1, blinks 1, sway 1"
    assert re.fullmatch(r"Mouth: open 0\.0\d to \d\.\d\d, 0\.\d\d on average; 1 is wide", usual.line("Mouth"))
    assert "20 frames in" in usual.report
    assert "s for a second of video." in usual.report
    assert usual.line("Labels") == "Labels: made by AI, with these nodes"
    assert usual.notices == []
    assert "Warnings" not in usual.report


# ---- where the face is


def test_landmarks_of_comfyui_say_where(speak, usual):
    found = speak(landmarks=as_comfyui(MESH, PORTRAIT))
    assert "found by given points" in found.report
    assert np.array_equal(found.frames, usual.frames)


def test_a_prepared_face_says_where(pack, speak, usual):
    faces = pack.joyhallo.faces.known.KnownFaces(FOLDER / "faces.safetensors")
    prepare = pack.nodes.face_mask_prep.FaceMaskPrep
    face = prepare.execute(image(PORTRAIT), "auto", "face", 1.2, 2.0, "neutral", face_analysis=faces).args[0]
    assert np.array_equal(speak(face=face).frames, usual.frames)
    with pytest.raises(ValueError, match="from a picture of 512x512, but the image has 512x400; connect the same"):
        speak(image=image(PORTRAIT[:400]), face=face)
    masks = {"face_mask": mask("face_mask.png"), "lip_mask": mask("lip_mask.png")}
    face = prepare.execute(image(OTHER), "auto", "face", 1.2, 2.0, "neutral", **masks).args[0]
    with pytest.raises(ValueError, match="prepared from masks and has no landmarks"):
        speak(image=image(OTHER), face=face)


def lips_and_face(size: int = 512) -> dict[str, torch.Tensor]:
    """Ellipses where the drawing's are."""
    y, x = np.mgrid[:size, :size] * (512 / size)
    lips, face = (
        ((x - cx) / width) ** 2 + ((y - cy) / height) ** 2 < 1
        for cx, cy, width, height in ((*MESH[[61, 291]].mean(0), 42, 12), (*MESH.mean(0), 110, 150))
    )
    return {"lip_mask": torch.from_numpy(lips)[None].float(), "face_mask": torch.from_numpy(face)[None].float()}


@pytest.mark.parametrize("size", [512, 300])
def test_masks_say_where_in_a_drawing(speak, size):
    picture = PORTRAIT // 2  # unknown
    found = speak(image=image(picture), **lips_and_face(size))
    assert "found by masks of lips and face" in found.report
    x, y = MESH[[61, 291]].mean(0).round().astype(int)
    assert moved(found.frames, picture)[y : y + 30, x - 15 : x + 15].max() > 20


def test_mediapipe_finds_the_face_of_a_photograph(pack, speak, monkeypatch, tmp_path):
    file = tmp_path / "face_landmarker.task"
    file.write_bytes(task())
    monkeypatch.setattr(pack.nodes.puppet, "face_task", lambda: file)
    found = speak(image=image(astronaut()))
    assert "found by MediaPipe's face landmarker" in found.report
    changes = moved(found.frames, astronaut())
    assert changes[180:240, 200:260].max() > 60
    assert changes[400:].max() == 0
    with pytest.raises(ValueError, match="No face was found in this picture of 512x512"):
        speak(image=torch.full((1, 512, 512, 3), 0.5))


def test_of_two_faces_the_largest_speaks_or_the_painted_one(speak):
    picture = np.array(Image.open(FOLDER / "couple.png").convert("RGB"))
    largest, left = speak(image=image(picture)), torch.zeros(1, 512, 1024)
    assert largest.notices == ["largest_speaks"]
    left[:, 150:400, 130:390] = 1
    chosen = speak(image=image(picture), face_mask=left)
    assert chosen.notices == []
    halves = [moved(one.frames, picture).reshape(512, 2, 512).max((0, 2)) for one in (largest, chosen)]
    assert [half.argmax() for half in halves] == [1, 0]
    assert min(min(half) for half in halves) == 0


# ---- doubts and errors


def test_doubts_are_told(speak, speech):
    small = np.array(Image.fromarray(OTHER).resize((128, 128)))
    silent = {**speech, "waveform": torch.zeros_like(speech["waveform"])}
    found = speak(image=image(small), landmarks=as_comfyui(MESH / 4, small), audio=silent)
    assert found.notices == ["silent", "small_mouth"]
    assert "The mouth is only 21 pixels wide" in found.report.partition("\nWarnings:")[2]
    mesh = MESH.copy()
    mesh[[87, 14, 317]] += 0, 20
    assert speak(landmarks=as_comfyui(mesh, PORTRAIT)).notices == ["open_mouth"]
    mesh = MESH.copy()
    mesh[1] += 45, 0
    assert speak(landmarks=as_comfyui(mesh, PORTRAIT)).notices == ["turned_head"]


def test_without_anything_that_tells_the_remedy_is_named(speak):
    with pytest.raises(
        ValueError, match=r"landmarker is missing: fetch it with the button on Puppet Portrait \(4 MB\)"
    ):
        speak(image=image(OTHER))


TINY = {"image": image(OTHER[::32, ::32]), "landmarks": as_comfyui(MESH / 32, OTHER[::32, ::32])}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"image": torch.zeros(3, 64, 64, 3)}, "3 pictures, as of a video, were given where one is needed"),
        ({"image": torch.full((1, 64, 64, 3), float("nan"))}, "values that are not numbers"),
        ({"audio": {"waveform": torch.zeros(1, 1, 0), "sample_rate": 16_000}}, "The recording is empty"),
        ({"audio": None}, "`audio` is empty: no sound"),
        ({"face": "somebody"}, "`face` is the text '.*'; connect the output of Face & Mask Prep"),
        ({"strength": [1.0, -1.0]}, "The weight of frame 1 is -1"),
        ({"image": image(OTHER), "lip_mask": lips_and_face()["lip_mask"]}, "A lip_mask is connected, but no face_mask"),
        ({"face_mask": torch.zeros(1, 64, 64)}, "The face_mask is empty"),
        ({"face_mask": torch.ones(1, 64, 128)}, "its aspect ratio does not match the picture of 512x512"),
        ({"image": image(OTHER), **lips_and_face(), "lip_mask": torch.eye(512)[None]}, "outside the face of face_mask"),
        (TINY, "The face is only"),
        ({"image": image(OTHER[:, 256:]), "landmarks": as_comfyui(MESH, OTHER[:, 256:])}, "of the face lies in the"),
        ({"landmarks": as_comfyui(MESH, OTHER[1:])}, "but this one has 512x512; connect the same picture to both"),
    ],
)
def test_errors_say_what_was_found(speak, changes, words):
    with pytest.raises((ValueError, TypeError), match=words):
        speak(**changes)


def test_a_mouth_of_a_few_pixels_is_refused(speak):
    mesh = MESH.copy()
    mesh[[61, 78]], mesh[[291, 308]] = MESH[13] - (2, 0), MESH[13] + (2, 0)
    with pytest.raises(ValueError, match="The mouth is 4 pixels wide, which is too small to speak"):
        speak(landmarks=as_comfyui(mesh, PORTRAIT))


def test_cancelling_leaves_no_file(pack, speak, monkeypatch):
    import comfy.model_management as manager

    folder, perform = pack.nodes.places.working_folder(), pack.nodes.puppet.perform
    before, made = set(folder.glob("*")), []

    def interrupted(*given):
        for chunk in perform(*given):
            made.append(chunk)
            manager.interrupt_current_processing()
            yield chunk

    monkeypatch.setattr(pack.nodes.puppet, "perform", interrupted)
    with pytest.raises(manager.InterruptProcessingException):
        speak()
    assert len(made) == 1
    assert set(folder.glob("*")) == before


# ---- in a running ComfyUI


class Puppet(Graph):
    def __init__(self, picture: str = "portrait.png", **changes):
        super().__init__()
        loaded, sound = self.add("LoadImage", image=picture), self.add("LoadAudio", audio="short.wav")
        given = {"image": loaded[0], "audio": sound[0], "seed": 5, **USUAL, **changes}
        self.puppet = self.add("PuppetPortrait", **given)
        saving = {"fps": 25.0, "filename_prefix": "video/puppet", "format": "mkv", "quality": "medium"}
        self.saved = self.add("SaveTalkingVideo", video=self.puppet[0], **saving)
        self.report = self.add("PreviewAny", source=self.puppet[1])


def test_it_runs_with_progress_and_is_saved_with_labels(server):
    graph, seen = Puppet(), []
    run = Client(server.url).run(graph, lambda kind, data, run: seen.append((kind, data)))
    assert run.status == "success", run.message
    steps = [data for kind, data in seen if kind == "progress" and data["node"] == graph.puppet.node]
    assert steps[-1]["value"] == steps[-1]["max"] == 15
    (saved,) = run.files(graph.saved.node)
    path = server.base / "output" / saved["subfolder"] / saved["filename"]
    with av.open(str(path)) as video:
        frames = np.stack([frame.to_ndarray(format="rgb24") for frame in video.decode(video=0)])
    assert frames.shape == (15, 512, 512, 3)
    assert 0.02 < (moved(frames) > 4).mean() < 0.9
    assert "aigc" in tags_of(path)
    assert "Face: found by" in "".join(run.outputs[graph.report.node]["text"])
    assert Client(server.url).run(graph).executed == []


def test_weights_over_time_come_from_motion_over_time(server):
    film = Film()
    motion = film.add(
        "JoyHalloMotion",
        speech=film.speech[0],
        expressiveness="natural",
        pose="1",
        expression="1",
        lip="0: 0, 0.3: 0 -> 1",
        rest_in_pauses=False,
        sensitivity=0.0,
        attack=1,
        release=1,
    )
    given = {**STILL, "strength": motion[2]}
    puppet = film.add("PuppetPortrait", image=film.picture[0], audio=film.sound[0], seed=5, **given)
    frames = film.add("GetVideoComponents", video=puppet[0])
    shown = film.add("PreviewImage", images=frames[0]).node
    del film[film.saved.node]
    run = Client(server.url).run(film)
    assert run.status == "success", run.message
    pictures = [np.array(Image.open(server.base / "temp" / one["filename"]).convert("RGB")) for one in run.files(shown)]
    changes = np.array([moved(one[None]).max() for one in pictures])
    assert changes[:7].max() <= 1
    assert changes[8:].max() > 60
