"""Datasets in the original's layout: what it would read is what we have, and it comes back."""

import json
import shutil

import clips
import numpy as np
import pytest
import torch
from PIL import Image

from joyhallo.data import interchange
from joyhallo.data.dataset import DatasetError, open_dataset
from joyhallo.data.interchange import bring_in, export, unpickled

STAGE_2 = {  # as the original's training asks for them
    "video_path",
    "mask_path",
    "sep_mask_border",
    "sep_mask_face",
    "sep_mask_lip",
    "face_emb_path",
    "audio_path",
    "vocals_emb_base_all",
}


@pytest.fixture(scope="module")
def there(tmp_path_factory):
    """A dataset, and the folder that it was exported to."""
    folder = tmp_path_factory.mktemp("interchange")
    clips.write(folder / "ours", (30, 24))
    assert interchange.main(["export", str(folder / "ours"), "-o", str(folder / "theirs"), "--name", "some"]) == 0
    return folder / "ours", folder / "theirs"


@pytest.fixture
def copied(there, tmp_path):
    """One that a test may spoil: the entries of stage 2, and where they are written."""
    shutil.copytree(there[1], tmp_path / "theirs")
    path = tmp_path / "theirs" / "some_stage2.json"
    entries = json.loads(path.read_text().replace(str(there[1]), str(tmp_path / "theirs")))
    path.write_text(json.dumps(entries))
    return path, entries


def ours_by_name(folder):
    return {clip.id: clip for split in ("train", "validation") for clip in open_dataset(folder, split).clips}


def test_stage_1_finds_pictures_masks_and_identities(there):
    ours, theirs = there
    entries = json.loads((theirs / "some_stage1.json").read_text())
    assert len(entries) == 2
    for entry in entries:
        assert entry.keys() == {"image_path", "mask_path", "face_emb"}
        clip = ours_by_name(ours)[entry["image_path"].rpartition("/")[2]]
        names = sorted(path.name for path in (theirs / "images" / clip.id).iterdir())
        assert names == [f"{number:06d}.png" for number in range(1, clip.length + 1)]
        picture = np.asarray(Image.open(f"{entry['image_path']}/{names[7]}").convert("RGB"))
        assert np.array_equal(picture, ((clip.frames([7])[0] + 1) * 127.5).round().byte().permute(1, 2, 0).numpy())
        mask = np.asarray(Image.open(entry["mask_path"])) / 255
        assert np.array_equal(mask.astype(np.float32), clip.face_mask.numpy())
        assert np.array_equal(torch.load(entry["face_emb"], weights_only=False), clip.identity.numpy())


def test_stage_2_finds_all_eight_files(there):
    ours, theirs = there
    for entry in json.loads((theirs / "some_stage2.json").read_text()):
        assert entry.keys() == STAGE_2
        clip = ours_by_name(ours)[entry["video_path"].rpartition("/")[2].removesuffix(".mp4")]
        assert torch.equal(torch.load(entry["vocals_emb_base_all"], weights_only=False), clip.speech)
        for key, mask in (
            ("sep_mask_border", clip.masks.pose),
            ("sep_mask_face", clip.masks.expression),
            ("sep_mask_lip", clip.masks.lip),
        ):
            assert np.array_equal(np.asarray(Image.open(entry[key])), mask)


def test_it_comes_back(there, tmp_path):
    ours, theirs = there
    code = interchange.main(
        ["import", str(theirs / "some_stage2.json"), "-o", str(tmp_path), "--size", "64", "--workers", "0"]
    )
    assert code == 0
    back = {clip.record.source: clip for clip in ours_by_name(tmp_path).values()}
    for name, clip in ours_by_name(ours).items():
        assert back[name].length == clip.length
        assert torch.equal(back[name].identity, clip.identity)
        assert torch.equal(back[name].speech, clip.speech)
        assert torch.equal(back[name].face_mask, clip.face_mask)
        for region in ("pose", "expression", "lip"):
            assert np.array_equal(getattr(back[name].masks, region), getattr(clip.masks, region))
        assert (back[name].recording.samples - clip.recording.samples).abs().max() < 1e-4
        indices = range(clip.length)
        assert (back[name].frames(indices) - clip.frames(indices)).abs().mean() < 0.02  # encoded once more


