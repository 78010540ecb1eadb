"""Schedule: noise levels, the steps of DDIM (arXiv 2010.02502) over them, and the velocity parameterisation."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..config import check_choice, check_count, check_number

MOST_TRAIN_STEPS = 100_000
BETAS = (1e-9, 0.999)  # the share of noise that a level adds


@dataclass(frozen=True)
class ScheduleConfig:
    """The diffusion's noise schedule; the defaults are those for sampling with the published weights."""

    train_steps: int = 1000
    beta_start: float = 0.00085
    beta_end: float = 0.012
    beta_schedule: str = "linear"  # or "scaled_linear": linear in the square root
    zero_terminal_snr: bool = True

    def __post_init__(self) -> None:
        check_count("schedule.train_steps", self.train_steps, MOST_TRAIN_STEPS, 2)
        check_number("schedule.beta_start", self.beta_start, *BETAS)
        check_number("schedule.beta_end", self.beta_end, *BETAS)
        check_choice("schedule.beta_schedule", self.beta_schedule, ("linear", "scaled_linear"))
        check_choice("schedule.zero_terminal_snr", self.zero_terminal_snr, (True, False))


@dataclass(frozen=True)
class Step:
    """A denoising step from noise level `sigma` to `next_sigma`; alpha**2 + sigma**2 = 1."""

    timestep: int
    alpha: float
    sigma: float
    next_alpha: float
    next_sigma: float

    def clean(self, x: Tensor, v: Tensor) -> Tensor:
        """The clean picture that follows from the noisy x and its velocity v."""
        return self.alpha * x - self.sigma * v

    def velocity(self, clean: Tensor, noise: Tensor) -> Tensor:
        """The velocity of a clean picture mixed with this noise."""
        return self.alpha * noise - self.sigma * clean

    def velocity_of(self, noise: Tensor, x: Tensor) -> Tensor:
        """The velocity that a network means which predicts the noise in x."""
        return (noise - self.sigma * x) / self.alpha

    def advance(self, x: Tensor, v: Tensor) -> Tensor:
        noise = self.alpha * v + self.sigma * x
        return self.next_alpha * self.clean(x, v) + self.next_sigma * noise


class Schedule:
    def __init__(self, config: ScheduleConfig | None = None):
        self.config = config or ScheduleConfig()
        self.betas = _betas(self.config)
        self.alphas_cumprod = torch.cumprod(1.0 - self.betas, dim=0)

    @property
    def end(self) -> tuple[float, float]:
        """Levels of picture and noise after the last step: usually no noise."""
        return 1.0, 0.0

    def timesteps(self, steps: int) -> list[int]:
        """ "Trailing" spacing: from the noisiest level downwards, the last one short of zero."""
        total = self.config.train_steps
        if not 1 <= steps <= total:
            raise ValueError(f"The number of steps is {steps}; choose from 1 to {total}.")
        return [round(total - i * total / steps) - 1 for i in range(steps)]

    def ddim(self, steps: int) -> list[Step]:
        timesteps = self.timesteps(steps)
        # A step ends at t - floor(T/n), which is not always the next timestep of the list, nor always zero noise.
        stride = self.config.train_steps // steps
        return [Step(t, *self._levels(t), *(self._levels(t - stride) if t >= stride else self.end)) for t in timesteps]

    def chain(self, steps: int) -> list[Step]:
        """Contiguous steps, for multistep solvers: each ends where the next begins, and the last where all end."""
        levels = [self._levels(t) for t in self.timesteps(steps)]
        ends = [*levels[1:], self.end]
        return [Step(t, *here, *end) for t, here, end in zip(self.timesteps(steps), levels, ends, strict=True)]

    def _levels(self, timestep: int) -> tuple[float, float]:
        kept = float(self.alphas_cumprod[timestep])
        return kept**0.5, (1.0 - kept) ** 0.5


def _betas(config: ScheduleConfig) -> Tensor:
    if config.beta_schedule == "linear":
        betas = torch.linspace(config.beta_start, config.beta_end, config.train_steps)
    else:
        betas = torch.linspace(config.beta_start**0.5, config.beta_end**0.5, config.train_steps) ** 2
    return _rescale_to_zero_snr(betas) if config.zero_terminal_snr else betas


def _rescale_to_zero_snr(betas: Tensor) -> Tensor:
    """Algorithm 1 of arXiv 2305.08891: the last level becomes pure noise, the first is unchanged."""
    roots = torch.cumprod(1.0 - betas, dim=0).sqrt()
    first, last = roots[0].clone(), roots[-1].clone()
    kept = ((roots - last) * (first / (first - last))) ** 2
    return 1.0 - torch.cat([kept[:1], kept[1:] / kept[:-1]])
