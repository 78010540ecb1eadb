"""MuseTalk's networks: their names, their cost, and that frames of a batch know nothing of each other."""

import json

import pytest
import torch
from shared import shared_folder
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.memory import Followed, FusedOps
from joyhallo.files.norms import COUNTER
from joyhallo.methods.musetalk.checkpoint import convolution
from joyhallo.methods.musetalk.method import AT_ONCE, WORKED
from joyhallo.methods.musetalk.network import Sizes, UNet, placed
from joyhallo.methods.musetalk.parser import Parser

TINY = Sizes((32, 64, 64), 1, 16, 4)
GIGA_MACS = 88.9  # of a frame, counted in the original


@pytest.fixture(scope="module")
def net():
    torch.manual_seed(0)
    return UNet(TINY).requires_grad_(False)


def manifest(name):
    folder = shared_folder()
    if folder is None:
        pytest.skip("the lists of published tensors are not here (../shared/manifests)")
    listed = json.loads((folder / "manifests" / f"manifest_{name}.json").read_text())
    return {key: tuple(told["shape"]) for key, told in listed.items() if not key.endswith(COUNTER)}


def shapes(module):
    return {key: tuple(tensor.shape) for key, tensor in module.state_dict().items()}


def test_every_name_and_shape_of_the_published_unet():
    with torch.device("meta"):
        assert shapes(UNet()) == manifest("musetalk_unet")


def test_every_name_and_shape_of_the_published_parser_but_its_norms():
    listed = manifest("bisenet")
    norms = [key.removesuffix(".running_mean") for key in listed if key.endswith(".running_mean")]
    expected = {key: shape for key, shape in listed.items() if key.rpartition(".")[0] not in norms}
    expected |= {f"{convolution(norm)}.bias": listed[f"{norm}.bias"] for norm in norms}
    with torch.device("meta"):
        assert shapes(Parser()) == expected


def test_a_frame_costs_what_it_costs_in_the_original():
    with torch.device("meta"), FlopCounterMode(display=False) as counted:
        UNet()(torch.empty(2, 8, 32, 32), torch.empty(2, 50, 384))
    assert counted.get_total_flops() / 2 / 2 / 1e9 == pytest.approx(GIGA_MACS, rel=1e-3)


def test_the_network_needs_what_is_told():
    with torch.device("meta"):
        net = UNet(ops=FusedOps).half()
        given = torch.empty(AT_ONCE, 8, 32, 32).half(), torch.empty(AT_ONCE, 50, 384).half()
    with torch.no_grad(), Followed([*net.state_dict().values(), *given]) as met:
        net(*given)
    told = AT_ONCE * WORKED * 2
    assert met.most <= told <= 1.15 * met.most


def test_sizes_are_told_by_shapes(net):
    assert Sizes.of(net.state_dict()) == Sizes(TINY.channels, TINY.layers, TINY.sound)


def test_frames_of_a_batch_do_not_know_each_other(net):
    latents, sound = torch.randn(5, 8, 16, 16), placed(torch.randn(5, 50, 16))
    alone = torch.cat([net(latents[i : i + 1], sound[i : i + 1]) for i in range(5)])
    assert (net(latents, sound) - alone).abs().max() < 1e-5
    assert (net(latents, sound.flip(1)) - alone).abs().max() < 1e-5, "tokens have no order but their code"
    assert (net(latents, sound.flip(0)) - alone).abs().max() > 1e-3
