"""A guided step and all that it needs, at any size, in any precision, with any layers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from joyhallo.diffusion.codec import LATENT_SCALE
from joyhallo.methods.hallo.networks.denoising_unet import Conditions
from joyhallo.methods.hallo.networks.net import Net
from joyhallo.methods.hallo.sampling import Portrait, Sampler, Settings, Stage, _guided, _unguided
from joyhallo.ops import TorchOps

from ..denoise import random_inputs
from .bench import SEED, Bench, drawn, ordinary
from .plain import Given, PlainStep

TIMESTEP = 500


@dataclass
class Scene:
    net: Net
    portrait: Portrait
    windows: Tensor
    settings: Settings
    latents: Tensor  # (frames, channels, height, width), where the network is
    sampler: Sampler
    chunk: Any

    @classmethod
    def of(
        cls, net: Net, side: int, settings: Settings, device: torch.device, dtype: torch.dtype, ready: Any = None
    ) -> Scene:
        """Of always the same random numbers."""
        config, frames = net.config, settings.chunk_frames
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(SEED)
            portrait, windows = random_inputs(config, side, frames)
            shape = (frames + 1, config.latent_channels, side // LATENT_SCALE, side // LATENT_SCALE)
            latents = torch.randn(shape)
        more = () if ready is None else (ready,)
        sampler = Sampler(net, portrait, latents[:1], settings, device, dtype, *more)
        chunk = sampler.prepare_chunk(windows, 0, None)
        return cls(net, portrait, windows, settings, latents[1:].to(device), sampler, chunk)

    def step(self, stage: Stage | None = None, deep: Tensor | None = None) -> tuple[list[Tensor], Tensor | None]:
        """As the sampler makes it."""
        unet = self.net.denoising_unet
        return self.sampler.rows(unet, self.latents, TIMESTEP, self.chunk, stage or Stage(self.settings.guided), deep)

    def both(self) -> Tensor:
        """The predictions of both rows (2 * frames, channels, height, width)."""
        return torch.cat(self.step()[0])

    @cached_property
    def bare(self) -> Callable[[], Tensor]:
        """The network alone, both rows, with all that it is given where it computes: nothing but launches."""
        chunk, x = self.chunk, self.sampler.here(self.latents)
        readings = [*_unguided(chunk), *_guided(chunk, first=chunk.frames)]
        conditions = Conditions(self.sampler.clip, chunk, slice(0, 2), readings)
        moment = torch.full((1,), TIMESTEP, device=x.device)
        return lambda: self.net.denoising_unet(x, moment, conditions)[0]

    @cached_property
    def plain(self) -> Callable[[], Tensor]:
        config = self.net.config
        plain = PlainStep(self.net.state_dict(), config.heads, config.norm_groups)
        given = Given.of(self.sampler, self.windows)
        return lambda: plain.step(self.latents, TIMESTEP, given)


def settings_of(bench: Bench, **changes: Any) -> Settings:
    return Settings(**({"chunk_frames": bench.scale.frames} | changes))


def network(bench: Bench, dtype: torch.dtype, ops: Any = TorchOps) -> Net:
    return bench.keep(("net", dtype, ops), lambda: drawn(lambda: Net(bench.scale.config, ops), bench.device, dtype))


def scene(bench: Bench, side: int, dtype: torch.dtype | None = None, **changes: Any) -> Scene:
    """One at a time is kept, with its network."""
    dtype, settings = dtype or bench.half, settings_of(bench, **changes)
    key = "scene", side, dtype, settings
    if key not in bench.kept:
        for old in [old for old in bench.kept if old[0] in ("scene", "net") and old[:2] != ("net", dtype)]:
            del bench.kept[old]
    with ordinary():
        return bench.keep(key, lambda: Scene.of(network(bench, dtype), side, settings, bench.device, dtype))


def captured(modules: Sequence[torch.nn.Module], work: Callable[[], object]) -> list[tuple[Any, ...]]:
    """What each of these is called with at last."""
    found: list[tuple[Any, ...]] = [() for _ in modules]

    def note(number: int) -> Callable[..., None]:
        def hook(_: Any, given: tuple[Any, ...]) -> None:
            found[number] = tuple(part.clone() if isinstance(part, Tensor) else part for part in given)

        return hook

    hooks = [module.register_forward_pre_hook(note(number)) for number, module in enumerate(modules)]
    try:
        work()
    finally:
        for hook in hooks:
            hook.remove()
    return found
