from dataclasses import replace

import pytest
import small
import torch
from torch.utils.flop_counter import FlopCounterMode

from joyhallo.diffusion.networks.portions import PORTIONS, Portions
from joyhallo.diffusion.schedule import Schedule
from joyhallo.methods.hallo.networks.denoising_unet import ChunkConditions
from joyhallo.methods.hallo.sampling import Portrait, Sampler, Settings, Stage, _guided, animate
from joyhallo.ops import CastOps

QUICK = Settings(steps=2, chunk_frames=4, seed=3)


@pytest.fixture(scope="module")
def net():
    return small.net(small.SHALLOW)


def chunks_of(net, settings=QUICK, *, count=6, portrait=None, **more):
    portrait = portrait or small.portrait(config=small.SHALLOW)
    return animate(net, small.BlockCodec(), Schedule(), portrait, small.windows(count), settings, **more)


def frames_of(*given, **more) -> torch.Tensor:
    return torch.cat([chunk.frames for chunk in chunks_of(*given, **more)])


def close(a, b, atol=2e-5):
    torch.testing.assert_close(a, b, rtol=0, atol=atol)


def prepared(net, settings, portrait=None, dtype=torch.float32):
    portrait = portrait or small.portrait(config=small.SHALLOW)
    latent = small.BlockCodec().encode(portrait.picture[None])
    return Sampler(net, portrait, latent, settings, torch.device("cpu"), dtype), latent


# ---- the same result, however it is computed


def test_guidance_rows_together_or_apart(net):
    close(frames_of(net, replace(QUICK, rows_together=False)), frames_of(net))


def test_too_little_memory_for_both_rows(net, monkeypatch, caplog):
    """A card that can hold one row but not two: the clip goes on, and one line of the log says so."""
    rows, forward = [], net.denoising_unet.forward

    def small_card(latents, timestep, conditions, *deep):
        rows.append(conditions.rows)
        if conditions.rows == slice(0, 2) and len(rows) > 1:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory.")
        return forward(latents, timestep, conditions, *deep)

    expected = frames_of(net)
    monkeypatch.setattr(net.denoising_unet, "forward", small_card)
    close(frames_of(net), expected)
    assert rows.count(slice(0, 2)) == 2
    assert [record.levelname for record in caplog.records] == ["WARNING"]


def test_no_memory_at_all_is_an_error(net, monkeypatch):
    def tiny_card(*_):
        raise torch.cuda.OutOfMemoryError("CUDA out of memory.")

    monkeypatch.setattr(net.denoising_unet, "forward", tiny_card)
    with pytest.raises(torch.cuda.OutOfMemoryError):
        frames_of(net)


def test_memory_limits_do_not_change_the_result(net, monkeypatch):
    expected = frames_of(net)
    monkeypatch.setitem(PORTIONS, "cpu", Portions(4096, 1, 1))
    close(frames_of(net), expected)


def test_the_portrait_stands_in_for_the_frames_before_it(net):
    """The first chunk's reference pictures are all one: encoding each of them gives nothing new."""
    for motion in (1, 2, 3):
        sampler, latent = prepared(net, replace(QUICK, motion_frames=motion))
        spared = sampler.motion_features(None)
        for quick, full in zip(spared, sampler.motion_features(latent.expand(motion, -1, -1, -1)), strict=True):
            close(quick, full)


def test_half_precision_weights_with_full_precision_arithmetic():
    config = small.SHALLOW
    half = {key: tensor.half() for key, tensor in small.net(small.SHALLOW).state_dict().items()}
    with torch.device("meta"):
        stored, widened = small.Net(config, CastOps), small.Net(config)
    stored.load_state_dict(half, assign=True)
    widened.load_state_dict({key: tensor.float() for key, tensor in half.items()}, assign=True)
    close(frames_of(stored.requires_grad_(False)), frames_of(widened.requires_grad_(False)))


