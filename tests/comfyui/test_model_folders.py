"""Model folders by ComfyUI's own folder_paths and extra_model_paths.yaml, over files as users have them."""

import importlib
import json
import os
import queue
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import hostile
import numpy as np
import pytest
import torch
from hub import Hub, serving
from safetensors.numpy import save_file
from shared import REPOSITORY

from joyhallo.methods.hallo.published import PUBLISHED

NET, ENCODER, VAE = "joyhallo/net.pth", "chinese-wav2vec2-base", "sd-vae-ft-mse/diffusion_pytorch_model.safetensors"
FRESH = (NET, ENCODER, "face_analysis", VAE)  # what a new node is set to where nothing is there

# What JoyHallo's README asks for.
PRETRAINED = (
    "audio_separator/download_checks.json",
    "audio_separator/mdx_model_data.json",
    "audio_separator/vr_model_data.json",
    "audio_separator/Kim_Vocal_2.onnx",
    "face_analysis/models/face_landmarker_v2_with_blendshapes.task",
    "face_analysis/models/1k3d68.onnx",
    "face_analysis/models/2d106det.onnx",
    "face_analysis/models/genderage.onnx",
    "face_analysis/models/glintr100.onnx",
    "face_analysis/models/scrfd_10g_bnkps.onnx",
    "hallo/net.pth",
    "joyhallo/net.pth",
    "motion_module/mm_sd_v15_v2.ckpt",
    "sd-vae-ft-mse/config.json",
    "sd-vae-ft-mse/diffusion_pytorch_model.safetensors",
    "stable-diffusion-v1-5/unet/config.json",
    "stable-diffusion-v1-5/unet/diffusion_pytorch_model.safetensors",
    "wav2vec/wav2vec2-base-960h/config.json",
    "wav2vec/wav2vec2-base-960h/feature_extractor_config.json",
    "wav2vec/wav2vec2-base-960h/model.safetensors",
    "wav2vec/wav2vec2-base-960h/preprocessor_config.json",
    "wav2vec/wav2vec2-base-960h/special_tokens_map.json",
    "wav2vec/wav2vec2-base-960h/tokenizer_config.json",
    "wav2vec/wav2vec2-base-960h/vocab.json",
    "chinese-wav2vec2-base/chinese-wav2vec2-base-fairseq-ckpt.pt",
    "chinese-wav2vec2-base/config.json",
    "chinese-wav2vec2-base/preprocessor_config.json",
    "chinese-wav2vec2-base/pytorch_model.bin",
)

KEYS = {
    "checkpoint": tuple(
        f"{network}.weight"
        for network in ("denoising_unet", "reference_unet", "face_locator", "imageproj", "audioproj")
    ),
    "wav2lip": ("face_decoder_blocks.0.0.conv_block.0.weight", "face_encoder_blocks.0.0.conv_block.0.weight"),
    "vae": ("decoder.conv_in.weight", "encoder.conv_in.weight", "post_quant_conv.bias"),
    "patches": ("decoder.enter.weight", "patches.mean", "patches.to_latents", "patches.to_pixels"),
    "wav2vec2": ("encoder.layers.0.final_layer_norm.bias", "feature_projection.projection.weight"),
    "whisper": ("model.encoder.layers.0.fc1.weight", "model.decoder.layers.0.fc1.weight"),
    "unet": ("conv_in.weight", "down_blocks.0.resnets.0.conv1.weight"),
    "flux": ("double_blocks.0.img_attn.proj.weight",),
    "lora": ("lora_unet_down.lora_up.weight",),
}


def lay(root: Path, *names: str, content: bytes = b"") -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)


def lay_weights(root: Path, **kinds: str) -> None:
    """Safetensors files by kind of what they hold."""
    for kind, name in kinds.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        save_file({key: np.zeros(1, np.float16) for key in KEYS[kind]}, root / name)


def lay_encoder(folder: Path, weights: str = "pytorch_model.bin", kind: str = "wav2vec2") -> None:
    lay(folder, weights)
    lay(folder, "config.json", content=json.dumps({"model_type": kind}).encode())


