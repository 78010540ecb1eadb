"""The format of prepared clips: what is written comes back, and what is not whole is refused with the reason."""

import json
import pickle
import shutil
from dataclasses import replace

import av
import clips
import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from seeded import normals

from joyhallo.data import dataset
from joyhallo.data.dataset import DatasetError, Record, open_dataset

BAD = Record("bad", "no face.mp4", "skipped", "no face was found")


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    return clips.write(tmp_path_factory.mktemp("dataset"), others=[BAD])


@pytest.fixture
def folder(written, tmp_path):
    """One that a test may spoil."""
    return shutil.copytree(written, tmp_path / "copy")


def decoded(path):
    with av.open(str(path)) as file:
        return [frame.to_ndarray(format="rgb24") for frame in file.decode(video=0)]


# ---- there and back


def test_each_split_has_its_clips_and_the_problems_of_both(written):
    train, validation = (open_dataset(written, split) for split in dataset.SPLITS)
    assert [clip.id for clip in train.clips] == ["clip0", "clip1"]
    assert [clip.id for clip in validation.clips] == ["clip2"]
    assert train.frames == 70
    for found in (train, validation):
        assert [(each.id, each.source, each.reason) for each in found.problems] == [
            ("bad", "no face.mp4", "no face was found")
        ]


def test_the_video_is_square_25_fps_and_close_to_what_was_drawn(written):
    path = written / "clips/clip0/video.mp4"
    with av.open(str(path)) as file:
        stream = file.streams.video[0]
        assert (stream.width, stream.height, stream.average_rate, stream.frames) == (64, 64, 25, 30)
    drawn = clips.pictures("clip0", 30).movedim(1, -1).numpy() * 255
    assert np.abs(np.stack(decoded(path)) - drawn).mean() < 2  # of 255; as new as each frame is


@pytest.mark.parametrize("indices", [[0], [29], [5, 6, 7], [20, 3, 20, 11], [28, 0, 14], [11, 12, 13, 25], []], ids=str)
def test_frames_are_those_of_a_decoder_that_starts_at_the_beginning(written, indices):
    """Key frames lie at 0, 12 and 24: the choices begin on them, before, after, and go to and fro."""
    clip = open_dataset(written).clips[0]
    every = decoded(written / "clips/clip0/video.mp4")
    found = clip.frames(indices)
    assert found.shape == (len(indices), 3, 64, 64)
    expected = [torch.from_numpy(every[index]).permute(2, 0, 1) / 127.5 - 1 for index in indices]
    assert all(torch.allclose(one, other, atol=1e-6) for one, other in zip(found, expected, strict=True))


def test_a_frame_beyond_the_clip_is_an_error_not_the_last_one(written):
    clip = open_dataset(written).clips[0]
    for ask in (clip.frames, clip.latents):
        for index in (30, -1):
            with pytest.raises(IndexError, match=rf"30 frames; frame {index} does not exist"):
                ask([0, index])


def test_numbers_come_back(written):
    clip = open_dataset(written).clips[1]
    assert (clip.length, clip.size) == (40, 64)
    assert torch.equal(clip.identity, normals("clip1 identity", (512,)))
    assert torch.equal(clip.speech, normals("clip1 speech", (40, 3, 16)))
    kept = load_file(written / "clips/clip1/latents.safetensors")
    latents = clip.latents([7, 3, 7])
    assert latents is not None
    for found, name in zip(latents, ("mean", "logvar"), strict=True):
        assert torch.equal(found, kept[name][[7, 3, 7]].float())
    assert clip.mouth is None


def test_the_sound_is_16_kHz_and_as_long_as_the_pictures(written):
    recording = open_dataset(written).clips[0].recording
    assert recording.frames == 30
    assert (recording.samples - 0.1 * normals("clip0 sound", (30 * 640,))).abs().max() < 1 / 32768


def test_masks_are_pictures_that_anything_reads(written):
    clip = open_dataset(written).clips[0]
    face = np.array(Image.open(written / "clips/clip0/face_mask.png"))
    assert face.dtype == np.uint8
    assert torch.equal(clip.face_mask, torch.from_numpy(face) / 255)
    assert (face[12:56, 16:48] == 255).all()
    assert face.sum() == 255 * 44 * 32
    assert [mask.shape for mask in (clip.masks.pose, clip.masks.expression, clip.masks.lip)] == [(64, 64)] * 3
    assert int(clip.masks.lip[45, 32]) == 255  # in the middle of the lips
    assert int(clip.masks.lip[0, 0]) == 0


def test_a_frame_is_a_portrait_for_the_sampler(written):
    clip = open_dataset(written).clips[0]
    portrait = clip.portrait(4)
    assert torch.equal(portrait.picture, clip.frames([4])[0])
    assert torch.equal(portrait.locator, clip.face_mask.expand(3, -1, -1))
    assert [mask.shape for mask in portrait.masks] == [(3, 64), (3, 16), (3, 4), (3, 1)]


