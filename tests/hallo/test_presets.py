"""What may be left out of a step, and the named choices of it."""

from dataclasses import replace

import pytest
import small
import torch
from diffusers import DPMSolverMultistepScheduler, UniPCMultistepScheduler

from joyhallo.diffusion.schedule import Schedule
from joyhallo.diffusion.solvers import SOLVERS
from joyhallo.methods.hallo import sampling
from joyhallo.methods.hallo.presets import PRESETS
from joyhallo.methods.hallo.sampling import Sampler, Settings, Stage, animate, stages

pytestmark = pytest.mark.slow

QUICK = Settings(steps=4, chunk_frames=4, seed=3)
BOTH, ALONE = Stage(True, True), Stage(False, True)
BOTH_AGAIN, ALONE_AGAIN = Stage(True, False), Stage(False, False)
LAST_TWO = (
    ("up_blocks.3", 0),
    ("up_blocks.3", 1),
    ("down_blocks.0", 0),
)  # and the one whose map the first of them joins


@pytest.fixture(scope="module")
def net():
    return small.net()


@pytest.fixture(scope="module")
def two_layered():
    return small.net(layers=2)


def clip(net, settings, count=6) -> torch.Tensor:
    chunks = animate(net, small.BlockCodec(), Schedule(), small.portrait(), small.windows(count), settings)
    return torch.cat([chunk.frames for chunk in chunks])


def prepared(net, settings):
    """A sampler, the conditions of a chunk and its noise."""
    portrait = small.portrait()
    latent = small.BlockCodec().encode(portrait.picture[None])
    sampler = Sampler(net, portrait, latent, settings, torch.device("cpu"), torch.float32)
    chunk = sampler.prepare_chunk(small.windows(4), 0, None)
    return sampler, chunk, torch.randn(4, 4, 8, 8, generator=torch.Generator().manual_seed(1))


def close(a, b, atol=2e-5):
    torch.testing.assert_close(a, b, rtol=0, atol=atol)


# ---- what runs when


@pytest.mark.parametrize(
    ("change", "planned"),
    [
        ({}, [BOTH] * 4),
        ({"guidance": 1.0}, [ALONE] * 4),
        ({"guidance_span": (0.0, 0.5)}, [BOTH, BOTH, ALONE, ALONE]),
        ({"guidance_span": (0.25, 0.75)}, [ALONE, BOTH, BOTH, ALONE]),
        ({"guidance_span": (0.3, 0.4)}, [ALONE] * 4),  # between two steps
        ({"guidance_span": (0.5, 1.0), "guidance": 1.0}, [ALONE] * 4),
        ({"reuse": 2}, [BOTH, BOTH_AGAIN, BOTH, BOTH_AGAIN]),
        ({"reuse": 3}, [BOTH, BOTH_AGAIN, BOTH_AGAIN, BOTH]),
        ({"reuse": 9, "guidance": 0.0}, [ALONE, ALONE_AGAIN, ALONE_AGAIN, ALONE_AGAIN]),
        ({"reuse": 4, "guidance_span": (0.0, 0.5)}, [BOTH, BOTH_AGAIN, ALONE_AGAIN, ALONE_AGAIN]),
        ({"reuse": 4, "guidance_span": (0.5, 1.0)}, [ALONE, ALONE_AGAIN, BOTH, BOTH_AGAIN]),
        ({"reuse": 2, "guidance_span": (0.25, 1.0)}, [ALONE, BOTH, BOTH_AGAIN, BOTH]),
    ],
)
def test_what_runs_at_each_step(change, planned):
    assert stages(replace(QUICK, **change), 4) == planned


@pytest.mark.parametrize("span", [(0.0, 0.5), (0.25, 0.75), (0.5, 1.0)])
def test_guidance_acts_on_the_same_noise_levels_however_many_steps(span):
    def levels(steps: int) -> list[int]:
        settings = Settings(guidance_span=span)
        planned = zip(Schedule().timesteps(steps), stages(settings, steps), strict=True)
        return [timestep for timestep, stage in planned if stage.guided]

    few, many = levels(8), levels(40)
    assert set(few) <= set(many)
    assert len(few) == 4 * (span[1] - span[0]) * 2


# ---- solvers in the loop


