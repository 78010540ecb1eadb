"""Videos of every make become clips, or are listed with the reason; nothing is done twice, whoever does it."""

import json
import os
import re
import shutil
from dataclasses import replace
from pathlib import Path

import av
import filmed
import mesh as true_mesh
import numpy as np
import pytest
import torch
from drawn_faces import astronaut
from filmed import LANDMARKER, film, green_box
from plain_speech import plain_answer
from shared import REPOSITORY

from joyhallo import work
from joyhallo.config import FPS
from joyhallo.data import prepare as command
from joyhallo.data import steps
from joyhallo.data.dataset import open_dataset, read_manifest
from joyhallo.data.models import Models
from joyhallo.data.prepare import Shares, identify, prepare
from joyhallo.data.steps import Preparation
from joyhallo.diffusion.codec import load_codec
from joyhallo.faces import stretch as stretching
from joyhallo.faces.boxes import Box
from joyhallo.faces.find import Face, Finders, outline_box
from joyhallo.film.read import Film
from joyhallo.methods.hallo import likeness
from tools.demo_model.seeded import write_autoencoder

pytestmark = pytest.mark.slow

ENCODER = str(REPOSITORY / "demo_model" / "wav2vec2")
MODELS = Models(encoder="filmed:ear", finders="filmed:green")
SMALL = Preparation(size=64, validation=0)
IN_PROCESS = Shares(workers=0)


def prepared(videos, folder, models=MODELS, settings=SMALL, shares=IN_PROCESS):
    return {record.source: record for record in prepare([videos], folder, models, settings, shares)}


def across(seconds):
    return 0.4 + 0.1 * seconds, 0.5


# ---- the folder that no one would wish for


