"""Parts of a network compiled one by one, by a compiler that only counts: what is shared, what is left alone, and what
is said where nothing can be compiled."""

import re

import pytest
import small
import torch

from joyhallo.diffusion.networks.blocks import Resnet
from joyhallo.diffusion.networks.compiled import Compiled, CompileError, check
from joyhallo.ops import TorchOps

CPU = torch.device("cpu")


class Counting:
    """The graph as it was traced."""

    def __init__(self):
        self.graphs = 0

    def __call__(self, graph, given):
        self.graphs += 1
        return graph.forward


def failing(graph, given):
    raise OSError("the compiler is on strike\nand says more")


@torch.no_grad()
def test_parts_that_are_alike_share_and_give_the_same_numbers():
    """The whole network is compared in tests/comfyui/test_comfy_adapter.py."""
    import torch._dynamo.config as settings

    counting, before = Counting(), settings.get_config_copy()
    runner = Compiled(counting)
    one, other, wider = (Resnet(channels, 32, small.SMALL, TorchOps) for channels in (32, 32, 64))
    time, large = torch.randn(1, 128), torch.randn(2, 32, 8, 8)
    for part, x, graphs in (
        (one, large, 1),
        (other, large, 1),
        (one, large[..., :4], 2),
        (wider, torch.cat([large, large], 1), 3),
        (other, large[..., :4], 3),
        (one, large, 3),
    ):
        assert torch.equal(runner(part)(x, time), part(x, time))
        assert counting.graphs == graphs
    assert settings.get_config_copy() == before


class Moving(torch.nn.Linear):
    """Brings its weights to where it computes, as ComfyUI's layers do."""

    def forward(self, x):
        return torch.nn.functional.linear(x, *(w.to(x.device) for w in (self.weight, self.bias)))


@torch.no_grad()
def test_parts_whose_weights_wait_elsewhere_run_as_they_are(caplog):
    part, counting = Moving(4, 4), Counting()
    runner = Compiled(counting)
    for _ in range(2):
        assert runner(part)(torch.empty(2, 4, device="meta")).device.type == "meta"
    assert counting.graphs == 0
    assert [record.message for record in caplog.records] == [
        "Parts of the network whose weights wait in ordinary memory run uncompiled."
    ]
    runner(part)(torch.empty(2, 4))
    assert counting.graphs == 1


def test_a_part_that_cannot_be_compiled_is_told_in_a_sentence():
    with pytest.raises(CompileError, match=r"network \(OSError: the compiler is on strike\)\. Run it without"):
        Compiled(failing)(torch.nn.Linear(4, 4))(torch.rand(2, 4))


def test_what_cannot_be_compiled_is_told_beforehand():
    with torch._inductor.config.patch({"cpp.cxx": ("/nowhere/g++",)}):
        said = refusal("inductor")
    assert re.search(r"cannot compile for cpu here \(.*C\+\+ compiler", said)
    assert said.endswith("It needs a C++ compiler: g++ or clang, on Windows that of Visual Studio.")
    with torch._dynamo.config.patch(disable=True):
        assert "it is switched off" in refusal("eager")
    check(CPU, "eager")


def refusal(backend):
    with pytest.raises(CompileError) as told:
        check(CPU, backend)
    return str(told.value)
