"""Files of Wav2Lip in every shape that people have them in, and what is said of files that are none."""

import lips
import pytest
import torch
from safetensors.torch import load_file, save_file

from joyhallo.convert import convert, main
from joyhallo.files.contents import WeightsError
from joyhallo.methods import METHODS, method_of
from joyhallo.methods.wav2lip.checkpoint import open_checkpoint, open_expert


@pytest.fixture(scope="module")
def state():
    """With BatchNorm's counters, as published."""
    state = lips.drawn("wav2lip")
    norms = [key.removesuffix("running_var") for key in state if key.endswith("running_var")]
    return state | {f"{name}num_batches_tracked": torch.tensor(123456) for name in norms}


@pytest.fixture(scope="module")
def built():
    return lips.checkpoint("wav2lip").build().state_dict()


class Archived(torch.nn.Module):
    """Any modules with these tensors in them: what TorchScript keeps."""

    def __init__(self, state):
        super().__init__()
        for key, tensor in state.items():
            *path, name = key.split(".")
            place = self
            for part in path:
                if part not in place._modules:
                    place.add_module(part, torch.nn.Module())
                place = place._modules[part]
            place.register_buffer(name, tensor)


def dictionary(path, state):
    torch.save({"state_dict": state, "optimizer": {"step": 3}, "global_step": 9, "global_epoch": 1}, path)


def bare_of_2020(path, state):
    torch.save(state, path, _use_new_zipfile_serialization=False)


def parallel(path, state):
    dictionary(path, {f"module.{key}": tensor for key, tensor in state.items()})


def torchscript(path, state):
    torch.jit.script(Archived(state)).save(path)


STATISTICS = 22_752  # of BatchNorm

FORMS = [dictionary, bare_of_2020, parallel, torchscript, lambda path, state: save_file(state, path)]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("write", FORMS, ids=["dict", "2020", "module", "torchscript", "safetensors"])
def test_every_form_gives_the_same_network(tmp_path, state, built, write):
    path = tmp_path / "wav2lip_gan.pth"
    write(path, state)
    method = method_of(path, "redub")
    assert method.name == "Wav2Lip"
    found = method.open(path)
    assert found.dtype == torch.float32
    assert found.parameters == 36_298_035 + STATISTICS
    net = found.build()
    assert net.size == 96
    for key, tensor in net.state_dict().items():
        assert torch.equal(tensor, built[key]), key


def test_the_larger_one_and_the_expert(tmp_path):
    torch.save({"state_dict": lips.drawn("wav2lip256")}, tmp_path / "wav2lip256.pth")
    assert method_of(tmp_path / "wav2lip256.pth").name == "Wav2Lip 256"
    assert open_checkpoint(tmp_path / "wav2lip256.pth").build(dtype=torch.bfloat16).size == 256
    torch.save({"state_dict": lips.drawn("expert")}, tmp_path / "lipsync_expert.pth")
    assert open_expert(tmp_path / "lipsync_expert.pth").parameters > 16e6


def test_use_of_the_weights_is_restricted():
    licences = {method.licence for method in METHODS if method.name.startswith("Wav2Lip")}
    assert licences == {"weights: research and personal use only, no commercial use"}


# ---- what is refused


def complaint(path) -> str:
    with pytest.raises(WeightsError) as caught:
        open_checkpoint(path)
    assert path.name in str(caught.value)
    return str(caught.value)


def test_failed_downloads(tmp_path, state):
    page, cut = tmp_path / "wav2lip.pth", tmp_path / "cut.pth"
    page.write_bytes(b"\n<!DOCTYPE html><html>" + bytes(50_000))
    assert "is a web page" in complaint(page)
    torch.save({"state_dict": state}, cut)
    cut.write_bytes(cut.read_bytes()[:1_000_000])
    assert "damaged or incomplete" in complaint(cut)


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        (["face_encoder.0.conv_block.0.weight", "audio_encoder.0.conv_block.0.weight"], "Wav2Lip's sync expert"),
        (["binary_pred.0.weight", "face_encoder_blocks.0.0.conv_block.0.weight"], "Wav2Lip's discriminator"),
        (["conv3_3_norm.weight"], "an S3FD face detector"),
        (["face_decoder_blocks.0.0.conv_block.0.weight", "face_encoder_blocks.8.0.conv_block.0.weight"], "288 or 384"),
        (["face_decoder_blocks.0.0.conv_block.0.weight", "sam.sa.conv1.weight"], "made after Wav2Lip, of 192"),
        (["face_decoder_blocks.0.0.conv_block.0.weight", "face_encoder_blocks.0.0.act.weight"], "made after Wav2Lip"),
    ],
)
@pytest.mark.parametrize("prefix", ["", "module."])
def test_other_networks_are_named(tmp_path, prefix, keys, words):
    torch.save({"state_dict": {prefix + key: torch.zeros(1) for key in keys}}, tmp_path / "other.pth")
    said = complaint(tmp_path / "other.pth")
    assert f"looks like {words}" in said or words in said
    assert "Expected a Wav2Lip generator. Choose wav2lip.pth" in said
    with pytest.raises(WeightsError, match="Expected a checkpoint of Wav2Lip, Wav2Lip 256"):
        method_of(tmp_path / "other.pth", "redub")


def test_a_generator_that_lacks_something(tmp_path, state):
    key = "audio_encoder.3.conv_block.1.running_mean"
    save_file({name: tensor for name, tensor in state.items() if name != key}, tmp_path / "a.safetensors")
    assert f"not all of its tensors fit: 1 missing ({key})" in complaint(tmp_path / "a.safetensors")
    save_file({**state, key: torch.zeros(3)}, tmp_path / "b.safetensors")
    assert f"1 of another shape ({key})" in complaint(tmp_path / "b.safetensors")
    save_file({**state, key: torch.zeros(64, dtype=torch.int32)}, tmp_path / "c.safetensors")
    assert f"holds whole numbers ({key})" in complaint(tmp_path / "c.safetensors")


# ---- conversion


def test_a_converted_file_has_the_published_keys_at_half_the_size(tmp_path, state, built):
    source, target = tmp_path / "wav2lip.pth", tmp_path / "wav2lip.safetensors"
    loud = {**state, "audio_encoder.3.conv_block.1.running_var": torch.full((64,), 1e6)}  # too large for half precision
    parallel(source, loud)
    done = convert(source, target)
    assert done.bytes_after < 0.55 * done.bytes_before
    found = load_file(target)
    assert found.keys() == state.keys()
    for key, tensor in found.items():
        exact = key.endswith(("running_mean", "running_var", "num_batches_tracked"))
        assert torch.equal(tensor, loud[key] if exact else loud[key].half()), key
    assert open_checkpoint(target).dtype == torch.float16
    convert(source, target, "fp32", force=True)
    again, once = (open_checkpoint(path).build().state_dict() for path in (target, source))
    assert all(torch.equal(again[key], once[key]) for key in built)


def test_no_other_file_of_wav2lip_is_converted(tmp_path):
    torch.save({"state_dict": {"binary_pred.0.weight": torch.zeros(1)}}, tmp_path / "disc.pth")
    assert main([str(tmp_path / "disc.pth"), "-o", str(tmp_path / "a.safetensors")]) == 2
    assert not (tmp_path / "a.safetensors").exists()