def lay_original(root: Path) -> None:
    lay(root, *PRETRAINED)
    lay_encoder(root / "chinese-wav2vec2-base")
    lay_encoder(root / "wav2vec/wav2vec2-base-960h", "model.safetensors")
    lay_weights(root, vae=VAE, unet="stable-diffusion-v1-5/unet/diffusion_pytorch_model.safetensors")
    lay_weights(root, wav2vec2="wav2vec/wav2vec2-base-960h/model.safetensors")


def import_model_folders() -> ModuleType:
    """As a part of a package, as ComfyUI imports it, but without the nodes around it."""
    for name, path in (("pack", REPOSITORY), ("pack.nodes", REPOSITORY / "nodes")):
        package = ModuleType(name)
        package.__path__ = [str(path)]
        sys.modules[name] = package
    return importlib.import_module("pack.nodes.model_folders")


FRESHLY = ("pack", "folder_paths", "utils", "comfy")  # imported anew for each test


def imported() -> dict[str, ModuleType]:
    return {name: module for name, module in sys.modules.items() if name.partition(".")[0] in FRESHLY}


@pytest.fixture
def tree(comfyui, monkeypatch):
    """ComfyUI's modules as if they had never been imported; other tests find theirs again afterwards."""
    monkeypatch.syspath_prepend(comfyui)
    before = imported()
    for name in before:
        del sys.modules[name]
    yield comfyui
    for name in imported():
        del sys.modules[name]
    sys.modules.update(before)


@pytest.fixture
def models(tmp_path):
    return tmp_path / "models"


@pytest.fixture
def start(tree, tmp_path):
    """ComfyUI's folders under tmp_path, and ours in them, after an extra_model_paths.yaml if there is one."""

    def start(extra_model_paths: str = "") -> ModuleType:
        from comfy.cli_args import args

        args.base_directory = str(tmp_path)
        importlib.import_module("folder_paths")
        if extra_model_paths:
            lay(tmp_path, "extra_model_paths.yaml", content=extra_model_paths.encode())
            extra_config = importlib.import_module("utils.extra_config")
            extra_config.load_extra_path_config(str(tmp_path / "extra_model_paths.yaml"))
        folders = import_model_folders()
        folders.DEMO_MODEL = tmp_path / "demo_model"
        folders.register()
        return folders

    return start


# ---- what there is to choose


def test_a_fresh_install_names_what_can_be_fetched_and_leaves_the_disk_alone(start, models):
    folders = start()
    assert folders.checkpoints() == [NET, "hallo/net.pth"]
    assert folders.audio_encoders() == [ENCODER, "wav2vec/wav2vec2-base-960h"]
    assert folders.face_models() == ["face_analysis", "none"]
    assert folders.vaes() == [VAE]
    assert not models.exists()


@pytest.mark.parametrize("place", ["models/joyhallo", "models/joyhallo/pretrained_models", "elsewhere"])
def test_the_layout_of_the_original_is_recognised(start, tmp_path, place):
    root = tmp_path / place
    lay_original(root)
    folders = start("original:\n  joyhallo: elsewhere\n" if place == "elsewhere" else "")
    assert folders.checkpoints() == [NET, "hallo/net.pth"]
    assert folders.audio_encoders() == [ENCODER, "wav2vec/wav2vec2-base-960h"]
    assert folders.face_models() == ["face_analysis", "none"]
    assert folders.vaes() == [VAE]

    found = folders.find(*FRESH)
    assert found.checkpoint == root / "joyhallo/net.pth"
    assert found.audio_encoder == root / "chinese-wav2vec2-base"
    assert found.face_models == root / "face_analysis/models"
    assert found.face_task == root / "face_analysis/models/face_landmarker_v2_with_blendshapes.task"
    assert found.vae == root / VAE
    assert folders.separator() == root / "audio_separator/Kim_Vocal_2.onnx"


def test_the_clone_of_the_original_can_be_pointed_to(start, tmp_path):
    lay_original(tmp_path / "JoyHallo/pretrained_models")
    lay(tmp_path / "JoyHallo", "configs/inference/inference.yaml", "joyhallo/models/net.py")
    folders = start("original:\n  base_path: JoyHallo\n  joyhallo: .\n")
    assert folders.checkpoints() == [NET, "hallo/net.pth"]
    assert folders.find(*FRESH).checkpoint == tmp_path / "JoyHallo/pretrained_models" / NET