def test_gradients_take_the_same_path(net):
    """With them on, the prediction stays the same."""
    sampler, _ = prepared(net, QUICK)
    chunk = sampler.prepare_chunk(small.windows(4), 0, None)
    x = torch.randn(4, 4, 8, 8)
    expected = sampler.velocity(net.denoising_unet, x, 500, chunk)
    close(sampler.velocity(net.denoising_unet, x.requires_grad_(True), 500, chunk), expected)


def test_gradients_are_the_slopes():
    """Nothing is overwritten that the way back needs. Slopes are measured in double precision, and against the
    gradients' length, since a way may well lead along the hillside.
    """
    net = small.net(small.SHALLOW).double()
    sampler, _ = prepared(net, QUICK, dtype=torch.float64)
    chunk = sampler.prepare_chunk(small.windows(4).double(), 0, None)

    def height(x):
        return sampler.velocity(net.denoising_unet, x, 500, chunk).square().sum()

    x = torch.randn(4, 4, 8, 8, dtype=torch.float64, requires_grad=True)
    height(x).backward()
    assert x.grad is not None
    ways, reach = torch.randn(4, *x.shape, dtype=torch.float64), 1e-3
    told = (ways * x.grad).sum((1, 2, 3, 4))
    measured = torch.stack([height(x.detach() + reach * way) - height(x.detach() - reach * way) for way in ways])
    slopes = measured.double() / (2 * reach)
    close(told / x.grad.norm(), slopes / x.grad.norm(), atol=1e-3)


# ---- the seed


def test_one_seed_one_clip(net):
    assert torch.equal(frames_of(net), frames_of(net))
    assert (frames_of(net, replace(QUICK, seed=4)) - frames_of(net)).abs().max() > 0.01


def test_the_seed_is_drawn_apart_from_everything_else(net):
    expected = frames_of(net)
    torch.manual_seed(99)
    state = torch.get_rng_state()
    assert torch.equal(frames_of(net), expected)
    assert torch.equal(torch.get_rng_state(), state)


def test_noise_is_drawn_like_the_originals(net):
    """(1, channels, frames, height, width), chunk after chunk from one generator."""
    generator = torch.Generator().manual_seed(QUICK.seed)
    noise = [torch.randn((1, 4, 4, 8, 8), generator=generator)[0].transpose(0, 1) for _ in range(2)]
    assert torch.equal(frames_of(net, noise=noise), frames_of(net))


# ---- guidance


def test_without_guidance_the_conditional_row_alone_runs(net):
    guided, _ = prepared(net, QUICK)
    alone, _ = prepared(net, replace(QUICK, guidance=1.0))
    x = torch.randn(4, 4, 8, 8)
    chunk = guided.prepare_chunk(small.windows(4), 0, None)
    (_, conditional), _ = guided.rows(net.denoising_unet, x, 500, chunk, Stage())
    close(alone.velocity(net.denoising_unet, x, 500, chunk), conditional)


def test_without_guidance_a_step_costs_about_half(net):
    def flops(guidance: float) -> int:
        sampler, _ = prepared(net, replace(QUICK, guidance=guidance))
        chunk = sampler.prepare_chunk(small.windows(4), 0, None)
        with FlopCounterMode(display=False) as counter:
            sampler.velocity(net.denoising_unet, torch.randn(4, 4, 8, 8), 500, chunk)
        return counter.get_total_flops()

    assert flops(1.0) < 0.56 * flops(3.5)
    assert flops(0.0) == flops(1.0)


def test_guidance_changes_the_frames(net):
    results = [frames_of(net, replace(QUICK, guidance=g)) for g in (1.0, 2.0, 3.5)]
    assert (results[0] - results[1]).abs().max() > 1e-3
    assert (results[1] - results[2]).abs().max() > 1e-3


# ---- the original's order of things


@pytest.mark.parametrize("motion", range(5))
def test_reference_rows_take_turns_with_the_face_tokens(net, motion):
    sampler, _ = prepared(net, replace(QUICK, motion_frames=motion))
    rows = torch.arange(2 * (1 + motion)) % 2  # unconditional, conditional, unconditional, ...
    halves = rows.view(2, 1 + motion)
    assert sampler.reference_tokens == halves[:, 0].tolist()
    assert sampler.motion_tokens.tolist() == halves[:, 1:].tolist()


