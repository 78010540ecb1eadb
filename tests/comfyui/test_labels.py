"""Labels of films made by AI, through ComfyUI's nodes and settings; read back by FFmpeg and by C2PA's library."""

from __future__ import annotations

import json
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from certificates import certificate
from film import Film
from labels import record, settle
from loaded import Loaded
from marked import MANIFEST, boxed, marked, tags_of

from tools.comfyui.server import Client

THEIRS = '{"Label":"1","ContentProducer":"Somebody","ProduceID":"7"}'
WORKFLOW = {"nodes": [], "links": [], "version": 0.4, "extra": {"name": "嘴型"}}
SAVED = {"fps": 25.0, "format": "mp4", "quality": "high"}


def credentials(path) -> dict:
    import c2pa

    with c2pa.Reader(str(path)) as reader:
        return json.loads(reader.json())


def pictures(path) -> np.ndarray:
    with av.open(str(path)) as file:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in file.decode(video=0)])


# ---- saved in a ComfyUI


@dataclass
class Saved:
    files: dict[str, Path]
    texts: dict[str, str]  # that nodes show
    names: dict[str, str]  # numbers of nodes

    def __getitem__(self, name: str) -> Path:
        return self.files[self.names[name]]

    def told(self, name: str) -> str:
        return self.texts.get(self.names[name], "")


@pytest.fixture(scope="module")
def user(server):
    """Its settings, which other tests do not see."""
    yield server.base / "user"
    (server.base / "user" / "default" / "comfy.settings.json").unlink(missing_ok=True)


@pytest.fixture(scope="module")
def save(server, user):
    """Save all at once: what the sampler made, its frames, and films of others."""
    folder = server.base / "input"
    marked(folder / "camera.mp4", {"comment": "a holiday"}, side=128)
    marked(folder / "theirs.mp4", {"AIGC": THEIRS, "software": "Theirs 2"})
    boxed(marked(folder / "signed.mp4"), MANIFEST, b"by a camera")

    runs = count()  # ComfyUI's own node does not look at our settings

    def save(**settings) -> Saved:
        settle(user, **settings)
        graph, names, core = Film(saved={"label": "AI生成, first 2 s"}), {}, f"core{next(runs)}"
        names["ours"] = graph.saved.node
        names["core"] = graph.add(
            "SaveVideo", video=graph.sampler[0], filename_prefix=core, format="mp4", codec="h264"
        ).node
        frames = graph.add("GetVideoComponents", video=graph.sampler[0])[0]
        names["frames"] = graph.add("SaveTalkingVideo", frames=frames, filename_prefix="frames", **SAVED).node
        for name, label in (
            ("camera", "off"),
            ("theirs", "off"),
            ("signed", "off"),
            ("labelled", "AI-generated, whole video"),
        ):
            video = graph.add("LoadVideo", file="camera.mp4" if name == "labelled" else f"{name}.mp4")[0]
            changes = {"video": video, "filename_prefix": name, "label": label}
            names[name] = graph.add("SaveTalkingVideo", **SAVED, **changes).node
        run = Client(server.url).run(graph, workflow=WORKFLOW)
        assert run.status == "success", run.message
        files = {node: run.files(node) for node in names.values()}
        paths = {node: server.base / f["type"] / f["subfolder"] / f["filename"] for node, (f,) in files.items()}
        return Saved(paths, dict(run.texts), names)

    return save


@pytest.fixture(scope="module")
def plain(save):
    """As after an installation."""
    return save()


@pytest.mark.parametrize("name", ["ours", "core", "frames"])
def test_what_the_sampler_made_says_that_it_is_made_by_ai(plain, name):
    found = record(plain[name])
    assert found["Label"] == "1"
    assert found["ContentProducer"] == "ComfyUI-JoyHallo"
    assert found["ProduceID"]
    assert tags_of(plain[name])["software"].startswith("ComfyUI-JoyHallo ")
    assert json.loads(tags_of(plain[name])["workflow"]) == WORKFLOW


def test_a_film_has_one_number_wherever_it_is_saved(plain):
    assert record(plain["ours"])["ProduceID"] == record(plain["core"])["ProduceID"]
    assert record(plain["ours"])["ProduceID"] != record(plain["frames"])["ProduceID"]


def test_nothing_is_claimed_of_a_camera_s_film(plain):
    assert not {"aigc", "software"} & set(tags_of(plain["camera"]))
    assert plain.told("camera") == ""


def test_who_labels_a_film_for_viewers_says_it_in_the_file_too(plain):
    assert record(plain["labelled"])["Label"] == "1"
    assert (pictures(plain["labelled"])[-1] > 180).any()
    assert (pictures(plain["camera"])[-1] < 20).all()


def test_labels_of_others_are_kept_and_named(plain):
    assert tags_of(plain["theirs"])["aigc"] == THEIRS
    assert tags_of(plain["theirs"])["software"] == "Theirs 2"
    assert (
        plain.told("theirs") == "Labels of the input, kept: AIGC record (made by AI, by Somebody), software Theirs 2."
    )


def test_credentials_that_cannot_be_kept_are_named(plain):
    assert "Labels of the input, kept" not in plain.told("signed")
    assert "C2PA credentials hold for the input's own pictures" in plain.told("signed")