@pytest.fixture(scope="module")
def mixed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("mixed")
    film(folder / "good.mp4")
    film(folder / "你好 世界 (1).mp4", size=(160, 96), face=0.5)
    film(folder / "thirty.mov", fps=30)
    film(folder / "three frames.mp4", seconds=0.12)
    film(folder / "silent.mp4", sound=0.0)
    film(folder / "no sound.mp4", sound=None)
    film(folder / "nobody.mp4", way=lambda _: None)
    (folder / "broken.mp4").write_bytes(b"\x00\x01 not a video" * 50)
    cut = film(folder / "cut.mp4")
    cut.write_bytes(cut.read_bytes()[: cut.stat().st_size // 3])
    (folder / "notes.txt").write_text("no video")
    (folder / ".hidden.mp4").write_bytes(b"")
    return folder


@pytest.fixture(scope="module")
def dataset(mixed, tmp_path_factory):
    folder = tmp_path_factory.mktemp("prepared")
    prepared(mixed, folder)
    return folder


def test_what_is_good_is_prepared_and_the_rest_listed_with_the_reason(mixed, tmp_path, capsys):
    options = [
        "--size",
        "64",
        "--validation",
        "0",
        "--finders",
        "filmed:green",
        "--speech-encoder",
        "filmed:ear",
        "--workers",
        "0",
    ]
    code = command.main([str(mixed), "-o", str(tmp_path / "set"), *options])
    said = capsys.readouterr().out
    assert code == 1  # for two could not be read
    listed = {
        line[9:].partition(":")[0]: line for line in said.splitlines() if line.startswith(("failed ", "skipped "))
    }
    expected = {
        "three frames.mp4": "3 frames show a face and have sound; it takes at least 23",
        "silent.mp4": "its sound is silent",
        "no sound.mp4": "it has no sound",
        "nobody.mp4": "no face was found",
        "broken.mp4": "it cannot be read as a video (Invalid data found",
        "cut.mp4": "none of its sound can be read",
    }
    assert listed.keys() == expected.keys()
    assert all(reason in listed[source] for source, reason in expected.items())
    assert [listed[name][:7].strip() for name in ("broken.mp4", "nobody.mp4")] == ["failed", "skipped"]
    assert "9 clips: 3 ok (105 frames, 0.1 minutes, 0 for validation), 4 skipped, 2 failed" in said
    found = open_dataset(tmp_path / "set", verify=True)
    assert {clip.record.source for clip in found.clips} == {"good.mp4", "你好 世界 (1).mp4", "thirty.mov"}
    assert {problem.source for problem in found.problems} == expected.keys()
    assert all(clip.length == 35 for clip in found.clips)


def test_the_exit_code_is_0_where_nothing_failed_and_2_where_nothing_was_begun(tmp_path, capsys):
    film(tmp_path / "videos/one.mp4")
    options = ["-o", str(tmp_path / "set"), "--size", "64", "--speech-encoder", "filmed:ear", "--workers", "0"]
    assert command.main([str(tmp_path / "videos"), *options, "--finders", "filmed:green"]) == 0
    assert command.main([str(tmp_path / "nowhere"), *options]) == 2
    assert command.main([str(tmp_path / "videos"), *options, "--codec", "nothing.safetensors"]) == 2
    said = capsys.readouterr().err
    assert "nowhere does not exist" in said
    assert "nothing.safetensors, given as --codec, does not exist" in said
    assert "/fudan-generative-ai/hallo; give its path" in said


def test_without_face_models_the_table_names_the_option(tmp_path):
    film(tmp_path / "videos/one.mp4")
    (record,) = prepared(tmp_path / "videos", tmp_path / "set", Models(encoder="filmed:ear")).values()
    assert record.status == "failed"
    assert "give --landmarker" in record.reason


class Strangers:
    """Finds every face and recognises none."""

    def faces(self, picture):
        box = green_box(picture)
        return [] if box is None else [Face(box)]


def strangers():
    return Finders(Strangers(), LANDMARKER)


def test_a_face_that_is_not_recognised_names_the_option_that_does_without(tmp_path):
    film(tmp_path / "videos/one.mp4")
    models = Models(encoder="filmed:ear", finders=f"{__name__}:strangers")
    (record,) = prepared(tmp_path / "videos", tmp_path / "set", models).values()
    assert record.status == "skipped"
    assert "--identity neutral" in record.reason
    neutral = replace(SMALL, identity="neutral")
    (record,) = prepared(tmp_path / "videos", tmp_path / "set", models, neutral).values()
    assert record.status == "ok"


def test_with_few_videos_the_summary_says_that_none_is_held_out_and_which_share_holds_one_out(tmp_path, capsys):
    """The command with that share does as the sentence says, and prepares nothing twice."""
    for name in ("anna", "bert", "carla"):
        film(tmp_path / "videos" / f"{name}.mp4")
    options = ["--size", "64", "--speech-encoder", "filmed:ear", "--finders", "filmed:green", "--workers", "0"]
    arguments = [str(tmp_path / "videos"), "-o", str(tmp_path / "set"), *options]
    assert command.main(arguments) == 0
    said = capsys.readouterr().out
    assert "0 for validation" in said
    assert "there will be no validation videos" in said
    written = marks(tmp_path / "set")
    share = re.search(r"--validation ([\d.]+);", said)[1]
    assert command.main([*arguments, "--validation", share]) == 0
    said = capsys.readouterr().out
    assert "1 for validation" in said
    assert "held out" not in said
    assert marks(tmp_path / "set") == written
    assert len(open_dataset(tmp_path / "set").clips) == 2
    assert len(open_dataset(tmp_path / "set", "validation").clips) == 1


def test_names_of_clips_are_plain_and_no_two_are_alike():
    names = ["你好.mp4", "您好.mp4", "a b/c.mp4", "a_b/c.mp4", "x" * 300 + ".mp4"]
    found = [identify(name) for name in names]
    assert len(set(found)) == len(names)
    assert all(name.replace("-", "").replace("_", "").isalnum() and name.isascii() and len(name) < 60 for name in found)


def test_those_of_one_folder_are_one_speaker(tmp_path):
    for name in ("anna/1.mp4", "anna/2.mp4", "bert/1.mp4"):
        film(tmp_path / "videos" / name, seconds=0.2)
    found = prepared(tmp_path / "videos", tmp_path / "set", settings=replace(SMALL, shortest=2, validation=0.5))
    assert [record.speaker for record in found.values()] == ["anna", "anna", "bert"]
    assert found["anna/1.mp4"].split == found["anna/2.mp4"].split


# ---- pictures


def remuxed(path: Path, target: Path, change) -> Path:
    """The same packets in another file."""
    with av.open(str(path)) as file, av.open(str(target), "w") as out:
        streams = {stream: out.add_stream_from_template(stream) for stream in file.streams}
        for packet in file.demux():
            if packet.dts is not None and change(packet):
                packet.stream = streams[packet.stream]
                out.mux(packet)
    return target


def test_a_frame_that_cannot_be_decoded_does_not_lose_the_clip(tmp_path, capsys):
    path = film(tmp_path / "whole/film.mp4", way=across)
    count = 0

    def spoil(packet):
        nonlocal count
        if packet.stream.type == "video":
            count += 1
            if 10 <= count < 13:
                content = memoryview(packet)
                packet.update(bytes(len(content)))
        return True

    (tmp_path / "spoilt").mkdir()
    spoilt = remuxed(path, tmp_path / "spoilt/film.mp4", spoil)
    assert len(list(Film(spoilt).pictures(FPS))) == 35
    (record,) = prepared(spoilt.parent, tmp_path / "set").values()
    assert (record.status, record.length, record.about["pictures"]["broken"]) == ("ok", 35, 3)
    command._show(1, 1, record)
    assert "35 frames, though 3 packets of the video cannot be decoded" in capsys.readouterr().out


def test_the_face_is_in_the_middle_and_takes_its_share(dataset):
    for clip in open_dataset(dataset).clips:
        pictures = ((clip.frames([0, 20, 34]) + 1) * 127.5).round().byte().permute(0, 2, 3, 1).numpy()
        for picture in pictures:
            box = green_box(picture)
            assert box is not None
            assert 0.5 <= box.longest / 64 <= 0.7
            assert abs(box.center[0] - 32) < 2
            assert abs(box.center[1] - 32) < 2


def test_the_window_stays_while_the_face_moves(tmp_path):
    """So the face moves in it, as it did in the video; 30 a second that came 0.1 further each second."""
    film(tmp_path / "videos/one.mp4", fps=30, size=(256, 192), face=0.3, way=across)
    (record,) = prepared(tmp_path / "videos", tmp_path / "set").values()
    (clip,) = open_dataset(tmp_path / "set").clips
    pictures = ((clip.frames(range(clip.length)) + 1) * 127.5).round().byte().permute(0, 2, 3, 1).numpy()
    places = np.array([green_box(picture).center[0] for picture in pictures])
    left, _, right, _ = record.about["pictures"]["crop"]
    expected = (256 * across(np.arange(clip.length) / 25)[0] - left) * 64 / (right - left)
    assert np.abs(places - expected).max() < 1.2  # pixels of 64
    assert places[-1] - places[0] > 10


def test_masks_are_those_of_the_original_for_the_prepared_video(dataset):
    """By OpenCV's own drawing and blurring, from every frame that came out."""
    cv2 = pytest.importorskip("cv2")
    for clip in open_dataset(dataset).clips:
        pictures = ((clip.frames(range(clip.length)) + 1) * 127.5).round().byte().permute(0, 2, 3, 1).numpy()
        union = np.zeros((64, 64), np.uint8)
        for picture in pictures:
            box = green_box(picture)
            cv2.rectangle(
                union, (round(box.left), round(box.top)), (round(box.right) - 1, round(box.bottom) - 1), 255, -1
            )
        rows, columns = np.nonzero(union)
        found = np.argwhere(clip.face_mask.numpy() > 0.5)
        expected = np.array([[rows.min(), columns.min()], [rows.max(), columns.max()]])
        assert np.abs(np.stack([found.min(0), found.max(0)]) - expected).max() <= 2  # the disc's edge is blurred
        hard = (clip.face_mask.numpy() * 255).astype(np.uint8)
        blurred = cv2.normalize(cv2.GaussianBlur(hard, (51, 51), 0), None, 0, 255, cv2.NORM_MINMAX)
        assert np.array_equal(clip.masks.pose, ((1 - blurred / 255) * 255).astype(np.uint8))
        assert np.array_equal(clip.masks.expression, cv2.subtract(blurred, clip.masks.lip))


@pytest.fixture(scope="module")
def panned(tmp_path_factory):
    """A photograph over which the camera moves."""
    folder = tmp_path_factory.mktemp("panned")
    frames = np.stack([astronaut()[:300, at : at + 400] for at in range(0, 50, 2)])
    sound = 0.1 * torch.sin(torch.arange(16_000) / 20)
    filmed.write(folder / "one.mp4", torch.from_numpy(frames).float().div(255).split(8), 25, (sound[None], 16_000))
    return folder


def test_a_real_face_is_followed(panned, tmp_path):
    """By a true mesh; it is laid again in the clip that came out."""
    true_mesh.models()  # or it is skipped
    models, settings = Models(encoder="filmed:ear", finders="filmed:true"), Preparation(size=256, identity="colours")
    (record,) = prepared(panned, tmp_path, models, replace(settings, validation=0)).values()
    assert (record.status, record.reason, record.length) == ("ok", "", 25)
    (clip,) = open_dataset(tmp_path).clips
    pictures = ((clip.frames([0, 12, 24]) + 1) * 127.5).round().byte().permute(0, 2, 3, 1).numpy()
    boxes = [outline_box(true_mesh.mesh(picture)) for picture in pictures]
    rows, columns = np.nonzero(clip.face_mask.numpy() > 0.5)
    found = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
    union = [f(getattr(box, side) for box in boxes) for f, side in zip((min, min, max, max), SIDES, strict=True)]
    assert np.abs(np.subtract(found, union)).max() < 8  # pixels of 256
    assert record.about["pictures"]["turned"] < 0.3


SIDES = ("left", "top", "right", "bottom")


def test_mediapipe_looks_at_a_whole_video(panned, tmp_path):
    """With models of which a face seems to be turned away, for their points are numbered otherwise."""
    pytest.importorskip("mediapipe")
    models = Models(encoder="filmed:ear", landmarker=str(true_mesh.as_task(tmp_path)))
    settings = Preparation(size=256, identity="colours", validation=0, turned=99)
    (record,) = prepared(panned, tmp_path / "set", models, settings).values()
    assert (record.status, record.reason) == ("ok", "")
    assert (record.length, record.about["pictures"]["looks"], record.about["pictures"]["missed"]) == (25, 13, 0)


# ---- the face, from frame to frame


def meshes_of(way, count=40, every=2, most_missed=3):
    pictures = [filmed.frame(way(index), (96, 96), 0.4) for index in range(count)]
    return stretching.follow(pictures, filmed.GreenLandmarker(), every, most_missed)


def test_short_misses_are_filled_evenly():
    def way(index):
        return None if 10 <= index < 16 else (0.4 + 0.005 * index, 0.5)

    stretch = meshes_of(way)
    assert (stretch.start, len(stretch), stretch.looks, stretch.missed) == (0, 40, 20, 3)
    middles = [box.center[0] for box in stretch.boxes]
    assert np.abs(np.diff(middles) - 0.48).max() < 0.6  # a pixel is the finest that the stand-in sees
    assert abs(middles[13] - 96 * 0.465) < 1


def test_the_longest_stretch_with_a_face_is_kept():
    stretch = meshes_of(lambda index: (0.5, 0.5) if index < 8 or 20 <= index < 37 else None)
    assert (stretch.start, len(stretch), stretch.missed) == (20, 17, 0)
    assert meshes_of(lambda _: None) is None
    assert len(meshes_of(lambda _: (0.5, 0.5), count=1)) == 1


def test_steps_between_places():
    assert stretching.stretches([0, 2, 4, 12, 14, 30], 8) == [[0, 2, 4, 12, 14], [30]]


def test_the_part_with_a_face_has_its_own_sound(tmp_path):
    """The face comes after a second, and with it another tone."""
    film(tmp_path / "one.mp4", seconds=1.0, way=lambda _: None, voice=300)
    film(tmp_path / "two.mp4", seconds=1.2, voice=700)
    frames = [frame for name in ("one", "two") for frame in Film(tmp_path / f"{name}.mp4").pictures(FPS)]
    times = torch.arange(round(2.2 * 16000)) / 16000
    tone = 0.2 * torch.sin(2 * torch.pi * torch.where(times < 1, 300, 700) * times)
    (tmp_path / "videos").mkdir()
    batches = torch.from_numpy(np.stack(frames)).float().div(255).split(8)
    filmed.write(tmp_path / "videos/both.mp4", batches, 25, (tone[None], 16000), quality="best")
    (record,) = prepared(tmp_path / "videos", tmp_path / "set").values()
    assert record.about["pictures"]["range"] == [26, 55]  # looked for in every second frame
    (clip,) = open_dataset(tmp_path / "set").clips
    power = torch.fft.rfft(clip.recording.samples).abs()
    assert abs(power.argmax().item() * 16000 / len(clip.recording.samples) - 700) < 2
    assert power[round(300 * len(clip.recording.samples) / 16000)] < 0.01 * power.max()


# ---- sound


def test_features_are_those_of_the_sound_beside_them(tmp_path):
    """Written out from transformers' parts: interpolated before the encoder, all layers but the input."""
    transformers = pytest.importorskip("transformers")

    film(tmp_path / "videos/one.mp4")
    prepared(tmp_path / "videos", tmp_path / "set", replace(MODELS, encoder=ENCODER))
    (clip,) = open_dataset(tmp_path / "set").clips
    model = transformers.Wav2Vec2Model.from_pretrained(ENCODER).float().eval()
    with torch.no_grad():
        expected = plain_answer(model, clip.recording.samples, clip.length)
    assert torch.allclose(clip.speech, expected, atol=2e-5)


# ---- identity and latents


def test_the_identity_is_the_median_of_several_frames(tmp_path):
    """Of a face that fades: the stand-in takes people for how bright they are."""
    path = film(tmp_path / "videos/one.mp4", darker=0.3)
    prepared(path.parent, tmp_path / "set")
    (clip,) = open_dataset(tmp_path / "set").clips
    with av.open(str(path)) as file:
        pictures = [frame.to_ndarray(format="rgb24") for frame in file.decode(video=0)]
    looked = np.stack([filmed.GreenDetector().faces(pictures[at])[0].identity for at in (0, 5, 10, 15, 19, 24, 29, 34)])
    assert np.ptp(looked[:, -1]) > 0.2 * looked[0, -1]
    lower, upper = np.sort(looked, 0)[3:5]  # whichever of the middle two
    assert (clip.identity.numpy() >= lower - 0.05).all()
    assert (clip.identity.numpy() <= upper + 0.05).all()
    assert clip.record.about["identity"]["frames"] == 8


def test_an_identity_of_colours_tells_faces_apart_and_needs_no_model():
    picture = np.zeros((100, 80, 3), np.uint8)
    picture[:, 40:] = 255
    found = likeness.by_colours(picture, Box(20, 30, 60, 70))
    assert found.shape == (512,)
    assert (found[507:] == 0).all()
    cells = found[:507].reshape(13, 13, 3)
    assert (cells[:, :6] == -1).all()
    assert (cells[:, 7:] == 1).all()
    assert likeness.by_colours(picture, Box(-60, 30, -20, 70))[:507].eq(-1).all()  # the border goes on


def test_latents_are_what_the_codec_makes_of_the_frames(dataset, mixed, tmp_path):
    """By diffusers, in the networks' units; the steps before them are not done again."""
    diffusers = pytest.importorskip("diffusers")
    shutil.copytree(dataset, tmp_path / "set")
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "set").rglob("video.mp4")}
    write_autoencoder(tmp_path / "vae.safetensors")
    codec = str(tmp_path / "vae.safetensors")
    prepared(mixed, tmp_path / "set", replace(MODELS, codec=codec))
    assert before == {path: path.stat().st_mtime_ns for path in (tmp_path / "set").rglob("video.mp4")}
    clip = open_dataset(tmp_path / "set").clips[0]
    autoencoder = load_codec(codec, dtype=torch.float32).autoencoder
    assert isinstance(autoencoder, diffusers.AutoencoderKL)
    with torch.no_grad():
        posterior = autoencoder.encode(clip.frames([3, 30])).latent_dist
    mean, logvar = clip.latents([3, 30])
    assert torch.allclose(mean, posterior.mean * 0.18215, rtol=2e-3, atol=1e-4)
    assert torch.allclose((logvar / 2).exp(), posterior.std * 0.18215, rtol=5e-3, atol=1e-5)


