"""Codecs between pixels and latents outside ComfyUI: AutoencoderCodec, PatchCodec and `load_codec`."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import count, takewhile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..config import check_choice, check_count, check_number
from ..files.contents import WeightsError, looks_like, settings
from ..files.weights import modern_spelling, open_weights
from ..libraries import brief, library
from ..ops import CastOps, Ops, TorchOps

LATENT_SCALE = 8  # pixels per latent, along each side
CODEC = "a Stable Diffusion autoencoder in diffusers' layout, such as the folder sd-vae-ft-mse, or a codec of patches"
FRAMES_AT_ONCE = 4
MOST_BLOCKS = 100  # of a network of one kind, one after the other
# What config.json of an autoencoder may say, beside the sizes that its weights show
TOLD = ("norm_num_groups", "act_fn")


@dataclass(frozen=True)
class CodecConfig:
    """The codec of a model, and the factor that scales its latents to unit variance."""

    kind: str = "sd-vae"
    scale: float = 0.18215

    def __post_init__(self) -> None:
        check_choice("codec.kind", self.kind, ("sd-vae", "patches"))
        check_number("codec.scale", self.scale, 1e-6, 1e6)


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
        return (self.pictures(latents) / 2 + 0.5).clamp(0, 1)

    @torch.no_grad()
    def pictures(self, latents: Tensor) -> Tensor:
        """About -1..1, and not clamped."""
        parts = latents.split(FRAMES_AT_ONCE)
        return torch.cat([self.autoencoder.decode(self._here(some / self.scale)).sample.float() for some in parts])

    def _here(self, tensor: Tensor) -> Tensor:
        return tensor.to(self.autoencoder.device, self.autoencoder.dtype)


CERTAIN = -30.0  # logarithm of a variance that is practically zero
ENLARGED = 2  # times, within the decoder
PICTURES_AT_ONCE = 64


class PatchCodec(nn.Module):
    """Encodes blocks of 8x8 pixels by a few principal components: a codec that is fitted in seconds, then fixed.

    It loses detail; see `fit`. A decoder restores the detail that surrounding blocks imply, and removes noise that a
    sampler left in the latents. Everything is computed in full precision, as the cost is negligible.
    """

    def __init__(self, patches: Patches, decoder: PatchDecoder | None = None):
        super().__init__()
        self.patches, self.decoder = patches, decoder

    @classmethod
    def fit(cls, pictures: Tensor, channels: int, evenness: float = 0.5) -> PatchCodec:
        """Fit to pictures (n, 3, height, width) in -1..1, without a decoder.

        `evenness`: 0 leaves the channels as strong as in the pictures, 1 makes all equally strong; the mean variance
        is 1 in any case. High values spend the network's effort on details that are hardly visible; at 0 the fine
        channels drown in noise that spares the coarse ones.
        """
        mean, covariance = _moments(pictures)
        variances, basis = torch.linalg.eigh(covariance)
        variances, basis = variances.flip(0)[:channels].clamp(min=1e-8), basis.flip(1)[:, :channels]
        scales = variances ** (-evenness / 2)
        scales = scales / (variances * scales**2).mean().sqrt()
        matrices = (basis * scales).T, basis / scales
        return cls(Patches(mean.float(), *(matrix.float().contiguous() for matrix in matrices)))

    @classmethod
    def of(cls, tensors: Mapping[str, Tensor], ops: Ops = CastOps) -> PatchCodec:
        """Restore a codec from its `tensors`, whose names and shapes give all sizes."""
        codec = cls(Patches(**{name: tensor.float() for name, tensor in _within("patches.", tensors).items()}))
        codec.patches.check()
        if weights := _within("decoder.", tensors):
            with torch.device("meta"):
                codec.decoder = PatchDecoder(codec.channels, DecoderSizes.of(weights), ops)
            codec.decoder.load_state_dict(weights, strict=True, assign=True)
        return codec.requires_grad_(False).eval()

    @property
    def channels(self) -> int:
        return len(self.patches.to_latents)

    @torch.no_grad()
    def encode(self, pixels: Tensor) -> Tensor:
        return self.patches.latents(pixels)

    def posterior(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        latents = self.encode(pixels)
        return latents, torch.full_like(latents, CERTAIN)

    @torch.no_grad()
    def decode(self, latents: Tensor) -> Tensor:
        return (self.pictures(latents) / 2 + 0.5).clamp(0, 1)

    def pictures(self, latents: Tensor) -> Tensor:
        """Decode to pictures, in -1..1 or slightly beyond."""
        latents = latents.float()
        rough = self.patches.pixels(latents)
        return rough if self.decoder is None else rough + self.decoder(latents).float()

    def tensors(self) -> dict[str, Tensor]:
        return dict(self.state_dict())


class Patches(nn.Module):
    mean: Tensor  # (patch): 3 colours of 8x8 pixels
    to_latents: Tensor  # (channels, patch)
    to_pixels: Tensor  # (patch, channels)

    def __init__(self, mean: Tensor, to_latents: Tensor, to_pixels: Tensor):
        super().__init__()
        self.register_buffer("mean", mean)
        self.register_buffer("to_latents", to_latents)
        self.register_buffer("to_pixels", to_pixels)

    def check(self) -> None:
        """Raise a ValueError unless the three tables fit together."""
        patch, channels = 3 * LATENT_SCALE**2, len(self.to_latents)
        found = [tuple(table.shape) for table in (self.mean, self.to_latents, self.to_pixels)]
        if found != [(patch,), (channels, patch), (patch, channels)] or not channels:
            raise ValueError(f"the tables of its patches have the shapes {found}")
        if not all(table.isfinite().all() for table in (self.mean, self.to_latents, self.to_pixels)):
            raise ValueError("the tables of its patches hold values that are not numbers")

    def latents(self, pixels: Tensor) -> Tensor:
        blocks = F.pixel_unshuffle(pixels.float(), LATENT_SCALE) - self.mean.to(pixels.device)[:, None, None]
        return F.conv2d(blocks, self.to_latents.to(pixels.device)[..., None, None])

    def pixels(self, latents: Tensor) -> Tensor:
        """Decode latents, given in full precision."""
        matrix, mean = self.to_pixels.to(latents.device), self.mean.to(latents.device)
        return F.pixel_shuffle(F.conv2d(latents, matrix[..., None, None], mean), LATENT_SCALE)


@dataclass(frozen=True)
class DecoderSizes:
    width: int = 96  # channels at the latents' size
    blocks: int = 3
    fine: int = 32  # channels at twice that size

    def __post_init__(self) -> None:
        check_count("the decoder's number of blocks", self.blocks, MOST_BLOCKS, 0)

    @classmethod
    def of(cls, weights: Mapping[str, Tensor]) -> DecoderSizes:
        blocks = takewhile(lambda block: f"blocks.{block}.first.weight" in weights, count())
        return cls(len(weights["enter.weight"]), sum(1 for _ in blocks), weights["leave.weight"].shape[1])


class PatchDecoder(nn.Module):
    """A correction that is added to the picture from the patches.

    Nearly all of the work is done at the latents' size. ComfyUI recognises VAEs by the names of their tensors, so these
    names must differ from all that it knows.
    """

    def __init__(self, channels: int, sizes: DecoderSizes, ops: Ops = TorchOps):
        super().__init__()
        self.enter = ops.Conv2d(channels, sizes.width, 3, padding=1)
        self.blocks = nn.ModuleList(Residual(sizes.width, ops) for _ in range(sizes.blocks))
        self.enlarge = ops.Conv2d(sizes.width, ENLARGED**2 * sizes.fine, 3, padding=1)
        self.smooth = Residual(sizes.fine, ops)
        self.leave = ops.Conv2d(sizes.fine, 3 * (LATENT_SCALE // ENLARGED) ** 2, 3, padding=1)

    def forward(self, latents: Tensor) -> Tensor:
        x = self.enter(latents)
        for block in self.blocks:
            x = block(x)
        x = self.smooth(F.pixel_shuffle(self.enlarge(F.silu(x)), ENLARGED))
        return F.pixel_shuffle(self.leave(F.silu(x)), LATENT_SCALE // ENLARGED)


class Residual(nn.Module):
    def __init__(self, width: int, ops: Ops):
        super().__init__()
        self.first = ops.Conv2d(width, width, 3, padding=1)
        self.second = ops.Conv2d(width, width, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.second(F.silu(self.first(F.silu(x))))


def _within(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {key.removeprefix(prefix): tensor for key, tensor in tensors.items() if key.startswith(prefix)}


def _moments(pictures: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and covariance of all blocks in double precision, a few pictures at a time."""
    parts = [_blocks(some) for some in pictures.split(PICTURES_AT_ONCE)]
    total = sum(len(part) for part in parts)
    mean = torch.stack([part.double().sum(0) for part in parts]).sum(0) / total
    apart = (part.double() - mean for part in parts)
    return mean, torch.stack([part.T @ part for part in apart]).sum(0) / total