@pytest.mark.parametrize(
    ("name", "theirs"), [("dpmpp_2m", DPMSolverMultistepScheduler), ("unipc", UniPCMultistepScheduler)]
)
def test_the_loop_ends_where_diffusers_does(net, name, theirs):
    sampler, chunk, x = prepared(net, replace(QUICK, solver=name))
    scheduler = theirs(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="linear",
        prediction_type="v_prediction",
        rescale_betas_zero_snr=True,
        timestep_spacing="trailing",
    )
    schedule = Schedule()
    schedule.alphas_cumprod[-1] = scheduler.alphas_cumprod[-1]  # its stand-in for pure noise
    scheduler.set_timesteps(5)
    found = sampler.denoise(chunk, x, SOLVERS[name].steps(schedule, 5))
    for timestep in scheduler.timesteps:
        v = sampler.velocity(net.denoising_unet, x, int(timestep), chunk)
        x = scheduler.step(v, timestep, x, return_dict=False)[0]
    close(found, x, atol=1e-4)


@pytest.mark.parametrize("name", SOLVERS)
def test_the_last_preview_is_the_result(net, name):
    seen = []
    windows = small.windows(4)
    settings = replace(QUICK, solver=name, reuse=2, guidance_span=(0.25, 1.0))
    chunks = animate(net, small.BlockCodec(), Schedule(), small.portrait(), windows, settings, on_step=seen.append)
    latents = next(chunks).latents
    assert [progress.done for progress in seen] == [1, 2, 3, 4]
    close(seen[-1].estimate, latents)


def test_what_a_chunk_remembers_ends_with_it(net):
    sampler, chunk, x = prepared(net, replace(QUICK, solver="unipc", reuse=3))
    steps = Schedule().chain(4)
    assert torch.equal(sampler.denoise(chunk, x, steps), sampler.denoise(chunk, x, steps))


# ---- guidance on a part of the way


def test_outside_its_span_guidance_is_left_out(net):
    sampler, chunk, x = prepared(net, replace(QUICK, guidance_span=(0.25, 0.75)))
    unguided, _, _ = prepared(net, replace(QUICK, guidance=1.0))
    steps = Schedule().ddim(4)
    found = sampler.denoise(chunk, x, steps)
    for step, who in zip(steps, (unguided, sampler, sampler, unguided), strict=True):
        x = step.advance(x, who.velocity(net.denoising_unet, x, step.timestep, chunk))
    close(found, x)