# ---- nothing twice


def marks(folder: Path) -> dict[str, int]:
    return {
        path.relative_to(folder).as_posix(): path.stat().st_mtime_ns
        for path in folder.rglob("*.*")
        if path.name not in ("manifest.jsonl", "dataset.json", "record.json", "seen.json")
    }


@pytest.fixture
def two(tmp_path):
    """Two videos, prepared; and how to do it again, which gives the names of the files that are new."""
    film(tmp_path / "videos/a.mp4")
    film(tmp_path / "videos/b.mp4", way=lambda _: None)
    folder = tmp_path / "set"
    prepared(tmp_path / "videos", folder)

    def again(*arguments, **changes):
        before, filmed.LANDMARKER.looks = marks(folder), 0
        prepared(tmp_path / "videos", folder, *arguments, **changes)
        after = marks(folder)
        return {Path(name).name for name in after if after[name] != before.get(name)}, filmed.LANDMARKER.looks

    return tmp_path, again


def test_what_was_done_is_not_done_again_and_the_manifest_is_the_same(two):
    folder, again = two
    before = (folder / "set/manifest.jsonl").read_bytes()
    assert again() == (set(), 0)  # nor is a face looked for where there was none
    assert (folder / "set/manifest.jsonl").read_bytes() == before
    os.utime(folder / "videos/a.mp4")  # touched, but the same
    assert again() == (set(), 0)


