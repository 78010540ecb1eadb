"""What redub methods work with beside their own network: a VAE, a speech encoder, a face parser."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import comfy.model_patcher

from ..joyhallo.files.fingerprint import of_module
from ..joyhallo.methods.hallo.config import ModelConfig
from ..joyhallo.methods.musetalk.checkpoint import open_parser
from ..joyhallo.sound.hubert_file import open_hubert
from ..joyhallo.sound.whisper_file import open_whisper
from .autoencoder import ComfyCodec, check_vae, load_vae, unclamped
from .comfy_adapter import FULL, Part, can_be_made_again, comfy_ops, patcher


def of_vae(vae: Any) -> Part:
    """Raises a ValueError unless it is a VAE of Stable Diffusion's latents."""
    usual = ModelConfig()
    check_vae(vae, usual)
    return Part(ComfyCodec(unclamped(vae), usual), vae.patcher, of_module(vae.first_stage_model))


def load_part(word: str, path: Path) -> Part:
    return LOADERS[word](path)


def _vae(path: Path) -> Part:
    return of_vae(load_vae(path))


def opened_by(open: Callable[[Path], Any]) -> Callable[[Path], Part]:
    """The loader of a network in full precision. open: its file -> a checkpoint"""

    def load(path: Path) -> Part:
        network = open(path).build(comfy_ops(FULL), dtype=FULL.weights)
        manager = patcher(network)
        can_be_made_again(manager, _again, open, path)
        return Part(network, manager, of_module(network))

    return load


def _again(open: Callable[[Path], Any], path: Path, disable_dynamic: bool = False) -> comfy.model_patcher.ModelPatcher:
    return patcher(open(path).build(comfy_ops(FULL), dtype=FULL.weights), disable_dynamic)


LOADERS: dict[str, Callable[[Path], Part]] = {
    "vae": _vae,
    "whisper": opened_by(open_whisper),
    "hubert": opened_by(open_hubert),
    "parser": opened_by(open_parser),
}
