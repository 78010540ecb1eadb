"""From noise to the faces of a window: the schedule of LatentSync, guidance, and steps that reuse the deep layers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from ...diffusion.schedule import Schedule, ScheduleConfig
from ...diffusion.solvers import SOLVERS
from .network import UNet

STEPS, GUIDANCE = 20, 1.5
LEVELS = ScheduleConfig(beta_schedule="scaled_linear", zero_terminal_snr=False)


class Leading(Schedule):
    """Steps begin just above the cleanest level, and end at that level, where a little noise is left."""

    def __init__(self) -> None:
        super().__init__(LEVELS)

    @property
    def end(self) -> tuple[float, float]:
        return self._levels(0)

    def timesteps(self, steps: int) -> list[int]:
        total = self.config.train_steps
        if not 1 <= steps <= total // 2:
            raise ValueError(f"The number of steps is {steps}; choose from 1 to {total // 2}.")
        return [total // steps * number + 1 for number in reversed(range(steps))]


@dataclass(frozen=True)
class Settings:
    steps: int = STEPS
    guidance: float = GUIDANCE  # up to 1: what is made without sound is not compared
    reuse: int = 1  # steps that share what the deep layers found; DeepCache is 3
    solver: str = "ddim"


def denoise(
    network: UNet,
    noise: Tensor,
    given: Tensor,
    sound: Tensor,
    settings: Settings,
    on_step: Callable[[int, Tensor, Tensor], None] = lambda done, latents, clean: None,
) -> Tensor:
    """noise (1, 4, height, width), of all frames; given (frames, 9, height, width): mask, masked and whole faces.

    sound (frames, tokens, width). on_step: how many are done, the latents (frames, 4, height, width) by then, and those
    that the step points at.
    """
    heard = network.listen(sound)
    rows = [None, heard] if settings.guidance > 1 else [heard]
    method = SOLVERS[settings.solver]
    solver, x, deep = method.solver(), noise.float().expand(len(given), -1, -1, -1), None
    for number, step in enumerate(method.steps(Leading(), settings.steps)):
        seen = torch.cat([x.to(given.dtype), given], dim=1)
        timestep = torch.full((1,), step.timestep, device=x.device)
        found = network(seen, timestep, rows, deep if number % settings.reuse else None, settings.reuse > 1)
        deep = found.deep
        v = step.velocity_of(guided(found.noise.float(), settings.guidance), x)
        clean = step.clean(x, v)
        x = solver.advance(step, x, v)
        on_step(number + 1, x, clean)
    return x


def guided(rows: Tensor, guidance: float) -> Tensor:
    """Away from what is made without sound, if that was made."""
    return rows[0] if len(rows) == 1 else torch.lerp(rows[0], rows[1], guidance)


def shared_noise(seed: int, side: int) -> Tensor:
    """(1, 4, side, side), which all frames of a film begin with; always drawn by a CPU, so that any device agrees."""
    return torch.randn(1, 4, side, side, generator=torch.Generator("cpu").manual_seed(seed))