def test_only_what_follows_from_a_change_is_done_again(two):
    folder, again = two
    assert again(settings=replace(SMALL, identity="neutral")) == ({"identity.safetensors"}, 0)
    deaf = replace(MODELS, encoder="filmed:deaf_ear")
    assert again(deaf, replace(SMALL, identity="neutral")) == ({"speech.safetensors"}, 0)
    new, looks = again(settings=replace(SMALL, size=128))
    assert new >= {"video.mp4", "sound.wav", "face_mask.png", "identity.safetensors", "speech.safetensors"}
    assert looks == 18 + 18
    film(folder / "new.mp4", voice=300, face=0.5).replace(folder / "videos/a.mp4")
    assert again(settings=replace(SMALL, size=128))[1] == 18


def test_a_file_that_was_lost_or_cut_is_made_again(two):
    folder, again = two
    (mask,), (sound,) = (list((folder / "set").rglob(name)) for name in ("lip_mask.png", "sound.wav"))
    mask.unlink()
    assert "lip_mask.png" in again()[0]
    sound.write_bytes(sound.read_bytes()[:-2])
    assert "sound.wav" in again()[0]
    assert not open_dataset(folder / "set", verify=True).problems[1:]


def test_a_run_that_was_killed_goes_on_where_it_was(two, monkeypatch):
    folder, _ = two
    begun = folder / "begun"

    def killed(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(steps.speech, "encode", killed)
        with pytest.raises(KeyboardInterrupt):
            prepared(folder / "videos", begun)
    (record,) = begun.glob("clips/a-*/record.json")
    assert json.loads(record.read_text())["reason"] == "its preparation was stopped"
    video, filmed.LANDMARKER.looks = next(begun.rglob("video.mp4")).stat().st_mtime_ns, 0
    found = prepared(folder / "videos", begun)
    assert found["a.mp4"].status == "ok"
    assert filmed.LANDMARKER.looks == 18  # of b alone
    assert next(begun.rglob("video.mp4")).stat().st_mtime_ns == video
    assert (begun / "manifest.jsonl").read_bytes() == (folder / "set/manifest.jsonl").read_bytes()
    assert not list(begun.rglob(".*"))


def test_what_is_no_longer_among_the_videos_is_no_longer_in_the_manifest(two):
    folder, again = two
    (folder / "videos/b.mp4").unlink()
    again()
    assert [record.source for record in read_manifest(folder / "set")] == ["a.mp4"]


def test_a_full_disk_is_noticed_before_work_is_lost(two, monkeypatch):
    folder, _ = two
    monkeypatch.setattr(steps, "free", lambda _: 5 << 20)
    found = prepared(folder / "videos", folder / "full")
    assert {record.status for record in found.values()} == {"failed"}
    assert "has 5.24 MB left; make room, and run it again" in found["a.mp4"].reason
    assert not list((folder / "full").rglob("video.mp4"))
    monkeypatch.undo()
    assert prepared(folder / "videos", folder / "full")["a.mp4"].status == "ok"


# ---- several at a time


def manifest(folder: Path) -> bytes:
    return (folder / "manifest.jsonl").read_bytes()


@pytest.fixture(scope="module")
def three(mixed, dataset, tmp_path_factory):
    """Some of those videos, and what became of them."""
    folder, names = tmp_path_factory.mktemp("three"), ("good.mp4", "nobody.mp4", "silent.mp4")
    for name in names:
        shutil.copy(mixed / name, folder)
    return folder, [record for record in read_manifest(dataset) if record.source in names]


def test_processes_make_the_same_and_one_that_dies_takes_no_other_with_it(three, tmp_path):
    """The one without a face kills its process, in a landmarker that is otherwise the same."""
    videos, expected = three
    found = prepared(videos, tmp_path, replace(MODELS, finders="filmed:deadly"), shares=Shares(workers=2))
    assert (found["nobody.mp4"].status, found["nobody.mp4"].reason) == ("failed", work.DIED)
    alike = [
        [replace(record, keys={}) for record in records if record.source != "nobody.mp4"]
        for records in (read_manifest(tmp_path), expected)
    ]
    assert alike[0] == alike[1]


def test_shards_together_make_the_same(dataset, mixed, tmp_path):
    shares = [Shares(workers=0, shards=3, shard=shard) for shard in (2, 0, 1)]
    found = [prepared(mixed, tmp_path, shares=share) for share in shares]
    assert [len(some) for some in found] == [3, 3, 3]
    assert manifest(tmp_path) == manifest(dataset)
    with pytest.raises(ValueError, match="Shard 3 of 3 does not exist"):
        Shares(shards=3, shard=3)


def test_a_ray_cluster_makes_the_same(three, tmp_path):
    pytest.importorskip("ray", reason="ray is an optional extra")
    videos, expected = three
    prepared(videos, tmp_path, shares=Shares(ray="local"))
    assert read_manifest(tmp_path) == expected
