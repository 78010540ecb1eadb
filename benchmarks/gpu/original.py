"""Ours against the original's own network, from a checkout of it, with the same weights and conditions.

Its code runs as it is, with torch's own attention, and needs diffusers 0.27.2 and einops. Of xformers, which it imports
but calls only where that is switched on, nothing is needed. Features of the reference network are ours, so that the
guided step alone is compared.
"""

from __future__ import annotations

import importlib
import sys
import types
from collections.abc import Callable
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from torch import Tensor, nn

from .bench import Bench, Unavailable, away
from .scene import TIMESTEP, Scene, scene

PACK = "original_joyhallo"  # its own name is ours, too
SIGN = "joyhallo/models/unet_3d.py"
REGIONS = ("full", "face", "lip")  # as its masks are called


def parts(bench: Bench) -> dict[str, Callable[[], dict[str, Any]]]:
    return {f"{side}": lambda side=side: against(bench, side) for side in bench.scale.sides}


def module(checkout: Path, name: str) -> types.ModuleType:
    for path, folder in ((PACK, "joyhallo"), (f"{PACK}.models", "joyhallo/models")):
        package = types.ModuleType(path)
        package.__path__ = [str(checkout / folder)]
        sys.modules.setdefault(path, package)
    if find_spec("xformers") is None:
        for missing in ("xformers", "xformers.ops"):
            sys.modules.setdefault(missing, mock.MagicMock(__spec__=ModuleSpec(missing, None)))
    return importlib.import_module(f"{PACK}.models.{name}")


def network(bench: Bench, checkout: Path, made: Scene) -> nn.Module:
    """With our weights themselves: no memory is taken twice."""
    build = module(checkout, "unet_3d").UNet3DConditionModel
    with torch.device("meta"):
        unet = build.from_config(configured(bench))
    state = made.net.denoising_unet.state_dict()
    unused = unet.load_state_dict(state, strict=False, assign=True)
    if unused.unexpected_keys:
        raise Unavailable(f"it does not know {unused.unexpected_keys[0]}, which our network has")
    for name, tensor in list(unet.named_parameters()) + list(unet.named_buffers()):
        if tensor.is_meta:  # what it has and never runs
            owner, _, last = name.rpartition(".")
            empty = torch.zeros(tensor.shape, dtype=made.sampler.dtype, device=bench.device)
            kept = nn.Parameter(empty, requires_grad=False) if isinstance(tensor, nn.Parameter) else empty
            setattr(unet.get_submodule(owner), last, kept)
    for part in unet.modules():
        if hasattr(part, "gradient_checkpointing"):
            part.gradient_checkpointing = True  # its inference runs this way: the other forgets the motion frames
    return unet.requires_grad_(False).train()


def configured(bench: Bench) -> dict[str, Any]:
    """As Stable Diffusion 1.5 and its configs/unet/unet.yaml say."""
    config = bench.scale.config
    return {
        "center_input_sample": False,  # asked for, though none of its arguments
        "in_channels": config.latent_channels,
        "out_channels": config.latent_channels,
        "block_out_channels": config.channels,
        "layers_per_block": config.layers,
        "attention_head_dim": config.heads,
        "norm_num_groups": config.norm_groups,
        "cross_attention_dim": config.face_width,
        "use_inflated_groupnorm": True,
        "unet_use_cross_frame_attention": False,
        "unet_use_temporal_attention": False,
        "use_motion_module": True,
        "use_audio_module": True,
        "motion_module_resolutions": [1, 2, 4, 8],
        "motion_module_mid_block": True,
        "motion_module_type": "Vanilla",
        "motion_module_kwargs": {
            "num_attention_heads": config.heads,
            "num_transformer_block": 1,
            "attention_block_types": ["Temporal_Self", "Temporal_Self"],
            "temporal_position_encoding": True,
            "temporal_position_encoding_max_len": config.positions,
            "temporal_attention_dim_div": 1,
        },
        "audio_attention_dim": config.audio_width,
        "stack_enable_blocks_name": ["up", "down", "mid"],
        "stack_enable_blocks_depth": [0, 1, 2, 3],
    }


def step(bench: Bench, checkout: Path, made: Scene) -> Callable[[], Tensor]:
    """Both rows (2 * frames, channels, height, width), as its pipeline asks for them."""
    unet = network(bench, checkout, made)
    control = module(checkout, "mutual_self_attention").ReferenceAttentionControl
    control(unet, do_classifier_free_guidance=True, mode="read", batch_size=1, fusion_blocks="full")
    sampler, frames = made.sampler, len(made.latents)
    _remember(unet, made)
    heard = sampler.net.audioproj(sampler.here(made.windows))[None]
    locator = sampler.clip.locator[:, :, None].expand(-1, -1, frames, -1, -1)
    masks = [sampler.here(mask) for mask in made.portrait.masks]
    given = {
        f"{name}_mask": [mask[region].expand(2, frames, -1).flatten(0, 1) for mask in masks]
        for region, name in enumerate(REGIONS)
    }
    speech = torch.cat([torch.zeros_like(heard), heard])
    moment = torch.tensor(TIMESTEP, device=bench.device)

    def work() -> Tensor:
        x = sampler.here(made.latents).transpose(0, 1)[None].repeat(2, 1, 1, 1, 1)
        told = {"mask_cond_fea": locator, "audio_embedding": speech, "return_dict": False}
        found = unet(x, moment, encoder_hidden_states=sampler.face_tokens, **told, **given)[0]
        return found.transpose(1, 2).flatten(0, 1)

    return work


def _remember(unet: nn.Module, made: Scene) -> None:
    """Our features of the portrait and of the motion frames, where its own reader would have put them."""
    sampler, ours = made.sampler, made.net.denoising_unet
    paths = {id(inner): path for path, inner in ours.named_modules()}
    motion = sampler.motion_features(None)
    for site, transformer in enumerate(ours.site_transformers()):
        portrait = sampler.portrait_features[site][sampler.reference_tokens][:, None]
        bank = torch.cat([portrait, motion[site]], dim=1).flatten(0, 1)
        block: Any = unet.get_submodule(paths[id(transformer.transformer_blocks[0])])
        block.bank = [bank]


@torch.no_grad()
def against(bench: Bench, side: int) -> dict[str, Any]:
    """In turns, so that a card that grows warm is as warm for both."""
    checkout = bench.original
    if checkout is None:
        raise Unavailable("no checkout of the original was given (--original CHECKOUT)")
    if not (checkout / SIGN).is_file():
        raise Unavailable(f"{checkout} has no {SIGN}; expected a checkout of github.com/jdh-algo/JoyHallo")
    made = scene(bench, side)
    theirs = step(bench, checkout, made)
    apart = away(theirs(), made.both())
    turns = [(bench.clock(made.step, 1.0).ms, bench.clock(theirs, 1.5).ms) for _ in range(1 if bench.small else 2)]
    ours, other = (min(side) for side in zip(*turns, strict=True))
    peaks = {name: bench.clock.peak(work)["peak_gb"] for name, work in (("ours", made.step), ("original", theirs))}
    told = {"ms": ours, "original_ms": other, "original_to_ours": other / ours, "apart": apart}
    return {**told, **{f"{name}_peak_gb": peak for name, peak in peaks.items()}}
