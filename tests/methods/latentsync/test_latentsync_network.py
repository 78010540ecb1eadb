"""LatentSync's UNet: its names, what it costs, and what one frame has to do with another."""

import json

import pytest
import torch
from shared import shared_folder
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.memory import Followed, FusedOps
from joyhallo.diffusion.networks.blocks import Upsample
from joyhallo.diffusion.networks.portions import ELSEWHERE, PORTIONS
from joyhallo.methods.latentsync.memory import working_memory
from joyhallo.methods.latentsync.network import FRAMES, INPUTS, PhasedUpsample, Sizes, UNet
from joyhallo.methods.latentsync.sampling import Settings, denoise
from joyhallo.ops import TorchOps

TINY = Sizes((32, 32), 1, 16, positions=24, heads=4)
GUIDED = 8.10e12  # a step at 256 pixels, counted in the original
SPARED = 0.0297  # of it: both rows begin alike, silence is one bias, and sound is prepared before the steps


def seeded(sizes=TINY):
    torch.manual_seed(0)
    made = UNet(sizes).requires_grad_(False).eval()
    for buffer in made.buffers():
        buffer.normal_(0, 0.1)
    return made


@pytest.fixture(scope="module")
def net():
    return seeded()


def inputs(frames=3, side=8):
    return torch.randn(frames, INPUTS, side, side), torch.randn(frames, 50, 16), torch.tensor([501])


def shapes(module):
    return {key: tuple(tensor.shape) for key, tensor in module.state_dict().items()}


def on_meta(motion="everywhere"):
    with torch.device("meta"):
        return shapes(UNet(Sizes(motion=motion)))


def test_every_name_and_shape_of_the_published_unet():
    folder = shared_folder()
    if folder is None:
        pytest.skip("the lists of published tensors are not here (../shared/manifests)")
    listed = json.loads((folder / "manifests" / "manifest_latentsync_unet.json").read_text())
    expected = {key: tuple(told["shape"]) for key, told in listed.items()}
    assert on_meta() == expected
    decoder_only = {k: s for k, s in expected.items() if ".motion_modules." not in k or k.startswith("up_blocks.")}
    assert on_meta("up") == decoder_only
    assert on_meta("nowhere") == {k: s for k, s in expected.items() if ".motion_modules." not in k}


@pytest.mark.parametrize("motion", ["everywhere", "up", "nowhere"])
def test_sizes_are_told_by_shapes(motion):
    with torch.device("meta"):
        for sizes in (Sizes(motion=motion), Sizes((32, 64, 64), 1, 768, motion)):
            assert Sizes.of(UNet(sizes).state_dict()) == sizes


@pytest.mark.parametrize(
    "sizes", [TINY, Sizes((32, 32), 1, 16, "up", heads=4), Sizes((32, 32), 1, 16, "nowhere", heads=4)]
)
def test_frames_of_a_window_depend_on_each_other(sizes):
    """Even without motion modules, by the norms."""
    net = seeded(sizes)
    latents, sound, moment = inputs()
    before = net(latents, moment, [net.listen(sound)]).noise[0]
    latents[2] += 1
    after = net(latents, moment, [net.listen(sound)]).noise[0]
    assert (after[0] - before[0]).abs().max() > 1e-3


def test_silence_is_what_zeros_sound_like(net):
    latents, sound, moment = inputs()
    silent = net(latents, moment, [None]).noise
    zeros = net(latents, moment, [net.listen(torch.zeros_like(sound))]).noise
    assert (silent - zeros).abs().max() < 1e-6


def both_rows(net):
    latents, sound, moment = inputs()
    rows = [None, net.listen(sound)]
    return net(latents, moment, rows).noise, torch.cat([net(latents, moment, [row]).noise for row in rows])


def test_rows_together_are_what_they_are_alone(net):
    both, alone = both_rows(net)
    assert (both - alone).abs().max() < 1e-6
    assert (both[0] - both[1]).abs().max() > 1e-3


def test_rows_after_each_other_are_what_they_are_alone(net, monkeypatch):
    """What is shared between them is the same to the last bit."""
    monkeypatch.setitem(PORTIONS, "cpu", ELSEWHERE)
    both, alone = both_rows(net)
    assert torch.equal(both, alone)


def test_a_step_that_reuses_all_of_itself_is_itself(net):
    latents, sound, moment = inputs(1)
    rows = [None, net.listen(sound)]
    whole = net(latents, moment, rows, reusable=True)
    again = net(latents, moment, rows, whole.deep)
    assert torch.equal(whole.noise, again.noise)
    assert not net(latents, moment, rows).deep


@pytest.mark.slow
def test_a_guided_step_costs_less_than_in_the_original():
    with torch.device("meta"):
        net = UNet()
        latents, sound = torch.empty(FRAMES, INPUTS, 32, 32), torch.empty(FRAMES, 50, 384)
        rows = [None, net.listen(sound)]
        with FlopCounterMode(display=False) as counted:
            whole = net(latents, torch.empty(1), rows, reusable=True)
        with FlopCounterMode(display=False) as shallow:
            net(latents, torch.empty(1), rows, whole.deep)
    assert counted.get_total_flops() <= (1 - SPARED) * GUIDED
    assert shallow.get_total_flops() == pytest.approx(2 * 0.263e12, rel=0.02)


# ---- memory

BOTH = Settings(2, 1.5)  # rows


@pytest.fixture(scope="module")
def published():
    with torch.device("meta"):
        return UNet(ops=FusedOps).half()


def followed(net, px, settings, frames, dtype=torch.float16):
    side = px // 8
    shapes = (1, 4, side, side), (frames, INPUTS - 4, side, side), (frames, 50, 384)
    given = [torch.empty(shape, dtype=dtype, device="meta") for shape in shapes]
    with torch.no_grad(), Followed([*net.state_dict().values(), *given]) as met:
        denoise(net, *given, settings)
    return met.most


@pytest.mark.slow
@pytest.mark.parametrize(("px", "settings"), [(256, Settings(4, reuse=3)), (512, Settings(2, 1.0))], ids=str)
def test_the_network_needs_what_is_told(published, px, settings):
    """Every tensor is followed, at full size: what is asked for is enough, and not much more than that."""
    told = working_memory(Sizes(), px, settings, torch.float16)
    found = followed(published, px, settings, FRAMES)
    assert found <= told <= 1.15 * found
    assert followed(published, px, settings, 2) <= working_memory(Sizes(), px, settings, torch.float16, 2)


@pytest.mark.slow
def test_rows_that_run_together_need_more(published, monkeypatch):
    monkeypatch.setitem(PORTIONS, "meta", PORTIONS["cpu"])
    told = working_memory(Sizes(), 256, BOTH, torch.float16, device="cpu")
    found = followed(published, 256, BOTH, FRAMES)
    assert found <= told <= 1.15 * found
    assert told > 1.2 * working_memory(Sizes(), 256, BOTH, torch.float16)


def test_maps_are_doubled_as_by_the_plain_way():
    phased = PhasedUpsample(6, TorchOps)
    plain = Upsample(6, TorchOps)
    plain.load_state_dict(phased.state_dict())
    x = torch.randn(2, 6, 13, 20)
    with FlopCounterMode(display=False) as counted:
        found = phased(x)
    assert counted.get_total_flops() < 0.5 * 4 * x.numel() * 2 * 9 * 6
    assert torch.allclose(found, plain(x), atol=1e-6)
    assert torch.equal(phased(x[:1, :, :3]), plain(x[:1, :, :3]))  # of so few pixels, by the plain way itself
