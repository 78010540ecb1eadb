import argparse
import gzip
import json
import pickle
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import hostile
import pytest
import seeded
import small
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from shared import CARRIED, REPOSITORY
from torch.overrides import TorchFunctionMode

from joyhallo.convert import convert, main
from joyhallo.diffusion.codec import CodecConfig, load_codec
from joyhallo.diffusion.schedule import ScheduleConfig
from joyhallo.files.contents import WeightsError
from joyhallo.files.space import RoomError
from joyhallo.files.weights import modern_spelling
from joyhallo.methods.hallo.checkpoint import HEADER_ENTRY, header_entry, load_checkpoint, model_config
from joyhallo.methods.hallo.config import ModelConfig, NetConfig
from joyhallo.methods.hallo.networks.net import Net

pytestmark = pytest.mark.slow

PUBLISHED = json.loads(gzip.decompress((CARRIED / "keys_and_shapes.json.gz").read_bytes()))
SMALL = small.SHALLOW
SKIPPED = ("denoising_unet.down_blocks.3.motion_modules.", "denoising_unet.up_blocks.0.motion_modules.")


@pytest.fixture(scope="module")
def state():
    """The small network's weights, with the motion modules that are in the published files but never run."""
    weights = small.net(SMALL, audio_layers=12, audio_channels=768, heads=8, norm_groups=32).state_dict()
    return {**weights, "denoising_unet.up_blocks.0.motion_modules.0.temporal_transformer.norm.weight": torch.ones(64)}


@pytest.fixture(scope="module")
def weights():
    return small.net(SMALL).state_dict()


@pytest.fixture(scope="module")
def shapes(weights):
    return {key: tuple(tensor.shape) for key, tensor in weights.items()}


@pytest.fixture
def checkpoint(tmp_path, state):
    torch.save(state, tmp_path / "net.pth")
    return tmp_path / "net.pth"


def complaint(path) -> str:
    with pytest.raises(WeightsError) as caught:
        load_checkpoint(path)
    assert path.name in str(caught.value)
    return str(caught.value)


def refusal(shapes, told: str) -> str:
    """What is said of a file with tensors of these shapes, and this in its header; writing it would take 0.1 s."""
    with pytest.raises(WeightsError) as caught:
        model_config(Path("net.safetensors"), shapes, {HEADER_ENTRY: told})
    assert "net.safetensors" in str(caught.value)
    return str(caught.value)


# ---- what loads


@pytest.mark.parametrize("name", ["joyhallo", "hallo"])
def test_the_published_files_match_key_for_key_and_shape_for_shape(name):
    published = {key: tuple(shape) for key, shape in PUBLISHED[name].items()}
    with torch.device("meta"):
        ours = Net(NetConfig(regional_audio=name == "hallo")).state_dict()
    skipped = {key for key in published if key.startswith(SKIPPED)}
    assert {key: tuple(tensor.shape) for key, tensor in ours.items()} == {
        key: shape for key, shape in published.items() if key not in skipped
    }
    assert len({key.split(".temporal_transformer")[0] for key in skipped}) == 5


@pytest.mark.parametrize("name", ["joyhallo", "hallo"])
def test_the_published_sizes_are_told_from_the_shapes(name):
    from joyhallo.methods.hallo.checkpoint import net_config

    shapes = {key: tuple(shape) for key, shape in PUBLISHED[name].items()}
    assert net_config(shapes, {}) == NetConfig(regional_audio=name == "hallo")


class Called(TorchFunctionMode):
    """Names of the functions that are called meanwhile."""

    def __init__(self):
        super().__init__()
        self.names = set()

    def __torch_function__(self, function, types, args=(), kwargs=None):
        self.names.add(function.__name__)
        return function(*args, **(kwargs or {}))


def test_weights_are_drawn_unless_a_file_fills_them():
    """On the meta device that would take most of the time of a load, twice."""
    drawing = {"kaiming_uniform_", "uniform_", "fill_", "zero_"}
    with Called() as calls:
        Net(SMALL)
    assert calls.names > drawing
    with torch.device("meta"), Called() as calls:
        Net(SMALL)
    assert "empty" in calls.names
    assert calls.names.isdisjoint(drawing)


def test_a_pickled_checkpoint_loads_as_it_is(checkpoint, state):
    model = load_checkpoint(checkpoint)
    assert model.name == "JoyHallo"
    assert model.config.net == replace(SMALL, heads=8, norm_groups=32, audio_layers=12, audio_channels=768)
    for key, tensor in model.net.state_dict().items():
        assert torch.equal(tensor, state[key]), key


