"""One forward pass of training, for both stages: a batch -> the loss of each sample, with the sampler's networks."""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from ..diffusion.networks.blocks import Part, Runner, at_once
from ..diffusion.schedule import Schedule
from ..methods.hallo.config import REGIONS
from ..methods.hallo.networks.attention import Reading
from ..methods.hallo.networks.audio_module import RegionGates
from ..methods.hallo.networks.denoising_unet import Conditions
from ..methods.hallo.networks.net import Net
from .losses import emphasised, errors, levels, snr_weights
from .recipe import Recipe
from .samples import Batch


class Losses(NamedTuple):
    """Losses of each sample (rows)."""

    weighted: Tensor  # what is minimised
    plain: Tensor  # the mean square alone, to compare runs by


def forgetful(part: Part) -> Part:
    """Run a part of a network with gradient checkpointing: it runs again for the gradients."""
    return partial(checkpoint, part, use_reentrant=False, preserve_rng_state=False)  # type: ignore[return-value]


class Stage(nn.Module):
    """The networks as a step of training runs them."""

    def __init__(self, net: Net, recipe: Recipe):
        super().__init__()
        self.net, self.recipe, self.schedule = net, recipe, Schedule(recipe.schedule)
        self.run: Runner = forgetful if recipe.checkpointing else at_once

    def forward(self, batch: Batch, latents: Tensor) -> Losses:
        """latents (rows, pictures, channels, height/8, width/8): the batch's pictures, encoded"""
        references = batch.known_faces.shape[1]
        alpha, sigma = levels(self.schedule, batch.timestep)
        clean = latents[:, references:]
        noisy = alpha * clean + sigma * batch.noise
        predicted = self.velocity(batch, latents[:, :references], noisy).unflatten(0, clean.shape[:2])
        squares = errors(predicted, alpha * batch.noise - sigma * clean)
        counted = emphasised(squares, batch.masks[0][:, LIP], self.recipe.loss.lip_weight).mean(1)
        weights = snr_weights(self.schedule, batch.timestep, self.recipe.loss.snr_gamma)
        return Losses(counted * weights, squares.mean(1).detach())

    def velocity(self, batch: Batch, references: Tensor, noisy: Tensor) -> Tensor:
        """(rows * frames, channels, height, width)"""
        unet, given = self.net.denoising_unet, batch.given
        identified, nobody = self.net.imageproj(batch.identity), self.net.imageproj(batch.identity[:1] * 0)
        features = self.look(references, identified, nobody, batch.known_faces)
        face = torch.where(given.face[:, None, None], identified, nobody)
        locator = self.net.face_locator(batch.locator)
        clip = unet.prepare_clip([f[:, 0] for f in features], face, _only(given.locator, locator))
        readings = _readings(given.reads, noisy.shape[1])
        if self.recipe.stage == "pictures":
            return unet.still(noisy.flatten(0, 1), batch.timestep, clip, readings, self.run)
        tokens = self.net.audioproj(batch.windows.flatten(0, 1)).unflatten(0, noisy.shape[:2])
        motion = [_only(given.motion, f[:, 1:]) for f in features]
        chunk = unet.prepare_chunk(_only(given.audio, tokens).flatten(0, 1), motion, _gates(batch), noisy.shape[1])
        conditions = Conditions(clip, chunk, slice(None), readings)
        return unet(noisy.flatten(0, 1), batch.timestep, conditions, run=self.run)[0]

    def look(self, references: Tensor, identified: Tensor, nobody: Tensor, known: Tensor) -> list[Tensor]:
        """Reference features per site (rows, references, pixels, channels)."""
        rows, count = known.shape
        if self.recipe.reference_compat:  # the original lays the rows' tokens out in turns over pictures row by row
            identified = identified.repeat(count, 1, 1).unflatten(0, (rows, count))
        else:
            identified = identified[:, None]
        tokens = torch.where(known[..., None, None], identified, nobody)
        features = self.net.reference_unet(references.flatten(0, 1), tokens.flatten(0, 1), self.run)
        if self.recipe.reference_compat:
            features = [f.half().to(f.dtype) for f in features]
        return [f.unflatten(0, (rows, count)) for f in features]


LIP = REGIONS.index("lip")


def _only(given: Tensor, condition: Tensor) -> Tensor:
    """Zero the rows without the condition. A product, so that gradients reach every parameter in every step."""
    return condition * given.to(condition.dtype).reshape(-1, *[1] * (condition.ndim - 1))


def _readings(reads: Tensor, frames: int) -> list[Reading]:
    """The rows that read their reference come first: see samples.collate."""
    count, rows = int(reads.sum()), len(reads)
    parts = [Reading(slice(0, count * frames), slice(0, count)), Reading(slice(count * frames, rows * frames), None)]
    return [part for part in parts if part.frames.start < part.frames.stop]


def _gates(batch: Batch) -> list[RegionGates]:
    weights = batch.masks[0].new_ones(1, 1, 1, len(REGIONS))
    return [RegionGates(masks.mT[:, None], weights) for masks in batch.masks]


def encoded(batch: Batch, codec: Any) -> Tensor:
    """The latents of a batch's pictures, drawn from the codec's posterior, computed now or stored."""
    if batch.latents.numel():
        mean, logvar = batch.latents.unbind(2)
    else:
        found = codec.posterior(batch.pictures.flatten(0, 1))
        mean, logvar = (part.float().unflatten(0, batch.pictures.shape[:2]) for part in found)
    return mean + (logvar / 2).exp() * batch.spread