def _blocks(pictures: Tensor) -> Tensor:
    """(n, 3, height, width) -> (blocks, patch)"""
    return F.pixel_unshuffle(pictures, LATENT_SCALE).movedim(1, -1).flatten(0, 2)


# ---- files


def load_codec(
    path: str | Path, *, dtype: torch.dtype | None = None, device: torch.device | str = "cpu"
) -> AutoencoderCodec | PatchCodec:
    """Load a Stable Diffusion autoencoder in diffusers' layout, from a folder or a file, or a PatchCodec."""
    path = Path(path)
    if path.is_dir():
        names = ("diffusion_pytorch_model.safetensors", "diffusion_pytorch_model.bin")
        path = next((path / name for name in names if (path / name).exists()), path / names[0])
    state, _ = open_weights(path, f"{CODEC}.")
    if "patches.mean" in state:
        return patch_codec(path, state).to(device)
    if "decoder.conv_in.weight" not in state or "encoder.down_blocks.0.resnets.0.conv1.weight" not in state:
        raise WeightsError(f"{path.name} looks like {looks_like(state)}; expected {CODEC}.")
    # slow to import, and only scripts and training need it
    diffusers = library("diffusers.models.autoencoders.autoencoder_kl", "Decoding pictures outside ComfyUI")
    state = {key: tensor.to(device=device, dtype=dtype) for key, tensor in modern_spelling(state).items()}
    facts = settings(path.parent / "config.json") or {}
    try:
        sizes = _autoencoder_sizes(state) | {name: facts[name] for name in TOLD if name in facts}
        with torch.device("meta"):
            autoencoder: Any = diffusers.AutoencoderKL(**sizes)
        autoencoder.load_state_dict(state, strict=True, assign=True)
    except (ArithmeticError, LookupError, RuntimeError, TypeError, ValueError) as error:
        raise WeightsError(
            f"{path.name} names the tensors of a VAE, but not all of them fit ({brief(error)}). It is damaged or of "
            f"another kind; expected {CODEC}."
        ) from error
    return AutoencoderCodec(autoencoder.requires_grad_(False).eval())


