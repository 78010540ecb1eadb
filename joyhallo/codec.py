"""Pixels <-> latents with a Stable Diffusion autoencoder, for scripts, training and tests; ComfyUI brings its own."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from .config import CodecConfig

FRAMES_AT_ONCE = 4


class AutoencoderCodec:
    """Wraps a diffusers AutoencoderKL."""

    def __init__(self, autoencoder: Any, config: CodecConfig | None = None):
        self.autoencoder = autoencoder
        self.scale = (config or CodecConfig()).scale

    @torch.no_grad()
    def encode(self, pixels: Tensor) -> Tensor:
        posterior = self.autoencoder.encode(self._here(pixels)).latent_dist
        return posterior.mean * self.scale

    @torch.no_grad()
    def posterior(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log-variance of the latents that stand for some pixels; `encode` gives the mean alone."""
        posterior = self.autoencoder.encode(self._here(pixels)).latent_dist
        return posterior.mean * self.scale, posterior.logvar + 2 * math.log(self.scale)

    @torch.no_grad()
    def decode(self, latents: Tensor) -> Tensor:
        pictures = [
            self.autoencoder.decode(self._here(some / self.scale)).sample.float()
            for some in latents.split(FRAMES_AT_ONCE)
        ]
        return (torch.cat(pictures) / 2 + 0.5).clamp(0, 1)

    def _here(self, tensor: Tensor) -> Tensor:
        return tensor.to(self.autoencoder.device, self.autoencoder.dtype)