def test_clips_travel_to_workers_as_their_record_alone(written):
    clip = open_dataset(written).clips[0]
    before = len(pickle.dumps(clip))
    clip.frames([0]), clip.speech, clip.masks, clip.face_mask
    assert len(pickle.dumps(clip)) == before < 4000
    assert torch.equal(pickle.loads(pickle.dumps(clip)).frames([3]), clip.frames([3]))  # noqa: S301


def test_a_dataset_may_be_moved(written, folder):
    assert torch.equal(open_dataset(folder).clips[0].frames([2]), open_dataset(written).clips[0].frames([2]))


# ---- what is wrong is found before training begins


def spoil(path, change):
    content = bytearray(path.read_bytes())
    change(content)
    path.write_bytes(bytes(content))


@pytest.mark.parametrize("name", ["video.mp4", "lip_mask.png", "speech.safetensors", "latents.safetensors"])
def test_missing_and_cut_files_are_refused_one_by_one(folder, name):
    (folder / "clips/clip0" / name).unlink()
    spoil(folder / "clips/clip1" / name, lambda content: content.pop())
    found = open_dataset(folder)
    assert not found.clips
    reasons = {each.id: each.reason for each in found.problems}
    assert f"clips/clip0/{name} does not exist; prepare it again" in reasons["clip0"]
    assert "bytes, expected" in reasons["clip1"]


def test_a_changed_byte_is_found_if_asked_for(folder):
    def change(content):
        content[-1] ^= 1

    spoil(folder / "clips/clip0/video.mp4", change)
    assert len(open_dataset(folder).clips) == 2
    found = open_dataset(folder, verify=True)
    assert [clip.id for clip in found.clips] == ["clip1"]
    assert "video was changed after it was made" in found.problems[1].reason


def test_features_of_another_length_are_refused(folder):
    records = dataset.read_manifest(folder)
    dataset.write_manifest(folder, [replace(record, length=record.length + 1) for record in records])
    assert all("does not fit" in each.reason or each.id == "bad" for each in open_dataset(folder).problems)
    assert not open_dataset(folder).clips


def test_what_is_no_dataset_is_said_in_words(folder, tmp_path):
    with pytest.raises(DatasetError, match=r"it lacks dataset\.json"):
        open_dataset(tmp_path / "nowhere")
    with pytest.raises(DatasetError, match="split 'test' is unknown; choose one of train, validation"):
        open_dataset(folder, "test")
    with (folder / "manifest.jsonl").open("a") as file:
        file.write('{"id": "half')
    with pytest.raises(DatasetError, match=r"Line 5 of .*manifest\.jsonl is not a clip's record"):
        open_dataset(folder)
    (folder / "manifest.jsonl").unlink()
    with pytest.raises(DatasetError, match="preparation was stopped"):
        open_dataset(folder)
    (folder / "dataset.json").write_text(json.dumps({"version": 99}))
    with pytest.raises(DatasetError, match="version 99, but this version of the code expects 1"):
        open_dataset(folder)


# ---- writing


def test_a_file_that_is_not_finished_is_not_there(tmp_path):
    path = tmp_path / "deep" / "file.txt"
    dataset.write_text(path, "before")

    def fail():
        with dataset.replacing(path) as temporary:
            temporary.write_text("half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert path.read_text() == "before"
    assert [file.name for file in path.parent.iterdir()] == ["file.txt"]


def test_the_manifest_is_the_same_in_any_order(tmp_path):
    records = [Record(f"{number}", "语音 one.mp4", "ok") for number in range(3)]
    for name, some in (("a", records), ("b", records[::-1])):
        dataset.write_manifest(tmp_path / name, some)
    assert (tmp_path / "a/manifest.jsonl").read_bytes() == (tmp_path / "b/manifest.jsonl").read_bytes()
    assert dataset.read_manifest(tmp_path / "a") == records


def test_the_split_goes_by_the_name_and_has_its_share():
    found = [dataset.split_of(f"speaker {number}", 0.2) for number in range(1000)]
    assert 160 < found.count("validation") < 240
    assert found == [dataset.split_of(f"speaker {number}", 0.2) for number in range(1000)]
    assert {dataset.split_of(f"{number}", 0) for number in range(100)} == {"train"}


def test_the_share_that_is_named_holds_out_one_speaker_of_any_few():
    for count in (2, 3, 5):
        for first in range(0, 200, 5):
            names = [f"{number}.mp4" for number in range(first, first + count)]
            share = dataset.share_for_one(names)
            assert [dataset.split_of(name, share) for name in names].count("validation") == 1
            assert f"--validation {share:.16g};" in dataset.none_held_out(names)
            assert float(f"{share:.16g}") == share
    assert dataset.share_for_one(["anna", "anna"]) is None
    assert "--validation" not in dataset.none_held_out(["anna", "anna"])
