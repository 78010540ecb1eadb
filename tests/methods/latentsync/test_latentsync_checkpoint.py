"""Files of LatentSync in every shape that people have them in, and what is said of files that are none."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from joyhallo.convert import convert
from joyhallo.files.contents import WeightsError
from joyhallo.methods import METHODS, kind_of, method_of
from joyhallo.methods.latentsync.checkpoint import open_checkpoint
from joyhallo.methods.latentsync.network import Sizes, UNet
from joyhallo.methods.latentsync.published import MODELS

METHOD = next(method for method in METHODS if method.name == "LatentSync")


@pytest.fixture(scope="module")
def state():
    torch.manual_seed(0)
    return {key: torch.randn(tensor.shape) for key, tensor in UNet(Sizes((32, 32), 1, 16)).state_dict().items()}


def published(path, state):
    torch.save({"global_step": 12, "state_dict": state}, path)


FORMS = [published, lambda path, state: torch.save(state, path), lambda path, state: save_file(state, path)]


@pytest.mark.parametrize("write", FORMS, ids=["published", "bare", "safetensors"])
def test_files_of_any_form_give_the_same_network(tmp_path, state, write):
    path = tmp_path / "latentsync_unet.pt"
    write(path, state)
    assert method_of(path, "redub") is METHOD
    opened = open_checkpoint(path)
    assert opened.parameters == sum(tensor.numel() for tensor in state.values())
    built = opened.build().state_dict()
    assert built.keys() == state.keys()
    assert all(torch.equal(built[key], state[key]) for key in state)


def test_a_converted_file_has_half_the_size_and_the_same_keys(tmp_path, state):
    source, target = tmp_path / "latentsync_unet.pt", tmp_path / "latentsync-1.5.safetensors"
    published(source, state)
    done = convert(source, target)
    assert done.bytes_after < 0.52 * done.bytes_before
    built = open_checkpoint(target).build().state_dict()
    assert all(torch.equal(built[key], tensor.half()) for key, tensor in state.items())


@pytest.mark.parametrize("motion", ["up", "nowhere"])
def test_files_of_other_trainings_open_as_well(tmp_path, motion):
    net = UNet(Sizes((32, 32), 1, 16, motion))
    path = tmp_path / "unet.safetensors"
    save_file(net.state_dict(), path)
    assert open_checkpoint(path).build().sizes.motion == motion


def test_halves_stay_halves_and_eight_bits_spare_the_tables(tmp_path, state):
    path = tmp_path / "unet.safetensors"
    save_file({key: tensor.half() for key, tensor in state.items()}, path)
    opened = open_checkpoint(path)
    assert opened.dtype == torch.float16
    small = opened.build(dtype=torch.float8_e4m3fn).state_dict()
    assert small["conv_in.weight"].dtype == torch.float8_e4m3fn
    tables = [tensor.dtype for key, tensor in small.items() if key.endswith(".pe")]
    assert tables
    assert set(tables) == {torch.float16}


def test_version_1_0_is_refused_in_words(tmp_path, state):
    old = {key.replace(".attn2.", ".audio_cross_attn.attn."): tensor for key, tensor in state.items()}
    path = tmp_path / "latentsync_unet.pt"
    published(path, old)
    with pytest.raises(WeightsError, match=r"LatentSync 1\.0, another network than that of 1\.5 and 1\.6"):
        open_checkpoint(path)
    with pytest.raises(WeightsError, match=r"LatentSync 1\.0"):
        method_of(path, "redub")


def test_its_judge_is_told_from_it(tmp_path):
    path = tmp_path / "stable_syncnet.pt"
    names = ("audio_encoder.conv_in.weight", "audio_encoder.down_blocks.0.norm1.weight")
    names += ("visual_encoder.conv_in.weight", "visual_encoder.down_blocks.0.norm1.weight")
    torch.save({"state_dict": {name: torch.ones(4) for name in names}, "global_step": 1}, path)
    assert "StableSyncNet" in kind_of(path).words
    with pytest.raises(WeightsError, match="StableSyncNet"):
        open_checkpoint(path)


def test_what_is_missing_is_named(tmp_path, state):
    path = tmp_path / "unet.safetensors"
    lost = "up_blocks.1.motion_modules.0.temporal_transformer.proj_out.bias"
    save_file({key: tensor for key, tensor in state.items() if key != lost}, path)
    with pytest.raises(WeightsError, match=f"1 missing .{lost}"):
        open_checkpoint(path)
    save_file({key: tensor for key, tensor in state.items() if not key.startswith("mid_block")}, path)
    with pytest.raises(WeightsError, match="sizes cannot be told"):
        open_checkpoint(path)


@pytest.mark.parametrize(
    ("place", "version"),
    [
        *zip(MODELS, ("1.6", "1.5"), strict=True),
        ("latentsync/latentsync_unet.pt", "1.6"),
        ("LatentSync-1.5/checkpoints/latentsync_unet.pt", "1.5"),
        ("latentsync_unet_256.safetensors", "1.5"),
        ("stage2_512/unet.pt", "1.6"),
    ],
)
def test_versions_are_told_by_the_path(place, version):
    assert METHOD.version(Path(place)) == version
    assert METHOD.version(Path(place), "1.5") == "1.5"
