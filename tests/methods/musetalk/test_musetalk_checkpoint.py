"""Files of MuseTalk in the shapes that people have them in, and what is said of files that are none."""

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from joyhallo.convert import convert
from joyhallo.files.contents import WeightsError
from joyhallo.methods import kind_of, method_of
from joyhallo.methods.musetalk.checkpoint import convolution, open_checkpoint, open_parser
from joyhallo.methods.musetalk.network import Sizes, UNet
from joyhallo.methods.musetalk.parser import Parser

SIZES = Sizes((32, 64), 1)


@pytest.fixture(scope="module")
def state():
    torch.manual_seed(0)
    return UNet(SIZES).state_dict()


FORMS = {
    "pytorch_model.bin": lambda path, state: torch.save(state, path),
    "unet.pth": lambda path, state: torch.save({"state_dict": state, "global_step": 3}, path),
    "unet.safetensors": lambda path, state: save_file(state, path),
}


@pytest.mark.parametrize("name", FORMS)
def test_every_form_gives_the_same_network(tmp_path, state, name):
    FORMS[name](tmp_path / name, state)
    method = method_of(tmp_path / name, "redub")
    assert method.name == "MuseTalk"
    built = method.open(tmp_path / name).build().state_dict()
    assert all(torch.equal(built[key], tensor) for key, tensor in state.items())
    assert method.open(tmp_path / name).build(dtype=torch.float16).conv_in.weight.dtype == torch.float16


def test_a_converted_file_is_the_same_network_in_half_precision(tmp_path, state):
    source, target = tmp_path / "unet.pth", tmp_path / "musetalk-1.5.safetensors"
    FORMS["unet.pth"](source, state)
    convert(source, target)
    built = open_checkpoint(target).build().state_dict()
    assert all(torch.equal(built[key], tensor.half()) for key, tensor in state.items())


@pytest.mark.parametrize(("inputs", "sound"), [(4, 768), (9, 768), (8, 768), (12, 384)])
def test_other_unets_are_not_taken_for_it(tmp_path, state, inputs, sound):
    """Those of Stable Diffusion have the same names: plain, for inpainting, for instructions."""
    other = dict(state)
    other["conv_in.weight"] = torch.zeros(32, inputs, 3, 3)
    for key in state:
        if "attn2.to_k" in key or "attn2.to_v" in key:
            other[key] = torch.zeros(len(state[key]), sound)
    save_file(other, tmp_path / "unet.safetensors")
    with pytest.raises(WeightsError, match="Stable Diffusion's UNet"):
        method_of(tmp_path / "unet.safetensors", "redub")
    with pytest.raises(WeightsError, match=r"Expected MuseTalk's UNet: musetalkV15/unet\.pth"):
        open_checkpoint(tmp_path / "unet.safetensors")


def test_a_damaged_file_is_told_from_a_whole_one(tmp_path, state):
    save_file({key: tensor for key, tensor in state.items() if "mid_block.resnets.1" not in key}, tmp_path / "a.pth")
    with pytest.raises(WeightsError, match=r"(8|10) missing"):
        open_checkpoint(tmp_path / "a.pth")
    save_file({key: tensor for key, tensor in state.items() if "mid_block" not in key}, tmp_path / "b.pth")
    with pytest.raises(WeightsError, match="looks like MuseTalk's UNet, but"):
        open_checkpoint(tmp_path / "b.pth")


def published() -> dict[str, torch.Tensor]:
    """A parser's weights with norms that are far from doing nothing."""
    torch.manual_seed(0)
    state = {}
    for key, tensor in Parser().state_dict().items():
        name, _, kind = key.rpartition(".")
        if kind == "weight":
            state[key] = torch.randn(tensor.shape) * (2 / tensor[0].numel()) ** 0.5
            continue
        path, _, last = name.rpartition(".")
        norm = f"{path}.{'1' if last == '0' else last.replace('conv', 'bn')}"
        assert convolution(norm) == name
        state |= {f"{norm}.weight": torch.rand(len(tensor)) + 0.5, f"{norm}.bias": torch.randn(len(tensor)) * 0.1}
        state |= {f"{norm}.running_mean": torch.randn(len(tensor)), f"{norm}.running_var": torch.rand(len(tensor)) + 1}
        state[f"{norm}.num_batches_tracked"] = torch.tensor(5)
    return state


def test_the_parsers_norms_are_in_its_convolutions(tmp_path):
    state = published()
    torch.save(state, tmp_path / "79999_iter.pth")
    kind = kind_of(tmp_path / "79999_iter.pth")
    assert kind is not None
    assert kind.words == "a BiSeNet face parser"
    net = open_parser(tmp_path / "79999_iter.pth").build(dtype=torch.float64)
    double = {key: tensor.double() for key, tensor in state.items() if not key.endswith("tracked")}
    plain = Parser().double()
    plain.load_state_dict({key: double.get(key, torch.zeros_like(t)) for key, t in plain.state_dict().items()})
    for norm in [key.removesuffix(".running_mean") for key in double if key.endswith(".running_mean")]:
        path, _, name = convolution(norm).rpartition(".")
        layer = plain.get_submodule(f"{path}.{name}")
        beside = nn.BatchNorm2d(len(layer.weight)).double()
        beside.load_state_dict({k: double[f"{norm}.{k}"] for k in ("weight", "bias", "running_mean", "running_var")}
                               | {"num_batches_tracked": torch.tensor(0)})  # fmt: skip
        setattr(plain.get_submodule(path), name, nn.Sequential(layer, beside))
    picture = torch.randn(1, 3, 64, 64).double()
    with torch.no_grad():
        assert (net(picture) - plain.eval()(picture)).abs().max() < 1e-9


def test_another_file_is_no_parser(tmp_path, state):
    save_file(state, tmp_path / "unet.safetensors")
    with pytest.raises(WeightsError, match=r"looks like MuseTalk's UNet\. Expected BiSeNet"):
        open_parser(tmp_path / "unet.safetensors")
