"""The files that a run starts from (`check_files`), its initial networks (`begin`) and what is trained (`select`)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..diffusion.codec import CodecConfig
from ..methods.hallo.checkpoint import open_checkpoint
from ..methods.hallo.config import ModelConfig, NetConfig
from ..methods.hallo.networks.net import Net
from ..methods.hallo.published import PUBLISHED
from .layers import TrainingOps
from .recipe import Recipe, RecipeError

NOTE = "Trained with joyhallo.training."
NETWORK, VAE = "joyhallo/net.pth", "sd-vae-ft-mse/diffusion_pytorch_model.safetensors"  # as published
HALLO_ALONE = re.compile(r"\.attn2_[12]\.")  # Hallo's hearings for expression and lips: JoyHallo has one for all


def check_files(recipe: Recipe) -> None:
    """Raise, naming all missing files of a recipe at once, before anything is loaded."""
    weights, codec = Path(recipe.start.weights), Path(recipe.codec.path)
    missing = []
    if recipe.start.weights and not weights.is_file():
        missing.append(_no_weights(weights, recipe))
    if recipe.codec.path and not (any(codec.glob("diffusion_pytorch_model.*")) if codec.is_dir() else codec.is_file()):
        missing.append(
            f"There is no VAE at {codec} (codec.path); expected diffusion_pytorch_model.safetensors in a folder "
            f"sd-vae-ft-mse, published at {PUBLISHED[VAE][0].page}. Put it there, or say where it is with "
            "--set codec.path=FOLDER; it must be the one that the dataset was prepared with."
        )
    if missing:
        raise RecipeError("\n".join(missing))


def _no_weights(path: Path, recipe: Recipe) -> str:
    page = PUBLISHED[NETWORK][0].page
    if recipe.stage == "pictures":
        expected, remedy = f"JoyHallo's net.pth, published at {page}", "Put it there"
    else:
        expected = f"the model.safetensors that stage1 writes, or JoyHallo's net.pth, published at {page}"
        remedy = "Run stage1 first"
    return (
        f"There is no file {path} to start from (start.weights); expected {expected}. {remedy}, or say where it is "
        "with --set start.weights=FILE."
    )


def sizes(table: Mapping[str, Any]) -> NetConfig:
    """The published sizes, but for those in the table."""
    known = {f.name for f in fields(NetConfig)}
    if unknown := [name for name in table if name not in known]:
        raise RecipeError(f"net.{unknown[0]} is unknown; choose from {', '.join(sorted(known))}.")
    given: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in table.items()}
    try:
        config = NetConfig(**given)
    except (TypeError, ValueError) as error:
        raise RecipeError(f"The sizes in [net] do not fit each other: {error}") from error
    if config.regional_audio:
        raise RecipeError("Hallo's three hearings (net.regional_audio) are not trained here; leave it out.")
    return config


def begin(recipe: Recipe, codec: CodecConfig) -> tuple[Net, ModelConfig]:
    """The networks in full precision, and the config for their files."""
    config, weights = opened(recipe)
    net = fresh(config, recipe.seed)
    if weights:
        anew = [key for group in recipe.start.fresh for key in names(net, [group])]
        state = {key: weights[key].float() for key in net.state_dict() if key not in anew}
        net.load_state_dict(state, strict=False)
    return net, ModelConfig(config, recipe.sampling, codec, NOTE)


def opened(recipe: Recipe) -> tuple[NetConfig, Mapping[str, Tensor]]:
    """The sizes and, if the recipe names a file, its weights, which still lie on disk."""
    if not recipe.start.weights:
        return sizes(recipe.net), {}
    file = open_checkpoint(Path(recipe.start.weights))
    found = replace(file.config.net, regional_audio=False)
    if recipe.net and (wanted := sizes(recipe.net)) != found:
        differ = [f.name for f in fields(NetConfig) if getattr(wanted, f.name) != getattr(found, f.name)]
        raise RecipeError(
            f"{recipe.start.weights} has other sizes than [net] of the recipe: {', '.join(differ)} differ. Leave [net] "
            "out, or begin with other weights."
        )
    return found, {key: tensor for key, tensor in file.weights.items() if not HALLO_ALONE.search(key)}


def fresh(config: NetConfig, seed: int) -> Net:
    """Seeded random weights in which everything that is added to the pictures' own path begins at zero.

    So the locator, the speech and the motion change nothing before they have learned to, and the second stage begins
    exactly where the first ended. Of the speech the original zeroes three inner convolutions instead, but not what is
    around them; with these at zero, too, nothing would reach the speech in the first steps.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net = Net(config, TrainingOps)
    silent: list[Any] = [net.face_locator.conv_out]
    for block, site in net.denoising_unet.site_blocks():
        silent += [block.audio_modules[site].proj_out, block.motion_modules[site].temporal_transformer.proj_out]
    for layer in silent:
        nn.init.zeros_(layer.weight)
        nn.init.zeros_(layer.bias)
    return net


# ---- what is trained


def group(name: str) -> str:
    """The group of a parameter, one of recipe.GROUPS."""
    if ".motion_modules." in name:
        return "motion"
    return "audio" if ".audio_modules." in name or name.startswith("audioproj.") else "appearance"


def names(net: nn.Module, groups: Iterable[str]) -> list[str]:
    wanted = set(groups)
    return [name for name, _ in net.named_parameters() if group(name) in wanted]


def select(net: Net, groups: Iterable[str]) -> dict[str, nn.Parameter]:
    """The parameters of these groups, by name; only these require gradients from now on."""
    chosen = set(names(net, groups))
    found = dict(net.named_parameters())
    for name, parameter in found.items():
        parameter.requires_grad_(name in chosen)
    return {name: parameter for name, parameter in found.items() if name in chosen}