def test_of_one_name_in_several_folders_the_first_counts(start, tmp_path, models):
    for root in (tmp_path / "a", tmp_path / "b", models / "joyhallo"):
        lay_original(root)
    lay(tmp_path / "b", "mine.pth")
    lay(models / "joyhallo", "mine.pth", "old.pth")
    folders = start("disks:\n  joyhallo: |\n    a\n    b\n")
    assert folders.checkpoints() == [NET, "hallo/net.pth", "mine.pth", "old.pth"]
    assert folders.find(*FRESH).checkpoint == tmp_path / "a" / NET
    assert folders.find("mine.pth", *FRESH[1:]).checkpoint == tmp_path / "b/mine.pth"
    assert folders.find("old.pth", *FRESH[1:]).checkpoint == models / "joyhallo/old.pth"


def test_what_is_there_comes_before_what_could_be_fetched(start, models):
    lay_weights(models / "joyhallo", checkpoint="joyhallo.safetensors", vae="mine/vae.safetensors")
    lay_encoder(models / "joyhallo/mine/encoder")
    folders = start()
    assert folders.checkpoints() == ["joyhallo.safetensors", NET, "hallo/net.pth"]
    assert folders.audio_encoders()[0] == "mine/encoder"
    assert folders.vaes() == ["mine/vae.safetensors", VAE]


def test_safetensors_are_told_by_what_they_hold(start, models):
    own = {kind: f"{kind}.safetensors" for kind in KEYS}
    lay_weights(models / "joyhallo", **own)
    lay_weights(models / "diffusion_models", checkpoint="converted/net.safetensors", flux="flux.safetensors")
    lay_weights(models / "unet", checkpoint="older.safetensors", unet="sd.safetensors")
    folders = start()
    ours = ["checkpoint.safetensors", "converted/net.safetensors", "older.safetensors"]
    assert folders.checkpoints() == [*ours, NET, "hallo/net.pth"]
    assert folders.vaes() == ["patches.safetensors", "vae.safetensors", VAE]
    assert folders.find("older.safetensors", "wav2vec2.safetensors", "none", "vae.safetensors") == folders.Files(
        models / "unet/older.safetensors",
        models / "joyhallo/wav2vec2.safetensors",
        None,
        None,
        models / "joyhallo/vae.safetensors",
    )


@pytest.mark.parametrize("kept", ["today's", "of 2020", "TorchScript"])
def test_a_wav2lip_model_is_not_offered_as_a_checkpoint(start, models, kept):
    """Whatever its name; a checkpoint of ours is, in both formats of torch.save."""
    (models / "joyhallo").mkdir(parents=True)
    path = models / "joyhallo" / "wav2lip_gan.pth"
    if kept == "TorchScript":
        torch.jit.script(Wav2LipLike()).save(path)
    else:
        today = kept == "today's"
        weights = {key: torch.zeros(1) for key in KEYS["wav2lip"]}
        torch.save({"state_dict": weights, "optimizer": {}}, path, _use_new_zipfile_serialization=today)
        ours = {key: torch.zeros(1) for key in KEYS["checkpoint"]}
        torch.save(ours, models / "joyhallo" / "ours.pth", _use_new_zipfile_serialization=today)
    assert start().checkpoints() == [*(["ours.pth"] if kept != "TorchScript" else []), NET, "hallo/net.pth"]