def test_settings_name_the_producer_and_sign(save, tmp_path_factory):
    chain, key = certificate(tmp_path_factory.mktemp("own"))
    found = save(Producer="北京某某科技", Certificate=str(chain), Key=f" {key} ")
    for name in ("ours", "core", "frames", "labelled"):
        assert record(found[name])["ContentProducer"] == "北京某某科技"
        told = credentials(found[name])
        assert told["validation_state"] == "Valid"
        assert "trainedAlgorithmicMedia" in json.dumps(told)
        assert json.loads(tags_of(found[name])["workflow"]) == WORKFLOW
    assert b"c2pa" not in found["camera"].read_bytes()
    assert found.told("ours") == ""
    assert "Saved, but not signed" in found.told("signed"), "what is no manifest cannot be kept within another"


def test_a_film_that_cannot_be_signed_is_saved_and_the_node_says_so(save):
    found = save(Certificate="nowhere.pem", Key="nowhere.key")
    assert len(pictures(found["ours"])) == 15
    assert found.told("ours").startswith("Saved, but not signed: The certificate nowhere.pem cannot be read")
    assert record(found["ours"])["Label"] == "1"


def test_the_switch_turns_ours_off_and_leaves_those_of_others(save, plain):
    found = save(Write=False)
    for name in ("ours", "core", "frames", "labelled", "camera"):
        assert not {"aigc", "software"} & set(tags_of(found[name])), name
    assert tags_of(found["theirs"])["aigc"] == THEIRS
    assert json.loads(tags_of(found["ours"])["workflow"]) == WORKFLOW
    assert (pictures(found["ours"])[0] != pictures(found["core"])[0]).any(), "what is chosen on the node stays"


# ---- what the sampler hands on


@pytest.fixture(scope="module")
def loaded(pack):
    return Loaded(pack)


@pytest.fixture(scope="module")
def make(loaded):
    given = {"model": loaded.model, "vae": loaded.vae, "face": loaded.face, "speech": loaded.speech}
    weights = dict.fromkeys(("pose_weight", "expression_weight", "lip_weight"), 1.0)
    settings = {"seed": 1, "preset": "exact", "steps": 1, "cfg": 1.0, "size": 64, "resume": False}

    @torch.inference_mode()
    def make(**changes):
        return loaded.sampler.execute(**given, **weights, **settings, **{"picture": "square", **changes}).args

    return make


@pytest.fixture
def own_settings(pack, monkeypatch, tmp_path):
    import folder_paths

    monkeypatch.setattr(folder_paths, "get_user_directory", lambda: str(tmp_path / "user"))
    return tmp_path / "user"


def line(report: str) -> str:
    return next(line for line in report.splitlines() if line.startswith("Labels: ")).rstrip()


def test_the_sampler_s_own_file_is_labelled_for_nodes_that_copy_it(make, own_settings):
    video, report, _ = make()
    assert record(video.path)["Label"] == "1"
    assert line(report) == "Labels: made by AI, with these nodes"


def test_what_comfyui_writes_by_itself_is_labelled_and_not_called_unsigned(make, own_settings, tmp_path, caplog):
    """It cannot be signed, as it is encoded once more after we had it."""
    chain, key = certificate(tmp_path)
    settle(own_settings, Certificate=str(chain), Key=str(key))
    make()[0].save_to(str(tmp_path / "saved.mov"))
    assert record(tmp_path / "saved.mov")["Label"] == "1"
    assert "not signed" not in caplog.text


def test_labels_of_a_background_are_kept_and_reported(make, own_settings, tmp_path):
    from comfy_api.latest import InputImpl

    path = marked(tmp_path / "theirs.mp4", {"AIGC": THEIRS}, side=512)
    boxed(path, MANIFEST, b"digitalsourcetype/trainedAlgorithmicMedia\0")
    video, report, _ = make(background=InputImpl.VideoFromFile(str(path)), picture="whole picture")
    assert line(report) == (
        "Labels: made by AI, with these nodes; of the background: AIGC record (made by AI, by Somebody), digital "
        "source type trainedAlgorithmicMedia, C2PA credentials"
    )
    settle(own_settings, Write=False)
    video.save_to(str(tmp_path / "saved.mp4"))
    for file in (video.path, tmp_path / "saved.mp4"):
        assert tags_of(file)["aigc"] == THEIRS
        assert tags_of(file)["digitalsourcetype"] == "trainedAlgorithmicMedia"


def test_credentials_of_a_background_are_kept_within_those_of_the_film(pack, make, own_settings, tmp_path):
    from comfy_api.latest import InputImpl

    chain, key = certificate(tmp_path)
    path = marked(tmp_path / "camera.mp4", side=512)
    own = pack.joyhallo.film.credentials.Certificate(chain, key)
    own.sign(path, "mp4", ("A camera", "1"), True)
    settle(own_settings, Certificate=str(chain), Key=str(key))
    video = make(background=InputImpl.VideoFromFile(str(path)), picture="whole picture")[0]
    video.save_to(str(tmp_path / "saved.mp4"))
    told = credentials(tmp_path / "saved.mp4")
    assert told["validation_state"] == "Valid"
    (part,) = told["manifests"][told["active_manifest"]]["ingredients"]
    assert part["title"] == "camera.mp4"
    assert part["active_manifest"] == credentials(path)["active_manifest"]


@pytest.mark.parametrize("text", [None, "", "no JSON", "[]", '{"JoyHallo.Labels.Producer": 5}', "\ufffd[" * 9])
def test_settings_that_cannot_be_read_are_as_if_nobody_had_changed_them(pack, own_settings, text):
    if text is not None:
        settle(own_settings)
        (own_settings / "default" / "comfy.settings.json").write_text(text, encoding="utf-16")
    wishes = pack.nodes.labels.Wishes
    assert wishes.now() == wishes() == wishes(True, "ComfyUI-JoyHallo", None)