@pytest.mark.parametrize("frames", [1, 2, 3, 5, 16])
def test_conditional_frames_take_turns_with_the_references(frames):
    chunk = ChunkConditions(frames, [], [], [])
    read = {}
    for reading in _guided(chunk, first=frames):
        for k in range(2 * frames)[reading.frames]:
            read[k] = reading.reference
    assert read == {k: k % 2 for k in range(frames, 2 * frames)}


# ---- clips of any shape


@pytest.mark.parametrize("count", [1, 3, 4, 5, 9])
def test_every_frame_once(net, count):
    assert frames_of(net, count=count).shape == (count, 3, 64, 64)


def test_frames_past_the_end_are_dropped(net):
    assert torch.equal(frames_of(net, count=8, length=5), frames_of(net, count=8)[:5])


@pytest.mark.parametrize("motion", [0, 1, 3])
def test_any_number_of_motion_frames(net, motion):
    found = frames_of(net, replace(QUICK, motion_frames=motion), count=8)
    assert found.isfinite().all()
    assert (found[4:] - frames_of(net, count=8)[4:]).abs().max() > 1e-4


def test_chunks_shorter_than_the_motion_frames(net):
    assert len(frames_of(net, replace(QUICK, chunk_frames=1, motion_frames=3), count=3)) == 3


@pytest.mark.parametrize(("width", "height"), [(128, 64), (64, 192)])
def test_pictures_that_are_not_square(net, width, height):
    assert frames_of(net, portrait=small.portrait(width, height, small.SHALLOW)).shape == (6, 3, height, width)


def test_turning_a_wide_picture_gives_the_turned_result(net):
    """Nothing but the weights of the convolutions knows which side is which; with turned ones a turned clip appears."""
    turned = small.net(small.SHALLOW)
    for module in turned.modules():
        if isinstance(module, torch.nn.Conv2d):
            module.weight = torch.nn.Parameter(module.weight.transpose(2, 3).contiguous(), requires_grad=False)
    wide = small.portrait(128, 64, small.SHALLOW)
    masks = [m.view(3, 8 >> level, 16 >> level).transpose(1, 2).flatten(1) for level, m in enumerate(wide.masks)]
    tall = Portrait(wide.picture.transpose(1, 2), wide.identity, wide.locator.transpose(1, 2), masks)
    noise = [torch.randn(4, 4, 8, 16) for _ in range(2)]
    expected = frames_of(net, portrait=wide, noise=noise)
    found = frames_of(turned, portrait=tall, noise=[n.transpose(2, 3) for n in noise])
    close(found.transpose(2, 3), expected, atol=5e-5)


def test_a_chunk_follows_from_the_frames_before_it(net):
    """Chunk two changes when chunk one does, through the motion frames alone."""
    noise = [torch.randn(4, 4, 8, 8) for _ in range(2)]
    other = [torch.randn(4, 4, 8, 8), noise[1]]
    a, b = frames_of(net, count=8, noise=noise), frames_of(net, count=8, noise=other)
    assert (a[4:] - b[4:]).abs().max() > 1e-4
    still = replace(QUICK, motion_frames=0)
    a, b = frames_of(net, still, count=8, noise=noise), frames_of(net, still, count=8, noise=other)
    assert torch.equal(a[4:], b[4:])


# ---- the three weights


def test_each_weight_acts(net):
    plain = frames_of(net)
    for region in range(3):
        weights = [1.0, 1.0, 1.0]
        weights[region] = 0.0
        assert (frames_of(net, replace(QUICK, weights=weights)) - plain).abs().max() > 1e-3


def test_one_weight_for_all_frames_or_one_for_each(net):
    weights = (0.5, 1.5, 2.0)
    rows = torch.tensor(weights).expand(6, 3)
    close(frames_of(net, replace(QUICK, weights=rows)), frames_of(net, replace(QUICK, weights=weights)))


