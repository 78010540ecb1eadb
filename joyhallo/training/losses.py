"""The loss of training: squared errors of the velocity, and their weights."""

from __future__ import annotations

import torch
from torch import Tensor

from ..diffusion.schedule import Schedule


def levels(schedule: Schedule, timestep: Tensor) -> tuple[Tensor, Tensor]:
    """Alpha and sigma of each sample, to be multiplied with (rows, frames, channels, height, width)."""
    kept = schedule.alphas_cumprod.to(timestep.device)[timestep][:, None, None, None, None]
    return kept.sqrt(), (1 - kept).sqrt()


def snr_weights(schedule: Schedule, timestep: Tensor, gamma: float) -> Tensor:
    """Weights of samples: min(SNR + 1, gamma) / (SNR + 1), the original's variant of arXiv 2303.09556 for velocities.

    With the 1 on both sides pure noise, whose SNR is zero, counts fully. Since SNR + 1 = 1 / sigma**2 nothing is
    divided by zero.
    """
    if not gamma:
        return torch.ones(len(timestep), device=timestep.device)
    return (gamma * (1 - schedule.alphas_cumprod.to(timestep.device)[timestep])).clamp(max=1)


def errors(predicted: Tensor, target: Tensor) -> Tensor:
    """Mean squares at each pixel of each sample: (rows, frames, channels, height, width) -> (rows, pixels)."""
    return (predicted.float() - target.float()).square().flatten(3).mean((1, 2))


def emphasised(squares: Tensor, lip: Tensor, weight: float) -> Tensor:
    """Errors (rows, pixels) that count `weight` times where the lips (rows, pixels) in 0..1 are."""
    return squares * (1 + (weight - 1) * lip)