class Wav2LipLike(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.face_decoder_blocks = torch.nn.ModuleList([torch.nn.Linear(1, 1)])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x


def test_one_bad_file_costs_itself_alone(start, models, caplog):
    """Deep nesting, cut headers, folders with the names of files: what is good is listed all the same."""
    lay_weights(models / "joyhallo", checkpoint="good.safetensors", vae="vae.safetensors")
    lay_encoder(models / "audio_encoders" / "good")
    lay_encoder(models / "audio_encoders" / "deep")
    lay(models / "audio_encoders" / "deep", "config.json", content=b"[" * 100_000)
    deep = b'{"a":' + b"[" * 100_000
    lay(models / "joyhallo", "deep.safetensors", content=len(deep).to_bytes(8, "little") + deep)
    lay(models / "joyhallo", "long.safetensors", content=(1 << 62).to_bytes(8, "little") + b"{}")
    lay(models / "joyhallo", "deep.pth", content=b"\x80\x02" + b"(" * 1_000_000)
    (models / "joyhallo" / "folder.safetensors").mkdir()
    folders = start()
    assert folders.checkpoints()[:4] == ["deep.pth", "deep.safetensors", "good.safetensors", "long.safetensors"]
    assert "good" in folders.audio_encoders()
    assert "deep" not in folders.audio_encoders()
    assert folders.vaes()[0] == "vae.safetensors"
    assert "deep.safetensors" in caplog.text  # the log names what is left out


def test_no_file_that_is_none_is_opened(start, models, caplog):
    """Named pipes would wait for ever, in any folder and in any place; links may lead nowhere or in a circle."""
    folders = ("joyhallo", "diffusion_models", "audio_encoders", "vae", "insightface", "checkpoints", "detection")
    names = (
        "x.safetensors",
        "x.pth",
        "config.json",
        "scrfd_10g_bnkps.onnx",
        "face_landmarker.task",
        "Kim_Vocal_2.onnx",
    )
    make = {
        "pipe": os.mkfifo,
        "nowhere": lambda path: path.symlink_to("nowhere"),
        "circle": lambda path: path.symlink_to(path.name),
        "folder": Path.mkdir,
    }
    for folder in folders:
        for kind, write in make.items():
            (models / folder / kind).mkdir(parents=True)
            for name in names:
                write(models / folder / kind / name)
    lay(models / "audio_encoders" / "pipe", "model.safetensors")
    lay_encoder(models / "audio_encoders" / "good")
    lay_weights(models / "joyhallo", checkpoint="good.safetensors", vae="vae.safetensors")
    found = start()
    assert found.checkpoints() == ["good.safetensors", NET, "hallo/net.pth"]
    assert found.audio_encoders() == ["good", ENCODER, "wav2vec/wav2vec2-base-960h"]
    assert found.face_models() == ["face_analysis", "none"]
    assert found.vaes()[0] == "vae.safetensors"
    assert found.face_task() is None
    assert found.separator() is None
    assert {"pipe/x.pth", "circle/x.safetensors"} <= {said.split()[0] for said in found.unreadable()}
    with pytest.raises(FileNotFoundError, match="missing"):
        found.find("pipe/x.pth", "pipe", "pipe", "pipe/x.safetensors")


def test_hostile_files_cost_themselves_alone(start, models, tmp_path):
    """All that tests/helpers/hostile.py knows, in each folder that lists are made of."""
    lay_weights(models / "joyhallo", checkpoint="good.safetensors", vae="vae.safetensors")
    lay_encoder(models / "audio_encoders" / "good")
    state, mark = {key: torch.zeros(1) for key in KEYS["checkpoint"]}, tmp_path / "mark"
    cases = [case for case in hostile.cases(state, mark) if not case.name.startswith(SLOW)]
    for folder in ("joyhallo", "diffusion_models", "audio_encoders", "vae"):
        (models / folder).mkdir(exist_ok=True)
        for case in cases if folder == "joyhallo" else cases[::9]:
            case.write(models / folder / case.name)
    for name, content in CONFIGS.items():
        lay(models / "audio_encoders" / name, "model.safetensors")
        lay(models / "audio_encoders" / name, "config.json", content=content)
    mark.unlink(missing_ok=True)
    folders = start()
    assert "good.safetensors" in folders.checkpoints()
    assert folders.audio_encoders() == ["good", ENCODER, "wav2vec/wav2vec2-base-960h"]
    assert folders.vaes()[0] == "vae.safetensors"
    said = folders.unreadable()
    assert not mark.exists()
    assert len(said) > 60
    assert all("\n" not in sentence and len(sentence) < 700 for sentence in said)
    for name in ("deep", "text", "long", "page"):
        assert any(f"audio_encoders{os.sep}{name}{os.sep}config.json" in sentence for sentence in said), name


SLOW = ("deep", "lists", "many", "names-700000", "sparse-bytes", "bomb")  # tests/files/test_hostile.py has them
CONFIGS = {
    "deep": b"[" * 100_000,
    "text": b'"wav2vec2"',
    "number": b"7",
    "null": b"null",
    "long": b" " * (2 << 20),
    "page": b"<!DOCTYPE html><html>",
    "bytes": bytes(range(256)),
    "none": b"",
    "other": b'{"model_type": ["wav2vec2"]}',
}


def test_what_the_page_is_told_of_files_that_cannot_be_read(start, models):
    start()
    fetching = importlib.import_module("pack.nodes.fetching")
    choices = dict(zip(fetching.CHOICES, FRESH, strict=True))
    assert fetching.unreadable(choices) == []
    lay(models / "joyhallo", "page.pth", content=b"<!DOCTYPE html><html>")
    (said,) = fetching.unreadable(choices)
    assert said == "page.pth is a web page, which is what a failed download leaves. Download it again."
    assert fetching.unreadable({"node": "PuppetPortrait"}) == []  # which lists no files
    lay_weights(models / "joyhallo", checkpoint="page.pth")
    assert fetching.unreadable(choices) == []


REDUB = {"node": "LoadRedubModel", "model": "wav2lip/wav2lip_gan.pth"}


def test_what_the_page_may_fetch_to_redub(start, models):
    start()
    fetching = importlib.import_module("pack.nodes.fetching")
    (file,) = fetching.missing(REDUB)
    assert (file["name"], file["size"], file["needed"]) == ("wav2lip/wav2lip_gan.pth", 435_801_865, True)
    assert "no commercial use" in file["licence"]
    assert file["folder"] == str(models / "joyhallo")
    assert fetching.missing(REDUB | {"model": "mine.pth"}) == []  # which nobody publishes
    assert fetching.unreadable(REDUB) == []
    lay(models / "wav2lip", "half.pth", content=b"<!DOCTYPE html><html>")
    assert fetching.unreadable(REDUB) == [
        "half.pth is a web page, which is what a failed download leaves. Download it again."
    ]
    lay(models / "joyhallo", "wav2lip/wav2lip_gan.pth", content=b"")
    assert fetching.missing(REDUB) == []


def test_what_the_page_may_fetch_to_find_faces(start):
    """A file alone, for each node whose panel asks for it."""
    start()
    fetching = importlib.import_module("pack.nodes.fetching")
    page = (REPOSITORY / "web" / "joyhallo.js").read_text(encoding="utf-8")
    asking = re.findall(r"^  (\w+): Missing(?:Landmarker|Tracker|Speaker),$", page, re.MULTILINE)
    assert len(asking) > 4
    for kind in asking:
        (file,) = fetching.missing({"node": kind})
        assert file["name"] == PRETRAINED[4]


def test_a_download_that_failed_tells_of_which_files(start, monkeypatch):
    start()
    fetching = importlib.import_module("pack.nodes.fetching")

    def refuse(*_):
        raise OSError("no connection")

    monkeypatch.setattr(fetching, "fetch", refuse)
    told = queue.Queue()
    fetching.Fetching(told.put).start(REDUB)
    status = told.get(timeout=60)
    assert (status.state, status.message, status.names) == ("failed", "no connection", ["wav2lip/wav2lip_gan.pth"])


def test_a_file_that_becomes_another_is_told_anew(start, models):
    folders = start()
    lay_weights(models / "joyhallo", lora="mine.safetensors")
    assert "mine.safetensors" not in folders.checkpoints()
    lay_weights(models / "joyhallo", checkpoint="mine.safetensors")
    assert "mine.safetensors" in folders.checkpoints()


def test_new_files_and_removed_folders_are_noticed(start, models):
    folders = start()
    assert "mine.pth" not in folders.checkpoints()
    lay(models / "joyhallo", "mine.pth", "deep/er.pth")
    assert {"mine.pth", "deep/er.pth"} <= set(folders.checkpoints())
    for name in ("deep/er.pth", "mine.pth"):
        (models / "joyhallo" / name).unlink()
    (models / "joyhallo/deep").rmdir()
    (models / "joyhallo").rmdir()
    assert folders.checkpoints() == [NET, "hallo/net.pth"]


def test_encoders_in_the_folder_of_comfyui(start, models):
    shared = models / "audio_encoders"
    lay_encoder(shared / "chinese-wav2vec2-base", "model.safetensors")
    lay_encoder(shared / "hubert", kind="hubert")
    lay_weights(shared, wav2vec2="large.safetensors", whisper="whisper.safetensors")
    folders = start()
    assert folders.audio_encoders() == [ENCODER, "wav2vec/wav2vec2-base-960h", "large.safetensors"]
    lay_weights(models / "joyhallo", checkpoint="net.safetensors", vae="vae.safetensors")
    for name in (ENCODER, "large.safetensors"):
        assert folders.find("net.safetensors", name, "none", "vae.safetensors").audio_encoder == shared / name


def test_an_autoencoder_of_another_model_is_not_the_default(start, models):
    lay(models / "vae", "ae.safetensors", "flux/ae.safetensors")
    folders = start()
    assert folders.vaes() == [VAE, "ae.safetensors", "flux/ae.safetensors"]
    lay(models / "vae", "vae-ft-mse-840000-ema-pruned.safetensors")
    assert folders.vaes()[:2] == ["vae-ft-mse-840000-ema-pruned.safetensors", VAE]


def test_the_face_models_of_other_packs_serve_too(start, models):
    lay(models / "insightface/models/antelopev2", "scrfd_10g_bnkps.onnx", "glintr100.onnx", "1k3d68.onnx")
    folders = start()
    assert folders.face_models() == ["antelopev2", "face_analysis", "none"]
    lay_weights(models / "joyhallo", checkpoint="net.safetensors", wav2vec2="speech.safetensors", vae="vae.safetensors")
    found = folders.find("net.safetensors", "speech.safetensors", "antelopev2", "vae.safetensors")
    assert found.face_models == models / "insightface/models/antelopev2"
    assert found.face_task is None


@pytest.mark.parametrize(
    "place",
    [
        "joyhallo/face_analysis/models/face_landmarker_v2_with_blendshapes.task",
        "joyhallo/face_landmarker.task",
        "joyhallo/somewhere/else/face_landmarker.task",
        "detection/face_landmarker.task",
    ],
)
def test_the_landmarker_may_lie_elsewhere(start, models, place):
    folders = start()
    assert folders.face_task() is None
    lay(models, place)
    assert folders.face_task() == models / place


def test_hidden_and_unfinished_files_are_not_offered(start, models):
    lay(models / "joyhallo", "._mine.pth", ".cache/download/net.pth", "a/.trash/net.pth", "joyhallo/net.pth.0a1b.part")
    assert start().checkpoints() == [NET, "hallo/net.pth"]


# ---- cost


class Watch:
    """The files that Python opens."""

    def __init__(self):
        self.opened: list[str] = []
        self.on = False
        sys.addaudithook(self.note)  # which cannot be taken away, only switched off

    def note(self, event, arguments):
        if self.on and event == "open":
            self.opened.append(str(arguments[0]))

    def files_opened(self, work):
        self.opened, self.on = [], True
        try:
            result = work()
        finally:
            self.on = False
        return result, self.opened


def test_listing_opens_each_file_once(start, models):
    lay_original(models / "joyhallo")
    lay(models / "joyhallo", "broken.safetensors")
    lay_weights(models / "diffusion_models", flux="flux.safetensors")
    folders = start()

    def listing():
        return folders.checkpoints(), folders.audio_encoders(), folders.face_models(), folders.vaes()

    watch = Watch()
    first, opened = watch.files_opened(listing)
    assert NET in first[0]
    assert "broken.safetensors" in first[0]  # whoever chooses it is told what is wrong with it
    names = [Path(name).name for name in opened if name.startswith(str(models))]
    assert sorted(names) == [
        "broken.safetensors",
        "config.json",
        "config.json",
        "diffusion_pytorch_model.safetensors",
        "diffusion_pytorch_model.safetensors",
        "flux.safetensors",
        "model.safetensors",
        "net.pth",
        "net.pth",
    ]
    assert watch.files_opened(listing) == (first, [])
    assert watch.files_opened(lambda: folders.find(*FRESH))[1] == []


# ---- what was chosen


def test_names_from_windows_are_understood(start, models):
    lay_original(models / "joyhallo")
    folders = start()
    found = folders.find(*(name.replace("/", "\\") for name in FRESH))
    assert found == folders.find(*FRESH)


@pytest.mark.parametrize(
    "name",
    [
        "../secret.pth",
        "..\\secret.pth",
        "joyhallo/../../secret.pth",
        ".. /secret.pth",
        "/secret.pth",
        "\\secret.pth",
        "C:\\secret.pth",
        "C:secret.pth",
        "//server/share/secret.pth",
        "secret.pth\0",
        "",
        ".",
        "x" * 5000,
        7,
        None,
        ["secret.pth"],
    ],
)
def test_names_do_not_lead_out_of_the_folders(start, models, name):
    lay_original(models / "joyhallo")
    lay(models, "secret.pth", "joyhallo/.. /secret.pth")  # the latter is the former on Windows
    folders = start()
    for chosen in ((name, *FRESH[1:]), (*FRESH[:3], name)):
        with pytest.raises(FileNotFoundError, match="which is in none of the folders") as caught:
            folders.find(*chosen)
        assert len(str(caught.value)) < 2000


def test_one_message_lists_all_that_is_missing(start, tmp_path, models):
    lay(tmp_path / "disk/chinese-wav2vec2-base", "config.json")
    folders = start("disks:\n  joyhallo: disk\n")
    with pytest.raises(FileNotFoundError) as caught:
        folders.find(NET, ENCODER, "face_analysis", "mine.safetensors")
    assert str(caught.value).splitlines() == [
        "4 of the chosen models are missing:",
        "- checkpoint joyhallo/net.pth (about 4.8 GB), from https://huggingface.co/jdh-algo/JoyHallo-v1",
        "- audio encoder chinese-wav2vec2-base/pytorch_model.bin (about 377 MB), from "
        "https://huggingface.co/TencentGameMate/chinese-wav2vec2-base",
        "- face models face_analysis/models/scrfd_10g_bnkps.onnx, face_analysis/models/glintr100.onnx (about 278 MB), "
        "from https://huggingface.co/fudan-generative-ai/hallo; InsightFace's models are for non-commercial research "
        "only",
        "- VAE 'mine.safetensors', which is in none of the folders",
        "- and with these, to find the outline of face and lips, "
        "face_analysis/models/face_landmarker_v2_with_blendshapes.task (about 3.8 MB), from "
        "https://huggingface.co/fudan-generative-ai/hallo",
        "Searched in:",
        *(
            f"- {place}"
            for place in (
                tmp_path / "disk",
                tmp_path / "disk/pretrained_models",
                models / "joyhallo",
                models / "joyhallo/pretrained_models",
                models / "unet",
                models / "diffusion_models",
                models / "audio_encoders",
                models / "insightface",
                models / "insightface/models",
                models / "vae",
            )
        ),
        f"Switch on `download` to fetch those with an address into {tmp_path / 'disk'}.",
        "You can also put them there by hand, under these names, or choose models that you have.",
    ]


def test_without_insightface(start, models):
    """MediaPipe's landmarker has another licence, and serves without it."""
    lay_original(models / "joyhallo")
    folders = start()
    found = folders.find(NET, ENCODER, "none", VAE)
    assert found.face_models is None
    assert found.face_task == models / "joyhallo" / PRETRAINED[4]


def test_the_small_model_of_the_pack(start, tmp_path, models):
    demo = tmp_path / "demo_model"
    folders = start()
    for choices in (folders.checkpoints(), folders.audio_encoders(), folders.vaes()):
        assert "demo" not in choices
    with pytest.raises(FileNotFoundError, match=r"checkpoint demo: this pack's folder .*demo_model lacks net.safetens"):
        folders.find("demo", "demo", "none", "demo")

    lay(demo, "net.safetensors", "vae.safetensors")
    lay_encoder(demo / "wav2vec2", "model.safetensors")
    lay(models / "vae", "ae.safetensors")
    for choices in (folders.checkpoints(), folders.audio_encoders(), folders.vaes()):
        assert choices[-1] == "demo"
    with pytest.raises(FileNotFoundError, match="or choose models that you have, such as demo"):
        folders.find(*FRESH)
    assert folders.find("demo", "demo", "none", "demo") == folders.Files(
        demo / "net.safetensors", demo / "wav2vec2", None, None, demo / "vae.safetensors"
    )


# ---- download


FINDING = """
import json, sys
tree, base, tests, chosen, interrupt = json.loads(sys.argv[1])
sys.path[:0] = [tests + "/helpers", tests + "/comfyui", tree]
import comfy.cli_args
comfy.cli_args.args.base_directory, comfy.cli_args.args.cpu = base, True
from test_model_folders import import_model_folders
folders = import_model_folders()
folders.register()
import comfy.model_management, comfy.utils
bar = []
comfy.utils.set_progress_bar_global_hook(lambda value, total, preview, **more: bar.append((value, total)))
comfy.model_management.interrupt_current_processing(interrupt)
try:
    found, error = str(folders.find(*chosen, download=True).checkpoint), None
except BaseException as raised:  # newer versions of ComfyUI cancel with one
    found, error = None, f"{type(raised).__name__}: {raised}"
print(json.dumps([found, error, bar]))
"""


@pytest.fixture
def hub():
    files = {f"{file.repository}/{file.path}": file for files in PUBLISHED.values() for file in files}
    with serving(Hub({name: name.encode() for name in files})) as hub:
        for name in files:
            if name.endswith(f"{ENCODER}/config.json"):
                hub.files[name] = b'{"model_type": "wav2vec2"}'
        yield hub


@pytest.fixture
def find(tree, tmp_path, hub):
    """In a process of its own: huggingface_hub reads its settings once."""

    def find(*chosen: str, interrupt: bool = False):
        asked = json.dumps([str(tree), str(tmp_path), str(REPOSITORY / "tests"), chosen, interrupt])
        clean = {key: value for key, value in os.environ.items() if not key.upper().startswith(("HF_", "HTTP", "ALL_"))}
        ran = subprocess.run(
            [sys.executable, "-c", FINDING, asked],
            env={**clean, "HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path / "home"), "PYTHONPATH": str(REPOSITORY)},
            capture_output=True,
            text=True,
        )
        assert ran.returncode == 0, ran.stderr
        return *json.loads(ran.stdout.splitlines()[-1]), ran.stderr

    return find


def files_in(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_download_fetches_what_is_missing_and_nothing_else(find, hub, tmp_path, models):
    own = models / "joyhallo"
    mine = [VAE, "chinese-wav2vec2-base/model.safetensors", "face_analysis/glintr100.onnx"]
    lay(own, *mine, "face_analysis/scrfd_10g_bnkps.onnx", content=b"mine")
    found, error, bar, log = find(*FRESH)
    assert error is None
    assert found == str(own / NET)
    assert (own / NET).read_bytes() == b"jdh-algo/JoyHallo-v1/net.pth"
    assert {(own / name).read_bytes() for name in mine} == {b"mine"}
    assert bar[-1] == [1000, 1000]
    assert "InsightFace's models are for non-commercial research only" not in log  # they were there
    assert files_in(own) == sorted(
        [
            NET,
            VAE,
            "audio_separator/Kim_Vocal_2.onnx",
            "chinese-wav2vec2-base/config.json",
            "chinese-wav2vec2-base/model.safetensors",
            "chinese-wav2vec2-base/preprocessor_config.json",
            "face_analysis/glintr100.onnx",
            "face_analysis/models/face_landmarker_v2_with_blendshapes.task",
            "face_analysis/scrfd_10g_bnkps.onnx",
        ]
    )

    hub.requests.clear()
    assert find(*FRESH)[:2] == (found, None)
    assert hub.requests == []


def test_the_licence_of_the_face_models_is_told_when_they_are_fetched(find):
    assert "InsightFace's models are for non-commercial research only" in find(*FRESH)[3]


def test_download_asks_nobody_when_a_file_cannot_be_had(find, hub, models):
    error = find("mine.safetensors", *FRESH[1:])[1]
    assert error.startswith("FileNotFoundError: 4 of the chosen models are missing:")
    assert hub.requests == []
    assert not models.exists()


def test_comfyui_cancels_a_download(find, hub, models):
    error = find(*FRESH, interrupt=True)[1]
    assert error.startswith("InterruptProcessingException")
    assert not (models / "joyhallo" / NET).exists()
