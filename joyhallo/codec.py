"""Pixels <-> latents outside ComfyUI, for scripts, training and tests: with an autoencoder, or with one matrix."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from .config import LATENT_SCALE, CodecConfig

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
        """Mean and logarithm of the variance of the latents, in the units of `encode`."""
        found = [self.autoencoder.encode(self._here(some)).latent_dist for some in pixels.split(FRAMES_AT_ONCE)]
        mean, logvar = torch.cat([d.mean for d in found]), torch.cat([d.logvar for d in found])
        return mean * self.scale, logvar + 2 * math.log(self.scale)

    @torch.no_grad()
    def decode(self, latents: Tensor) -> Tensor:
        pictures = [
            self.autoencoder.decode(self._here(some / self.scale)).sample.float()
            for some in latents.split(FRAMES_AT_ONCE)
        ]
        return (torch.cat(pictures) / 2 + 0.5).clamp(0, 1)

    def _here(self, tensor: Tensor) -> Tensor:
        return tensor.to(self.autoencoder.device, self.autoencoder.dtype)


CERTAIN = -30.0  # logarithm of a variance: none


@dataclass(frozen=True)
class PatchCodec:
    """Each block of 8x8 pixels as a few of its principal components: a codec that is fitted in seconds and never moves.

    What it loses is detail; see `fit`.
    """

    mean: Tensor  # (patch): 3 colours of 8x8 pixels
    to_latents: Tensor  # (channels, patch)
    to_pixels: Tensor  # (patch, channels)

    @classmethod
    def fit(cls, pictures: Tensor, channels: int, evenness: float = 0.5) -> PatchCodec:
        """From pictures (n, 3, height, width) in -1..1.

        `evenness`: 0 leaves the channels as strong as they are in the pictures, 1 makes all equally strong. On average
        they have unit variance. Much of it spends the network's effort on what is hardly seen, none of it loses the
        fine channels in noise that spares the coarse ones.
        """
        blocks = _blocks(pictures).transpose(1, 2).flatten(0, 1).double()
        mean = blocks.mean(0)
        variances, basis = torch.linalg.eigh((blocks - mean).T @ (blocks - mean) / len(blocks))
        variances, basis = variances.flip(0)[:channels].clamp(min=1e-8), basis.flip(1)[:, :channels]
        scales = variances ** (-evenness / 2)
        scales = scales / (variances * scales**2).mean().sqrt()
        return cls(mean.float(), (basis * scales).T.float().contiguous(), (basis / scales).float().contiguous())

    @property
    def channels(self) -> int:
        return len(self.to_latents)

    def encode(self, pixels: Tensor) -> Tensor:
        height, width = (side // LATENT_SCALE for side in pixels.shape[2:])
        blocks = _blocks(pixels) - self.mean.to(pixels)[:, None]
        return (self.to_latents.to(pixels) @ blocks).unflatten(-1, (height, width))

    def posterior(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        latents = self.encode(pixels)
        return latents, torch.full_like(latents, CERTAIN)

    def decode(self, latents: Tensor) -> Tensor:
        latents = latents.float()
        blocks = self.to_pixels.to(latents) @ latents.flatten(2) + self.mean.to(latents)[:, None]
        height, width = (LATENT_SCALE * side for side in latents.shape[2:])
        pixels = F.fold(blocks, (height, width), LATENT_SCALE, stride=LATENT_SCALE)
        return (pixels / 2 + 0.5).clamp(0, 1)

    def tensors(self) -> dict[str, Tensor]:
        return {f"patches.{name}": getattr(self, name) for name in ("mean", "to_latents", "to_pixels")}


def _blocks(pictures: Tensor) -> Tensor:
    """(n, 3, height, width) -> (n, patch, blocks)"""
    return F.unfold(pictures, LATENT_SCALE, stride=LATENT_SCALE)