def test_weights_act_in_their_own_chunk_and_after(net):
    rows = torch.ones(8, 3)
    rows[4:] = 0.0
    found, plain = (frames_of(net, replace(QUICK, weights=w), count=8) for w in (rows, torch.ones(8, 3)))
    assert torch.equal(found[:4], plain[:4])
    assert (found[4:] - plain[4:]).abs().max() > 1e-3


@pytest.mark.parametrize("count", [1, 3, 5, 20])
def test_the_last_row_of_weights_holds(net, count):
    rows = torch.linspace(0.2, 1.4, 3 * count).reshape(count, 3)
    full = torch.cat([rows, rows[-1:].expand(8, 3)])[:8]
    found, expected = (frames_of(net, replace(QUICK, weights=w), count=8) for w in (rows, full))
    assert torch.equal(found, expected)


# ---- whoever calls


def test_progress_is_told_after_every_step(net):
    seen = []
    frames_of(net, on_step=seen.append)
    assert [(p.done, p.total) for p in seen] == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert seen[0].estimate.shape == (4, 4, 8, 8)


def test_the_last_estimate_is_the_result(net):
    seen = []
    chunk = next(chunks_of(net, count=4, on_step=seen.append))
    close(seen[-1].estimate, chunk.latents)


def test_an_exception_stops_at_once(net):
    class Cancelled(Exception):
        pass

    seen = []

    def stop(progress):
        seen.append(progress)
        raise Cancelled

    with pytest.raises(Cancelled):
        frames_of(net, on_step=stop)
    assert len(seen) == 1


def test_chunks_come_one_by_one(net):
    seen = []
    chunks = chunks_of(net, count=9, on_step=seen.append)
    first = next(chunks)
    assert (first.index, first.start, len(first.frames), len(seen)) == (0, 0, 4, 2)
    assert next(chunks).start == 4
    chunks.close()
    assert len(seen) == 4


def test_networks_are_made_ready_before_they_run(net):
    names = {id(module): name for name, module in net.named_children()}
    used = []

    def ready(module):
        used.append(names[id(module)])
        return module

    frames_of(net, ready=ready)
    assert set(used) == set(names.values())
    assert used.index("imageproj") < used.index("reference_unet") < used.index("denoising_unet")


# ---- what does not fit


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"picture": torch.zeros(3, 60, 64), "locator": torch.zeros(3, 60, 64)}, "64x60 pixels.*multiples of 64"),
        ({"locator": torch.zeros(3, 32, 32)}, "draw it at the picture's size"),
        ({"identity": torch.zeros(128)}, "128 numbers.*needs 512"),
        ({"masks": [torch.zeros(3, 64)]}, r"needs \[\(3, 64\), \(3, 16\), \(3, 4\), \(3, 1\)\]"),
    ],
)
def test_a_portrait_that_does_not_fit(change, words):
    with pytest.raises(ValueError, match=words):
        frames_of(small.net(), portrait=replace(small.portrait(), **change))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"chunk_frames": 31}, "31 frames with 2 motion frames.*has 32 positions"),
        ({"chunk_frames": 0}, "at least one frame"),
        ({"weights": (1.0, 1.0)}, "three numbers"),
        ({"weights": torch.ones(0, 3)}, r"\(0, 3\); give three numbers.* or rows of three"),
        ({"weights": torch.ones(6, 2)}, r"\(6, 2\); give"),
        ({"weights": torch.ones(6, 1, 3)}, r"\(6, 1, 3\); give"),
        ({"weights": 1.0}, r"\(\); give"),
        ({"steps": 0}, "choose from 1 to 1000"),
    ],
)
def test_settings_that_do_not_fit(net, change, words):
    with pytest.raises(ValueError, match=words):
        frames_of(net, replace(QUICK, **change))


@pytest.mark.parametrize("shape", [(6, 5, 12, 768), (6, 5, 3), (0, 5, 3, 16)])
def test_speech_that_does_not_fit(net, shape):
    chunks = animate(
        net, small.BlockCodec(), Schedule(), small.portrait(config=small.SHALLOW), torch.zeros(shape), QUICK
    )
    with pytest.raises(ValueError, match="speech features"):
        next(chunks)
