"""A graphics card is never waited for within a step; the meta device stands for it."""

from dataclasses import replace

import pytest
import small
import torch

from benchmarks.waits import META, Asked, hallo, lips
from joyhallo.methods.hallo.sampling import Sampler, Settings
from joyhallo.methods.latentsync import sampling as latentsync
from joyhallo.methods.latentsync.network import Sizes

SHORT = Settings(steps=2, chunk_frames=3, overlap=1)
TINY = replace(small.SMALL, channels=(32, 32), locator_channels=(8, 8, 16, 32))


@pytest.mark.parametrize(
    "changes",
    [
        {"reuse": 2, "guidance_span": (0.0, 0.5), "solver": "unipc"},
        {"rows_together": False, "weights": torch.rand(9, 3)},
    ],
    ids=["cheap", "apart"],
)
def test_no_step_of_a_portrait_waits(changes):
    asked = hallo(64, replace(SHORT, **changes), replace(TINY, regional_audio="reuse" in changes))
    assert asked.launches.total() > 500
    assert not asked.waits


def test_no_step_of_lips_waits():
    asked = lips(64, latentsync.Settings(steps=2, reuse=2), Sizes((32, 32), 1, 16, positions=24, heads=4))
    assert asked.launches.total() > 200
    assert not asked.waits


@pytest.mark.parametrize(
    "wait",
    [
        lambda x: torch.tensor([1], device=META),
        lambda x: x.new_tensor([1.0, 2.0]),
        lambda x: torch.rand(4).to(x),
        lambda x: x.copy_(torch.rand(4)),
        lambda x: x[torch.arange(2)],
        lambda x: x[[0, 1]],
        lambda x: x.__setitem__([0, 1], 1.0),
    ],
)
def test_what_a_card_would_wait_for_is_counted(wait):
    with Asked() as asked:
        wait(torch.empty(4, device=META))
    assert asked.waits.total() == 1


@pytest.mark.parametrize(
    "wait",
    [
        lambda x: x.sum().item(),
        lambda x: bool(x.any()),
        lambda x: x.cpu(),
        lambda x: x[x > 0],
        lambda x: torch.equal(x, x),
    ],
)
def test_what_cannot_be_known_without_waiting_cannot_be_asked(wait):
    with pytest.raises((RuntimeError, NotImplementedError)), Asked():
        wait(torch.empty(4, device=META))


def test_what_a_card_is_told_without_waiting_is_not_counted():
    with Asked() as asked:
        x = torch.full((4,), 2.0, device=META) * torch.tensor(3.0) + 1
        x[1:3].view(2, 1).transpose(0, 1)
    assert not asked.waits
    assert asked.launches == {"full": 1, "mul": 1, "add": 1}


@pytest.mark.slow
@torch.no_grad()
def test_the_whole_network_is_one_graph():
    """So that it can be compiled: a break would raise."""
    net = small.net(TINY)
    settings = Settings(chunk_frames=3)
    latent = torch.randn(1, TINY.latent_channels, 8, 8)
    sampler = Sampler(net, small.portrait(config=TINY), latent, settings, torch.device("cpu"), torch.float32)
    chunk, x = sampler.prepare_chunk(small.windows(3, TINY), 0, None), latent.expand(3, -1, -1, -1)
    compiled = torch.compile(net.denoising_unet, backend="eager", fullgraph=True)
    assert torch.equal(sampler.velocity(compiled, x, 9, chunk), sampler.velocity(net.denoising_unet, x, 9, chunk))