def test_outside_its_span_one_row_runs(net, monkeypatch):
    ran, forward = [], net.denoising_unet.forward

    def watched(latents, timestep, conditions, *deep):
        v, entered = forward(latents, timestep, conditions, *deep)
        ran.append(len(v) // 4)
        return v, entered

    monkeypatch.setattr(net.denoising_unet, "forward", watched)
    clip(net, replace(QUICK, guidance_span=(0.5, 1.0)), count=4)
    assert ran == [1, 1, 2, 2]


# ---- deep features that serve again


@pytest.mark.parametrize("shallow", [1, 2, 3])
@pytest.mark.parametrize("together", [True, False])
def test_deep_features_of_the_same_step_change_nothing(two_layered, shallow, together, monkeypatch):
    """Then the shallow layers alone give what the whole network gives, whichever row they are asked for."""
    monkeypatch.setattr(sampling, "SHALLOW_LAYERS", shallow)
    sampler, chunk, x = prepared(two_layered, replace(QUICK, reuse=2, rows_together=together))
    unet = two_layered.denoising_unet
    both, deep = sampler.rows(unet, x, 700, chunk, BOTH)
    for row, again in zip(both, sampler.rows(unet, x, 700, chunk, BOTH_AGAIN, deep)[0], strict=True):
        close(again, row, atol=5e-6)
    (alone,), of_one = sampler.rows(unet, x, 700, chunk, ALONE)
    assert len(of_one) == 1
    for kept in (deep, of_one):
        (again,), handed_on = sampler.rows(unet, x, 700, chunk, ALONE_AGAIN, kept)
        close(again, alone, atol=1e-5)
        assert handed_on is kept


def test_on_a_cheap_step_only_the_shallow_layers_run(net):
    sampler, chunk, x = prepared(net, replace(QUICK, reuse=2))
    unet, ran = net.denoising_unet, []
    _, deep = sampler.rows(unet, x, 700, chunk, BOTH)
    hooks = [
        module.register_forward_hook(lambda *_, name=name: ran.append(name))
        for name, module in unet.named_modules()
        if name.count(".") == 3 or (name.count(".") == 2 and "mid" in name)
    ]
    sampler.rows(unet, x, 700, chunk, BOTH_AGAIN, deep)
    for hook in hooks:
        hook.remove()
    assert sampling.SHALLOW_LAYERS == 2
    below = {f"down_blocks.0.{kind}.0" for kind in ("resnets", "attentions", "audio_modules", "motion_modules")}
    above = {
        f"up_blocks.3.{kind}.{i}"
        for kind in ("resnets", "attentions", "audio_modules", "motion_modules")
        for i in (0, 1)
    }
    assert set(ran) == below | above


def test_the_shallow_layers_see_the_step_at_hand(net):
    sampler, chunk, x = prepared(net, replace(QUICK, reuse=2))
    _, deep = sampler.rows(net.denoising_unet, x, 700, chunk, BOTH)
    kept = deep.clone()
    (old, _), _ = sampler.rows(net.denoising_unet, x, 700, chunk, BOTH_AGAIN, deep)
    (new, _), _ = sampler.rows(net.denoising_unet, 0.5 * x, 650, chunk, BOTH_AGAIN, deep)
    assert (new - old).abs().max() > 1e-2
    assert torch.equal(deep, kept)


def test_a_step_in_between_takes_the_deep_features_of_the_last_full_one(net):
    sampler, chunk, x = prepared(net, replace(QUICK, reuse=2))
    steps = Schedule().ddim(4)
    found = sampler.denoise(chunk, x, steps)
    unet = net.denoising_unet
    for first, second in (steps[:2], steps[2:]):
        rows, deep = sampler.rows(unet, x, first.timestep, chunk, BOTH)
        x = first.advance(x, sampler.guide(rows))
        rows, _ = sampler.rows(unet, x, second.timestep, chunk, BOTH_AGAIN, deep)
        x = second.advance(x, sampler.guide(rows))
    assert torch.equal(found, x)


def test_without_reuse_nothing_is_kept(net):
    sampler, chunk, x = prepared(net, QUICK)
    _, deep = sampler.rows(net.denoising_unet, x, 700, chunk, BOTH)
    assert deep is None


@pytest.mark.parametrize("span", [(0.0, 1.0), (0.2, 0.7)])
def test_rows_together_or_apart(net, span):
    settings = replace(QUICK, reuse=2, guidance_span=span, steps=5)
    apart = replace(settings, rows_together=False)
    close(clip(net, apart, count=4), clip(net, settings, count=4), atol=5e-5)


@pytest.mark.parametrize("fails", [1, 2])
def test_memory_that_runs_out_on_any_step(net, monkeypatch, fails):
    settings, calls, forward = replace(QUICK, reuse=3), [], net.denoising_unet.forward
    expected = clip(net, settings, count=4)

    def small_card(latents, timestep, conditions, *deep):
        calls.append(conditions.rows)
        if conditions.rows == slice(0, 2) and len(calls) >= fails:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory.")
        return forward(latents, timestep, conditions, *deep)

    monkeypatch.setattr(net.denoising_unet, "forward", small_card)
    close(clip(net, settings, count=4), expected, atol=5e-5)
    assert calls.count(slice(0, 2)) == fails


# ---- presets


def test_exact_is_the_default():
    assert PRESETS["exact"].settings() == Settings()
    assert next(iter(PRESETS)) == "exact"


def test_a_preset_leaves_room_for_the_rest():
    fast = PRESETS["fast"]
    assert fast.settings().steps == fast.steps
    assert fast.settings(steps=30) == replace(fast.settings(), steps=30)
    assert fast.settings(guidance=2.0, seed=7) == replace(fast.settings(), guidance=2.0, seed=7)


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_makes_frames(net, name):
    found = clip(net, PRESETS[name].settings(steps=3, chunk_frames=4), count=4)
    assert found.shape == (4, 3, 64, 64)
    assert found.isfinite().all()


def test_each_preset_does_less_than_the_one_before():
    cost = {Stage(guided, full): (2 if guided else 1) * (1 if full else 0.3) for guided in (0, 1) for full in (0, 1)}
    work = [sum(cost[s] for s in stages(p.settings(), p.steps)) for p in PRESETS.values()]
    assert work == sorted(work, reverse=True)


# ---- what does not fit


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"solver": "euler"}, "solver 'euler' is unknown.*ddim, dpmpp_2m, unipc"),
        ({"guidance_span": (0.5, 0.2)}, r"guidance_span is \(0.5, 0.2\).*smaller first"),
        ({"guidance_span": (0.5, 0.5)}, "smaller first"),
        ({"guidance_span": (-0.1, 1.0)}, "from 0 to 1"),
        ({"guidance_span": (0.0, 1.5)}, "from 0 to 1"),
        ({"reuse": 0}, "reuse is 0; it must be at least 1"),
    ],
)
def test_settings_that_do_not_fit(net, change, words):
    with pytest.raises(ValueError, match=words):
        clip(net, replace(QUICK, **change))
