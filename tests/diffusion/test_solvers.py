import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler, DPMSolverMultistepScheduler, UniPCMultistepScheduler
from scipy.integrate import solve_ivp
from torch import Tensor

from joyhallo.diffusion.schedule import Schedule, ScheduleConfig, Step
from joyhallo.diffusion.solvers import SOLVERS

THEIRS = {"ddim": DDIMScheduler, "dpmpp_2m": DPMSolverMultistepScheduler, "unipc": UniPCMultistepScheduler}
NEW = ("dpmpp_2m", "unipc")
COUNTS = (1, 2, 3, 8, 15, 20, 40)

# A picture of two kinds of pixels: the velocity that points at their mean given the noisy ones is known.
MEANS, SPREAD = (-0.6, 0.9), 0.5


def velocity(x: Tensor, alpha: float, sigma: float) -> Tensor:
    variance = (alpha * SPREAD) ** 2 + sigma**2
    guesses = torch.stack([m + alpha * SPREAD**2 / variance * (x - alpha * m) for m in MEANS])
    odds = torch.stack([-((x - alpha * m) ** 2) / (2 * variance) for m in MEANS]).softmax(0)
    clean = (odds * guesses).sum(0)
    return alpha * (x - alpha * clean) / sigma - sigma * clean


def noise(dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.linspace(-2.5, 2.5, 96, dtype=dtype).view(2, 4, 3, 4)


def run(name: str, steps: list[Step], x: Tensor, model=velocity) -> Tensor:
    solver = SOLVERS[name].solver()
    for step in steps:
        x = solver.advance(step, x, model(x, step.alpha, step.sigma))
    return x


def their_scheduler(name: str, beta_schedule: str = "linear"):
    return THEIRS[name](
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule=beta_schedule,
        prediction_type="v_prediction",
        rescale_betas_zero_snr=True,
        timestep_spacing="trailing",
    )


def their_run(scheduler, count: int, x: Tensor) -> Tensor:
    scheduler.set_timesteps(count)
    for timestep, sigma in zip(scheduler.timesteps, scheduler.sigmas.double(), strict=False):
        alpha = float(1 / (1 + sigma**2).sqrt())
        x = scheduler.step(velocity(x, alpha, float(sigma) * alpha), timestep, x, return_dict=False)[0]
    return x


# ---- the arithmetic of diffusers


@pytest.mark.parametrize("beta_schedule", ["linear", "scaled_linear"])
@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.parametrize("name", NEW)
def test_the_result_is_that_of_diffusers(name, count, beta_schedule):
    """It puts pure noise at a finite lambda; with its alpha there the chains are the same, to its single precision."""
    scheduler = their_scheduler(name, beta_schedule)
    ours = Schedule(ScheduleConfig(beta_schedule=beta_schedule))
    ours.alphas_cumprod[-1] = scheduler.alphas_cumprod[-1]
    for dtype in (torch.float32, torch.float64):
        found = run(name, SOLVERS[name].steps(ours, count), noise(dtype))
        assert found.dtype == dtype
        torch.testing.assert_close(found, their_run(scheduler, count, noise(dtype)), rtol=0, atol=2e-5)


@pytest.mark.parametrize("count", [1, 2, 3, 8, 20])
@pytest.mark.parametrize("name", NEW)
def test_pure_noise_is_where_diffusers_would_put_it_at_the_limit(name, count):
    """The further out diffusers' stand-in for lambda = -inf, the nearer: half as far at twice the lambda."""
    scheduler = their_scheduler(name)
    found = run(name, SOLVERS[name].steps(Schedule(), count), noise())
    away = []
    for exponent in (-60, -120):
        scheduler.alphas_cumprod = scheduler.alphas_cumprod.double()
        scheduler.alphas_cumprod[-1] = 2.0**exponent
        away.append(float((their_run(scheduler, count, noise()) - found).abs().max()))
    far, near = away
    assert near < 1e-6 if count < 3 else 0.4 * far < near < 0.55 * far


def test_ddim_is_the_schedules_own():
    steps, x = Schedule().ddim(15), noise(torch.float32)
    y = x
    for step in steps:
        y = step.advance(y, velocity(y, step.alpha, step.sigma))
    assert SOLVERS["ddim"].steps(Schedule(), 15) == steps
    assert torch.equal(run("ddim", steps, x), y)


# ---- how near


def truth(x: Tensor, start: float, end: float) -> Tensor:
    """With alpha = cos(a) and sigma = sin(a) the velocity is the derivative of x over the angle a."""

    def slope(angle: float, y: np.ndarray) -> np.ndarray:
        return velocity(torch.from_numpy(y), math.cos(angle), math.sin(angle)).numpy()

    solved = solve_ivp(slope, (start, end), x.flatten().numpy(), method="DOP853", rtol=1e-11, atol=1e-12)
    return torch.from_numpy(solved.y[:, -1]).view(x.shape)


def steps_over(lambdas: list[float]) -> list[Step]:
    levels = [(math.cos(angle), math.sin(angle)) for angle in map(math.atan, np.exp(-np.array(lambdas)))]
    return [Step(0, *here, *end) for here, end in pairwise(levels)]


@pytest.mark.parametrize(("name", "order"), [("ddim", 1), ("dpmpp_2m", 2), ("unipc", 2)])
def test_halving_the_steps_shows_the_order(name, order):
    """Between two noise levels where everything is smooth. UniPC's correction may bring it further."""
    first, last = -1.5, 1.5
    exact = truth(noise(), *(math.atan(math.exp(-end)) for end in (first, last)))
    counts = (20, 40, 80)
    off = [
        float((run(name, steps_over(list(np.linspace(first, last, n + 1))), noise()) - exact).norm()) for n in counts
    ]
    measured = [math.log2(coarse / fine) for coarse, fine in pairwise(off)]
    assert order - 0.2 < min(measured)
    assert max(measured) < order + (0.2 if name != "unipc" else 1.2)


@pytest.mark.parametrize(("count", "share"), [(4, 0.97), (8, 0.8), (15, 0.7), (20, 0.6)])
@pytest.mark.parametrize("name", NEW)
def test_few_steps_are_nearer_than_ddims(name, count, share):
    for exact in (run("ddim", Schedule().ddim(1000), noise()), truth(noise(), math.pi / 2, 0.0291)):
        new, old = ((run(n, SOLVERS[n].steps(Schedule(), count), noise()) - exact).norm() for n in (name, "ddim"))
        assert new < share * old


@pytest.mark.parametrize("name", SOLVERS)
@pytest.mark.parametrize("count", [2, 10, 40, 1000])
def test_the_last_estimate_is_the_result(name, count):
    """Previews show it, and the last preview is what comes out."""
    x, solver, seen = noise(torch.float32), SOLVERS[name].solver(), None
    for step in SOLVERS[name].steps(Schedule(), count):
        v = velocity(x, step.alpha, step.sigma)
        seen, x = step.clean(x, v), solver.advance(step, x, v)
    assert x.isfinite().all()
    torch.testing.assert_close(x, seen, rtol=0, atol=1e-6)


def test_steps_without_a_gap():
    for count in (1, 2, 15, 40):
        steps = Schedule().chain(count)
        assert [step.timestep for step in steps] == Schedule().timesteps(count)
        assert all((a.next_alpha, a.next_sigma) == (b.alpha, b.sigma) for a, b in pairwise(steps))
        assert (steps[-1].next_alpha, steps[-1].next_sigma) == (1, 0)


def test_a_chunk_starts_without_what_another_remembers():
    method, steps = SOLVERS["unipc"], Schedule().chain(5)
    assert torch.equal(run("unipc", steps, noise()), run("unipc", steps, noise()))
    assert method.solver() is not method.solver()