def test_what_lacks_something_is_listed_and_the_rest_brought_in(there, copied, tmp_path):
    path, entries = copied
    (path.parent / "sep_lip_mask/clip0.png").unlink()
    torch.save(None, entries[1]["face_emb_path"])  # as the original writes it where it finds no face
    more = [{**entries[1], "video_path": entries[1]["video_path"].replace("clip1", "clip2")}]
    shutil.copy(entries[1]["video_path"], more[0]["video_path"])
    shutil.copy(there[1] / "face_emb/clip1.pt", path.parent / "face_emb/clip2.pt")
    more[0]["face_emb_path"] = str(path.parent / "face_emb/clip2.pt")
    path.write_text(json.dumps([*entries, *more]))
    found = {record.source: record for record in bring_in([path], tmp_path / "set", size=64)}
    assert found["clip0"].status == "skipped"
    assert "sep_lip_mask/clip0.png" in found["clip0"].reason
    assert (found["clip1"].status, found["clip1"].reason) == ("skipped", "its face was not recognised")
    assert found["clip2"].status == "ok"


def test_fewer_features_than_frames_shorten_the_clip(copied, tmp_path):
    """As the original's training does."""
    path, entries = copied
    features = torch.load(entries[0]["vocals_emb_base_all"])
    torch.save(features[:27], entries[0]["vocals_emb_base_all"])
    lengths = {record.source: record.length for record in bring_in([path], tmp_path / "set", size=64)}
    assert lengths == {"clip0": 27, "clip1": 24}


def test_stage_1_alone_is_not_enough_but_does_not_stand_in_the_way(there, tmp_path):
    theirs = there[1]
    alone = bring_in([theirs / "some_stage1.json"], tmp_path / "one", size=64)
    assert {record.status for record in alone} == {"skipped"}
    assert "use the meta file of stage 2" in alone[0].reason
    both = bring_in([theirs / "some_stage2.json", theirs / "some_stage1.json"], tmp_path / "two", size=64)
    assert [record.status for record in both] == ["ok", "ok"]


class Harm:
    def __reduce__(self):
        return (print, ("harm",))


def test_a_pickle_that_would_run_code_does_not(tmp_path, capsys):
    torch.save(Harm(), tmp_path / "face.pt")
    with pytest.raises(Exception, match=r"weights_only|WeightsUnpickler|Unsupported"):
        unpickled(tmp_path / "face.pt")
    assert "harm" not in capsys.readouterr().out


def test_arrays_of_both_numpys_are_read(tmp_path):
    array = np.linspace(0, 1, 512, dtype=np.float32)
    torch.save(array, tmp_path / "new.pt")
    assert np.array_equal(unpickled(tmp_path / "new.pt"), array)
    torch.save(array, tmp_path / "old.pt", _use_new_zipfile_serialization=False)
    content = (tmp_path / "old.pt").read_bytes()
    assert b"numpy._core.multiarray" in content
    old = content.replace(b"numpy._core.multiarray", b"numpy.core.multiarray")
    (tmp_path / "old.pt").write_bytes(old)
    assert np.array_equal(unpickled(tmp_path / "old.pt"), array)


def test_what_is_no_meta_file_is_said_in_words(tmp_path, capsys):
    (tmp_path / "some.json").write_text('{"a": 1}')
    for name in ("some.json", "none.json"):
        with pytest.raises(DatasetError, match="is not a meta file"):
            bring_in([tmp_path / name], tmp_path / "set")
    assert interchange.main(["export", str(tmp_path / "nowhere"), "-o", str(tmp_path / "out")]) == 2
    assert "is not a dataset" in capsys.readouterr().err
    clips.write(tmp_path / "ours", ())
    with pytest.raises(DatasetError, match="no clip with speech features"):
        export(tmp_path / "ours", tmp_path / "out", "x")