def patch_codec(path: Path, state: Mapping[str, Tensor], ops: Ops = CastOps) -> PatchCodec:
    """Build a PatchCodec from the tensors of a file."""
    try:
        return PatchCodec.of(state, ops)
    except (LookupError, TypeError, ValueError, RuntimeError) as error:
        raise WeightsError(
            f"{path.name} looks like a codec of patches, but not all of its tensors fit ({brief(error)}). It is "
            "damaged or of another version; download it again, or make it with python -m "
            "joyhallo.training.small.patches."
        ) from error


def _autoencoder_sizes(state: Mapping[str, Tensor]) -> dict[str, Any]:
    widths = []
    while (key := f"encoder.down_blocks.{len(widths)}.resnets.0.conv1.weight") in state:
        widths.append(state[key].shape[0])
    layers = sum(
        re.fullmatch(r"encoder\.down_blocks\.0\.resnets\.\d+\.conv1\.weight", key) is not None for key in state
    )
    check_count("the number of levels", len(widths), MOST_BLOCKS)
    check_count("the number of layers", layers, MOST_BLOCKS)
    return {
        "down_block_types": ["DownEncoderBlock2D"] * len(widths),
        "up_block_types": ["UpDecoderBlock2D"] * len(widths),
        "block_out_channels": widths,
        "layers_per_block": layers,
        "latent_channels": state["decoder.conv_in.weight"].shape[1],
        "use_quant_conv": "quant_conv.weight" in state,
        "use_post_quant_conv": "post_quant_conv.weight" in state,
    }
