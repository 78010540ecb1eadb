"""What lies around the steps of a chunk: the reference pass, and the way from pixels to latents and back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from joyhallo.diffusion.codec import LATENT_SCALE, AutoencoderCodec

from .bench import Bench, drawn
from .scene import scene
from .vae import Autoencoder


def parts(bench: Bench) -> dict[str, Callable[[], dict[str, Any]]]:
    made: dict[str, Callable[[], dict[str, Any]]] = {}
    for side in bench.scale.sides:
        made[f"reference {side}, first"] = lambda side=side: first(bench, side)
        made[f"reference {side}, later"] = lambda side=side: later(bench, side)
        made[f"decode {side}"] = lambda side=side: decode(bench, side)
        made[f"encode {side}"] = lambda side=side: encode(bench, side)
        made[f"decode {side}, channels last"] = lambda side=side: decode(bench, side, last=True)
    return made


@torch.inference_mode()
def first(bench: Bench, side: int) -> dict[str, Any]:
    """Both encodings of the portrait: once for a clip."""
    made = scene(bench, side)
    latents = made.latents[:1].expand(2, -1, -1, -1)
    return bench.clock(lambda: made.sampler.look(latents, torch.arange(2))).figures


@torch.inference_mode()
def later(bench: Bench, side: int) -> dict[str, Any]:
    """The motion frames: once for each chunk but the first."""
    made = scene(bench, side)
    latents = made.latents[: made.settings.motion_frames]
    return bench.clock(lambda: made.sampler.motion_features(latents)).figures


def codec(bench: Bench, last: bool = False) -> AutoencoderCodec:
    def make() -> AutoencoderCodec:
        scale = bench.scale
        network: nn.Module = drawn(lambda: Autoencoder(scale.vae, scale.vae_layers), bench.device, bench.half)
        return AutoencoderCodec(network.to(memory_format=torch.channels_last) if last else network)

    return bench.keep(("codec", last), make)


def _latents(bench: Bench, side: int, frames: int) -> torch.Tensor:
    return torch.randn(frames, 4, side // LATENT_SCALE, side // LATENT_SCALE, device=bench.device)


def decode(bench: Bench, side: int, last: bool = False) -> dict[str, Any]:
    """A chunk's frames."""
    made, latents = codec(bench, last), _latents(bench, side, bench.scale.frames)
    return {"frames": len(latents), **bench.clock(lambda: made.decode(latents)).figures}


def encode(bench: Bench, side: int) -> dict[str, Any]:
    made, pixels = codec(bench), torch.rand(2, 3, side, side, device=bench.device) * 2 - 1
    return {"frames": len(pixels), **bench.clock(lambda: made.encode(pixels)).figures}
