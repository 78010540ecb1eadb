"""The generator without norms against the same one with them, its sizes, and the way to it and back."""

import json

import pytest
import torch
from people import SIZES, drawn
from shared import shared_folder
from torch import nn

from joyhallo.files.checkpoint import Checkpoint, shapes
from joyhallo.files.norms import COUNTER
from joyhallo.methods.ultralight.checkpoint import convolution, without_norms
from joyhallo.methods.ultralight.network import HUBERT, WENET, Generator, Sizes
from joyhallo.methods.ultralight.pixels import MOUTH, RIM, as_crops, inputs


def built(state, sizes=SIZES, **how) -> Generator:
    state = {key: tensor for key, tensor in state.items() if not key.endswith(COUNTER)}
    return Checkpoint(lambda ops: Generator(sizes, ops), state, without_norms).build(**how)


class Normed(nn.Module):
    def __init__(self, layer: nn.Module, norm: nn.Module):
        super().__init__()
        self.layer, self.norm = layer, norm

    def forward(self, x):
        return self.norm(self.layer(x))


def with_norms(state) -> nn.Module:
    """Our network, each of its convolutions with PyTorch's own norm behind it, in double precision."""
    net = Generator(SIZES).double()
    double = {key: tensor.double() for key, tensor in state.items() if not key.endswith(COUNTER)}
    net.load_state_dict({key: double.get(key, torch.zeros_like(t)) for key, t in net.state_dict().items()})
    for norm in [key.removesuffix(".running_mean") for key in double if key.endswith(".running_mean")]:
        path, _, name = convolution(norm).rpartition(".")
        beside = nn.BatchNorm2d(len(double[f"{norm}.weight"])).double()
        parts = {k: double[f"{norm}.{k}"] for k in ("weight", "bias", "running_mean", "running_var")}
        beside.load_state_dict(parts | {"num_batches_tracked": torch.tensor(0)})
        place = net.get_submodule(path)
        setattr(place, name, Normed(getattr(place, name), beside))
    return net.eval().requires_grad_(False)


@pytest.mark.parametrize("ear", [HUBERT, WENET], ids=["hubert", "wenet"])
def test_the_published_files_match_key_for_key_and_shape_for_shape_of_a_person(ear):
    if (folder := shared_folder()) is None:
        pytest.skip("the lists of published keys are not here; set JOYHALLO_SHARED to the folder that holds manifests/")
    kind = "hubert" if ear is HUBERT else "wenet"
    listed = json.loads((folder / "manifests" / f"manifest_ultralight_{kind}.json").read_text())
    assert len(listed) == 484
    meta = {key: torch.empty(told["shape"], device="meta") for key, told in listed.items()}
    meta = {key: tensor for key, tensor in meta.items() if not key.endswith(COUNTER)}
    assert Sizes.of(meta) == Sizes(ear)
    folded = {key: tuple(tensor.shape) for key, tensor in without_norms(meta).items()}
    assert folded == shapes(lambda: Generator(Sizes(ear)))
    trained = sum(tensor.numel() for key, tensor in meta.items() if "running_" not in key)
    assert trained == (12_159_591 if ear is HUBERT else 12_796_359)


@pytest.mark.parametrize("sizes", [Sizes(), Sizes(WENET), Sizes(HUBERT, 8), Sizes(WENET, 16)], ids=str)
def test_any_width_makes_pictures_of_160_pixels(sizes):
    with torch.device("meta"):
        heard, faces = torch.zeros(2, *sizes.ear.shape), torch.zeros(2, 6, 160, 160)
        net = Generator(sizes)
        assert net.audio_model(heard).shape == (2, 16 * sizes.width, 10, 10)
        assert net(heard, faces).shape == (2, 3, 160, 160)


def test_norms_are_in_the_convolutions_of_a_person():
    state, faces, heard = drawn(), torch.rand(1, 6, 160, 160).double(), torch.randn(1, 16, 32, 32).double()
    net = built(state, dtype=torch.float64)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in net.modules())
    found = net(heard, faces)
    torch.testing.assert_close(found, with_norms(state)(heard, faces), rtol=0, atol=1e-9)
    assert found.std() > 0.02
    assert (net(torch.zeros_like(heard), faces) - found).abs().max() > 1e-3, "the sound is heard"


def test_a_weaker_sound_of_a_person():
    net, faces, heard = built(drawn()), torch.rand(1, 6, 160, 160), torch.randn(1, 16, 32, 32)
    assert torch.equal(net(heard, faces, 0.0), net(-heard, faces, 0.0))
    assert not torch.equal(net(heard, faces, 0.5), net(heard, faces))


# ---- the way in and back


def test_inputs_are_blue_first_and_the_whole_face_is_first():
    crops = torch.randint(0, 256, (2, 3, 168, 168), dtype=torch.uint8)
    found = inputs(crops)
    assert found.shape == (2, 6, 160, 160)
    assert torch.equal(found[:, 2], (crops[:, 0, 4:164, 4:164].double() / 255).float())  # red
    assert torch.equal(found[:, 0], (crops[:, 2, 4:164, 4:164].double() / 255).float())
    black = torch.zeros(160, 160, dtype=torch.bool)
    black[5:150, 5:155] = True
    assert (found[:, 3:, black] == 0).all()
    assert torch.equal(found[:, 3:, ~black], found[:, :3, ~black])
    assert found[:, :3][..., MOUTH[0], MOUTH[1]].mean() > 0.4


def test_predictions_are_truncated_and_the_rim_is_kept():
    crops = torch.randint(0, 256, (1, 3, 168, 168), dtype=torch.uint8)
    made = torch.tensor([0.0, 0.999, 1.0]).view(1, 3, 1, 1).expand(1, 3, 160, 160)
    found = as_crops(made, crops)
    assert found[0, :, 4, 163].tolist() == [255, 254, 0]
    found[..., RIM, RIM] = crops[..., RIM, RIM]
    assert torch.equal(found, crops)