def test_an_old_unzipped_pickle_loads_too(tmp_path, state):
    torch.save(state, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    assert load_checkpoint(tmp_path / "old.pth").name == "JoyHallo"


def test_hallo_is_told_by_its_three_attentions(tmp_path):
    net = small.net(SMALL, audio_layers=12, audio_channels=768, heads=8, norm_groups=32, regional_audio=True)
    torch.save({"state_dict": net.state_dict()}, tmp_path / "hallo.pth")
    assert load_checkpoint(tmp_path / "hallo.pth").name == "Hallo"


def test_the_header_tells_what_shapes_cannot(tmp_path):
    config = ModelConfig(SMALL, ScheduleConfig(beta_schedule="scaled_linear"), CodecConfig("patches", 1.0))
    save_file(small.net(SMALL).state_dict(), tmp_path / "demo.safetensors", {"joyhallo": header_entry(config)})
    assert load_checkpoint(tmp_path / "demo.safetensors").config == config


@pytest.mark.parametrize("begins", [b"\x80", b"PK"])
def test_the_length_of_a_header_may_look_like_another_format(tmp_path, weights, begins):
    """A safetensors file begins with that length; a pickle with 0x80, an archive with PK."""
    path = tmp_path / "net.safetensors"

    def write(note: int) -> int:
        entry = header_entry(ModelConfig(SMALL, note="-" * note))
        save_file(weights, path, {HEADER_ENTRY: entry})
        return int.from_bytes(path.read_bytes()[:8], "little")

    wanted = int.from_bytes(begins, "little")
    write((wanted - write(0)) % (1 << 8 * len(begins)))
    assert path.read_bytes().startswith(begins)
    assert load_checkpoint(path).config.net == SMALL


def test_precision_is_the_files_unless_asked_for(checkpoint):
    assert {p.dtype for p in load_checkpoint(checkpoint).net.parameters()} == {torch.float32}
    assert {p.dtype for p in load_checkpoint(checkpoint, dtype=torch.bfloat16).net.parameters()} == {torch.bfloat16}


def test_unused_motion_modules_take_no_memory(checkpoint):
    with torch.device("meta"):
        names = [name for name, _ in Net(NetConfig()).named_modules() if name.endswith("temporal_transformer")]
    assert len(names) == 16
    assert not any("up_blocks.0" in key for key in load_checkpoint(checkpoint).net.state_dict() if "motion" in key)


# ---- what does not


def test_files_that_are_no_weights(tmp_path):
    assert "is empty" in complaint(_write(tmp_path / "a.pth", b""))
    assert "Git LFS pointer" in complaint(_write(tmp_path / "b.pth", b"version https://git-lfs.github.com/spec/v1\n"))
    assert "web page" in complaint(_write(tmp_path / "c.pth", b"<!DOCTYPE html><html></html>"))
    assert "neither a PyTorch file" in complaint(_write(tmp_path / "d.safetensors", b"\x00\x01\x02 nothing at all"))
    assert "does not exist" in complaint(tmp_path / "absent.pth")


def test_truncated_files(tmp_path, checkpoint, state):
    cut = checkpoint.read_bytes()[: checkpoint.stat().st_size // 2]
    assert "damaged or incomplete" in complaint(_write(tmp_path / "cut.pth", cut))
    save_file(state, tmp_path / "whole.safetensors")
    cut = (tmp_path / "whole.safetensors").read_bytes()[:-1000]
    assert "damaged or incomplete" in complaint(_write(tmp_path / "cut.safetensors", cut))
    torch.save(state, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    cut = (tmp_path / "old.pth").read_bytes()[:-1000]
    assert "damaged or incomplete" in complaint(_write(tmp_path / "cut_old.pth", cut))


@pytest.mark.parametrize(
    ("keys", "look"),
    [
        (["model.diffusion_model.input_blocks.0.0.weight", "first_stage_model.x"], "a Stable Diffusion checkpoint"),
        (["lora_unet_down_blocks_0.lora_up.weight"], "a LoRA"),
        (["encoder.down_blocks.0.resnets.0.conv1.weight", "decoder.conv_in.weight"], "VAE"),
        (["wav2vec2.feature_extractor.conv_layers.0.conv.weight"], "wav2vec2"),
        (["down_blocks.0.resnets.0.conv1.weight", "conv_norm_out.weight"], "stage-1 training file (denoising_unet)"),
        (["down_blocks.0.resnets.0.conv1.weight", "conv_in.weight"], "stage-1 training file (reference_unet)"),
        (["conv_in.weight", "blocks.0.weight", "conv_out.weight"], "stage-1 training file (face_locator)"),
        (["proj.weight", "proj.bias", "norm.weight", "norm.bias"], "stage-1 training file (imageproj)"),
        (["down_blocks.0.motion_modules.0.temporal_transformer.norm.weight"], "AnimateDiff"),
        (["whatever"], "something else (its first key is 'whatever')"),
        ([], "without any tensor"),
    ],
)
def test_other_models_are_named(tmp_path, keys, look):
    torch.save({key: torch.zeros(1) for key in keys}, tmp_path / "other.pth")
    said = complaint(tmp_path / "other.pth")
    assert look in said
    assert "Choose net.pth" in said


def test_training_states(tmp_path):
    torch.save({"epoch": 3, "optimizer": {}}, tmp_path / "run.pth")
    assert "state of a training run" in complaint(tmp_path / "run.pth")
    torch.save({"cfg": {}, "args": None, "model": {"encoder_layers": 12}}, tmp_path / "plain_fairseq.pt")
    assert "fairseq" in complaint(tmp_path / "plain_fairseq.pt")


def test_a_fairseq_file_is_refused_without_running_it(tmp_path):
    torch.save({"args": argparse.Namespace(arch="wav2vec2"), "model": {}}, tmp_path / "checkpoint_best.pt")
    assert "fairseq training checkpoint" in complaint(tmp_path / "checkpoint_best.pt")


class Malice:
    def __reduce__(self):
        return (Path.touch, (Path("it_ran"),))


def test_objects_in_a_pickle_are_never_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save({"x": Malice()}, tmp_path / "bad.pth")
    assert "never run" in complaint(tmp_path / "bad.pth")
    (tmp_path / "raw.pth").write_bytes(pickle.dumps(Malice()))
    complaint(tmp_path / "raw.pth")
    assert not Path("it_ran").exists()


def test_missing_unknown_and_misshapen_tensors_are_listed(tmp_path, state):
    damaged = dict(state)
    del damaged["imageproj.norm.bias"]
    damaged["imageproj.extra"] = torch.zeros(1)
    damaged["face_locator.conv_out.bias"] = torch.zeros(7)
    torch.save(damaged, tmp_path / "net.pth")
    said = complaint(tmp_path / "net.pth")
    assert "1 missing (imageproj.norm.bias)" in said
    assert "1 unknown (imageproj.extra)" in said
    assert "face_locator.conv_out.bias (7,), not (32,)" in said


def test_a_missing_tensor_that_sizes_are_told_from(tmp_path, state):
    torch.save({k: v for k, v in state.items() if k != "audioproj.proj3.weight"}, tmp_path / "net.pth")
    assert "1 missing (audioproj.proj3.weight)" in complaint(tmp_path / "net.pth")


def test_a_missing_network(tmp_path, state):
    torch.save({k: v for k, v in state.items() if not k.startswith("audioproj")}, tmp_path / "stage1.pth")
    assert "lacks audioproj" in complaint(tmp_path / "stage1.pth")


def test_an_unknown_division_of_the_audio(tmp_path):
    torch.save(small.net(SMALL).state_dict(), tmp_path / "net.pth")
    assert "the audio projection takes 240 numbers" in complaint(tmp_path / "net.pth")


def test_a_header_that_makes_no_sense(tmp_path, state):
    save_file(state, tmp_path / "a.safetensors", {"joyhallo": "{no json"})
    assert "not valid JSON" in complaint(tmp_path / "a.safetensors")
    save_file(state, tmp_path / "b.safetensors", {"joyhallo": json.dumps({"schedule": {"gamma": 1}})})
    assert "gamma" in complaint(tmp_path / "b.safetensors")


NUMBERS = [
    ("net", "heads", [0, -8, 7, 8.0, True, "8", None, float("nan"), 2**70, [8], {}]),
    ("net", "norm_groups", [0, -1, 33, 1e12, None]),
    ("net", "audio_layers", [0, 10**9, "12", float("inf")]),
    ("net", "audio_window", [0, None]),
    ("schedule", "train_steps", [0, 1, -1, 1e12, 10**12, 1000.5, float("nan"), "1000", None, True]),
    ("schedule", "beta_start", [0, -0.1, 1, 2, float("nan"), float("inf"), "x", None, [0.1]]),
    ("schedule", "beta_end", [0, 1.5, float("nan"), None, {}]),
    ("schedule", "beta_schedule", ["cosine", None, 1]),
    ("schedule", "zero_terminal_snr", [1, "yes", None]),
    ("codec", "scale", [0, -1, float("nan"), float("inf"), 1e300, None, "1", True]),
    ("codec", "kind", ["flux", None, 3, ["patches"]]),
]


@pytest.mark.parametrize(
    ("part", "name", "value"),
    [(part, name, value) for part, name, values in NUMBERS for value in values],
    ids=lambda value: str(value)[:20],
)
def test_a_header_with_numbers_out_of_bounds(shapes, part, name, value):
    """What is wrong is named when the file is opened, not in the sampler."""
    told = json.loads(header_entry(ModelConfig(SMALL)))
    told[part][name] = value
    said = refusal(shapes, json.dumps(told))
    assert "expected" in said or "choose widths divisible" in said
    assert name in said or "norm groups" in said


@pytest.mark.parametrize(
    "entry",
    [
        "[" * 100_000,
        "[]",
        "7",
        "null",
        '{"net": 7}',
        '{"codec": []}',
        '{"schedule": null}',
        '{"net": {"heads": 1e999}}',
    ],
    ids=lambda entry: entry[:20],
)
def test_a_header_that_is_something_else(shapes, entry):
    refusal(shapes, entry)


SIZES_ARE_TOLD_FROM = (
    "imageproj.norm.weight",
    "imageproj.proj.weight",
    "audioproj.proj1.weight",
    "face_locator.conv_in.weight",
    "denoising_unet.conv_in.weight",
    "denoising_unet.down_blocks.0.resnets.0.conv1.weight",
)


@pytest.mark.parametrize("key", SIZES_ARE_TOLD_FROM)
@pytest.mark.parametrize("shape", [(), (1,), (3, 5, 7, 2, 1), (1, 200_000)], ids=str)
def test_a_tensor_that_sizes_are_told_from_has_another_shape(shapes, key, shape):
    refusal({**shapes, key: shape}, header_entry(ModelConfig(SMALL)))


def test_names_of_more_blocks_than_a_network_has(shapes):
    """It would be built in minutes, only to be compared with the file."""
    names = (f"denoising_unet.down_blocks.0.resnets.{number}.conv1.weight" for number in range(3000))
    start = time.process_time()
    said = refusal({**shapes, **dict.fromkeys(names, (1,))}, header_entry(ModelConfig(SMALL)))
    assert "net.layers is 3000; expected a whole number from 1 to 20" in said
    assert time.process_time() - start < 10


def test_weights_that_are_whole_numbers(tmp_path, weights):
    header = {"joyhallo": header_entry(ModelConfig(SMALL))}
    for case in hostile.whole_numbers(weights):
        path = tmp_path / case.name
        case.write(path)
        if path.suffix == ".safetensors":
            save_file(load_file(path), path, header)
            assert "holds whole numbers" in complaint(path)
        complaint(path)


def test_hostile_files_in_a_checkpoints_place(tmp_path, state):
    """Those that make tensors of this network what they must not be; tests/files/test_hostile.py has all others."""
    for case in hostile.odd_tensors(state):
        path = tmp_path / case.name
        case.write(path)
        complaint(path)


# ---- conversion


def test_a_converted_file_is_half_the_size_and_whole(tmp_path, checkpoint, state):
    target = tmp_path / "joyhallo.safetensors"
    done = convert(checkpoint, target)
    assert done.bytes_after < 0.55 * done.bytes_before
    converted = load_file(target)  # by the library, not by us
    assert not any(key.startswith(SKIPPED) for key in converted)
    for key, tensor in converted.items():
        assert torch.equal(tensor, state[key].half()), key
    assert load_checkpoint(target).config == load_checkpoint(checkpoint).config
    assert [file.name for file in tmp_path.iterdir() if file.name.endswith(".part")] == []


def test_the_hash_is_of_the_whole_file(tmp_path, checkpoint):
    import hashlib

    done = convert(checkpoint, tmp_path / "a.safetensors", "bf16")
    assert done.sha256 == hashlib.sha256((tmp_path / "a.safetensors").read_bytes()).hexdigest()
    with safe_open(tmp_path / "a.safetensors", "pt") as file:
        assert file.get_tensor("imageproj.norm.bias").dtype == torch.bfloat16


def test_nothing_is_overwritten_unasked(tmp_path, checkpoint, capsys):
    target = tmp_path / "there.safetensors"
    target.write_text("mine")
    assert main([str(checkpoint), "-o", str(target)]) == 2
    assert target.read_text() == "mine"
    assert main([str(checkpoint), "-o", str(target), "--force"]) == 0
    assert load_checkpoint(target).name == "JoyHallo"
    with pytest.raises(FileExistsError, match="source itself"):
        convert(target, target, force=True)


def test_a_failed_conversion_leaves_what_was_there(tmp_path, checkpoint, state):
    target = tmp_path / "there.safetensors"
    convert(checkpoint, target)
    before = target.read_bytes()
    torch.save({**state, "imageproj.norm.bias": torch.full((32,), 1e6)}, tmp_path / "loud.pth")
    with pytest.raises(WeightsError, match=r"imageproj\.norm\.bias .* bf16"):
        convert(tmp_path / "loud.pth", target, force=True)
    assert target.read_bytes() == before
    assert sorted(file.name for file in tmp_path.iterdir()) == ["loud.pth", "net.pth", "there.safetensors"]


def test_a_full_disk_is_noticed_first(tmp_path, checkpoint, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 1000}))
    with pytest.raises(RoomError, match="make room"):
        convert(checkpoint, tmp_path / "a.safetensors")


def test_a_foreign_file_is_not_converted(tmp_path):
    torch.save({"model.diffusion_model.x": torch.zeros(1)}, tmp_path / "sd.ckpt")
    assert main([str(tmp_path / "sd.ckpt"), "-o", str(tmp_path / "a.safetensors")]) == 2
    assert not (tmp_path / "a.safetensors").exists()


PEAK = """
import resource, sys
from pathlib import Path
from joyhallo import convert
convert.BYTES_AT_ONCE = 16 << 20
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
small, large, target = map(Path, sys.argv[1:])
convert.convert(small, target)
before = peak()
convert.convert(large, target, force=True)
print(peak() - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="peak memory is told in other units elsewhere")
def test_memory_stays_far_below_the_files_size(tmp_path, checkpoint):
    config = NetConfig(channels=(64, 128, 192, 192), layers=1)
    with torch.device("meta"):
        net = Net(config)
    large = tmp_path / "large.pth"
    torch.save({key: torch.full(tensor.shape, 0.5) for key, tensor in net.state_dict().items()}, large)
    command = [sys.executable, "-c", PEAK, checkpoint, large, tmp_path / "out.safetensors"]
    grown = int(subprocess.run(command, capture_output=True, text=True, check=True, cwd=REPOSITORY).stdout)
    assert large.stat().st_size > 150e6
    assert grown < large.stat().st_size / 4


# ---- other files


def test_old_spellings_of_an_autoencoder(tmp_path):
    from diffusers import AutoencoderKL

    sizes = {
        "down_block_types": ["DownEncoderBlock2D"] * 2,
        "up_block_types": ["UpDecoderBlock2D"] * 2,
        "block_out_channels": [32, 64],
        "layers_per_block": 1,
    }
    theirs = seeded.fill(AutoencoderKL(**sizes), "vae.")
    old_names = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}
    old = {}
    for key, tensor in theirs.state_dict().items():
        for new, name in old_names.items():
            if f"attentions.0.{new}." in key:
                key = key.replace(new, name)
                tensor = tensor[..., None, None] if tensor.ndim == 2 else tensor
        old[key] = tensor.clone()
    assert sum("proj_attn" in key for key in old) == 4
    torch.save(old, tmp_path / "vae.bin")

    codec = load_codec(tmp_path / "vae.bin")
    pixels = seeded.normals("pixels", (2, 3, 32, 32))
    with torch.no_grad():
        latents = theirs.encode(pixels).latent_dist.mean
        pictures = theirs.decode(latents).sample
    torch.testing.assert_close(codec.encode(pixels), latents * 0.18215)
    torch.testing.assert_close(codec.decode(latents * 0.18215), (pictures / 2 + 0.5).clamp(0, 1), rtol=0, atol=1e-5)


def test_old_spellings_of_weight_norm():
    renamed = modern_spelling({"conv.weight_g": torch.zeros(1), "conv.weight_v": torch.zeros(1)})
    assert list(renamed) == ["conv.parametrizations.weight.original0", "conv.parametrizations.weight.original1"]


def test_something_else_in_the_codecs_place(checkpoint, tmp_path):
    with pytest.raises(WeightsError, match="expected a Stable Diffusion autoencoder"):
        load_codec(checkpoint)
    with pytest.raises(WeightsError, match=r"does not exist\. Expected a Stable Diffusion autoencoder"):
        load_codec(tmp_path / "vae.safetensors")


def _write(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path
