import pytest
import torch
from diffusers import DDIMScheduler

from joyhallo.diffusion.schedule import Schedule, ScheduleConfig


def theirs(beta_schedule: str = "linear") -> DDIMScheduler:
    return DDIMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule=beta_schedule,
        clip_sample=False,
        steps_offset=1,
        prediction_type="v_prediction",
        rescale_betas_zero_snr=True,
        timestep_spacing="trailing",
    )


@pytest.mark.parametrize("beta_schedule", ["linear", "scaled_linear"])
def test_noise_levels_are_those_of_diffusers(beta_schedule):
    ours, diffusers = Schedule(ScheduleConfig(beta_schedule=beta_schedule)), theirs(beta_schedule)
    assert torch.equal(ours.alphas_cumprod, diffusers.alphas_cumprod)
    assert torch.equal(ours.betas, diffusers.betas)
    assert ours.alphas_cumprod[-1] == 0


@pytest.mark.parametrize("steps", [1, 2, 3, 7, 10, 15, 30, 40, 333, 1000])
def test_a_chain_of_steps_ends_where_diffusers_does(steps):
    scheduler = theirs()
    scheduler.set_timesteps(steps)
    x = y = torch.randn(2, 4, 3, 3, generator=torch.Generator().manual_seed(steps))
    ours = Schedule().ddim(steps)
    assert [step.timestep for step in ours] == scheduler.timesteps.tolist()
    for step in ours:
        v = torch.sin(x)  # tame, so that the two chains' rounding does not grow apart
        y = scheduler.step(torch.sin(y), step.timestep, y, return_dict=False)[0]
        x = step.advance(x, v)
    torch.testing.assert_close(x, y, rtol=0, atol=1e-5 + 2e-7 * steps)  # a rounding a step


def test_the_clean_estimate_undoes_the_noise():
    step = Schedule().ddim(40)[20]
    clean, noise = torch.randn(2, 4, 3, 3).unbind(0)
    noisy, velocity = step.alpha * clean + step.sigma * noise, step.alpha * noise - step.sigma * clean
    torch.testing.assert_close(step.clean(noisy, velocity), clean)


@pytest.mark.parametrize("steps", [0, -1, 1001])
def test_impossible_numbers_of_steps_are_refused(steps):
    with pytest.raises(ValueError, match="choose from 1 to 1000"):
        Schedule().ddim(steps)


def test_an_unknown_beta_schedule_is_refused():
    with pytest.raises(ValueError, match="'cosine'"):
        Schedule(ScheduleConfig(beta_schedule="cosine"))
