"""Small networks with seeded random weights, for tests and benchmarks in which any picture will do."""

from __future__ import annotations

import json
import math
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from joyhallo.config import SAMPLE_RATE
from joyhallo.diffusion.networks.motion_module import waves
from joyhallo.methods.hallo.checkpoint import HEADER_ENTRY, header_entry
from joyhallo.methods.hallo.config import ModelConfig, NetConfig
from joyhallo.methods.hallo.networks.net import Net
from joyhallo.methods.wav2lip.checkpoint import published
from joyhallo.methods.wav2lip.network import Generator

NET = NetConfig(
    channels=(8, 8, 16, 16),
    layers=1,
    heads=2,
    norm_groups=4,
    face_width=16,
    audio_layers=3,
    audio_channels=16,
    audio_hidden=32,
    audio_tokens=4,
    audio_width=16,
    locator_channels=(8, 8, 16, 16),
)
ENCODER = {
    "model_type": "wav2vec2",
    "hidden_size": NET.audio_channels,
    "num_hidden_layers": NET.audio_layers,
    "num_attention_heads": 4,
    "intermediate_size": 32,
    "conv_dim": [16] * 7,
    "num_conv_pos_embeddings": 16,
    "num_conv_pos_embedding_groups": 4,
}
PREPROCESSOR = {"do_normalize": False, "sampling_rate": SAMPLE_RATE}
AUTOENCODER = {
    "down_block_types": ["DownEncoderBlock2D"] * 4,
    "up_block_types": ["UpDecoderBlock2D"] * 4,
    "block_out_channels": [32] * 4,  # 32 is the least: it is how many groups the normalisations have
    "layers_per_block": 1,
    "latent_channels": NET.latent_channels,
}


# ---- weights


def net_weights(config: NetConfig = NET) -> dict[str, Tensor]:
    return seeded(lambda: Net(config))


def encoder_weights(config: Mapping[str, Any] = ENCODER) -> dict[str, Tensor]:
    from transformers import Wav2Vec2Config, Wav2Vec2Model

    return seeded(lambda: Wav2Vec2Model(Wav2Vec2Config.from_dict(dict(config))))


def lips_weights() -> dict[str, Tensor]:
    """Wav2Lip's, in half precision, with norms that change nothing; at its full size, which no file could tell."""
    shapes = published(Generator)
    chance = torch.Generator().manual_seed(0)
    weights = {}
    for key, shape in shapes.items():
        ones = key.endswith((".1.weight", ".running_var"))
        weights[key] = torch.full(shape, float(ones), dtype=torch.float16)
        if len(shape) > 1:
            weights[key].normal_(std=(2 / math.prod(shape[1:])) ** 0.5, generator=chance)
    return weights


def autoencoder_weights() -> dict[str, Tensor]:
    """Weights of an autoencoder in diffusers' layout, which ComfyUI reads as well."""
    from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL

    return seeded(lambda: AutoencoderKL(**AUTOENCODER))


def seeded(build: Callable[[], nn.Module]) -> dict[str, Tensor]:
    with torch.device("meta"):
        shapes = {key: tensor.shape for key, tensor in build().state_dict().items()}
    return {key: _drawn(key, shape).half() for key, shape in shapes.items()}


def _drawn(key: str, shape: torch.Size) -> Tensor:
    """Evenly distributed numbers of unit variance, scaled: these are the same to the last bit on every machine."""
    if key.endswith(".pe"):
        return waves(shape[1], shape[2])
    generator = torch.Generator().manual_seed(zlib.crc32(key.encode()))
    noise = (torch.rand(shape, generator=generator) * 2 - 1) * math.sqrt(3)
    if len(shape) > 1:
        return noise / math.sqrt(math.prod(shape[1:]))
    return 1 + 0.1 * noise if key.endswith("weight") else 0.1 * noise


# ---- files


def write_net(path: Path, config: NetConfig = NET) -> None:
    save(net_weights(config), path, {HEADER_ENTRY: header_entry(ModelConfig(config))})


def write_autoencoder(path: Path) -> None:
    save(autoencoder_weights(), path)


def write_encoder(folder: Path, besides: Mapping[str, Tensor] | None = None, **facts: Any) -> None:
    """Write a speech encoder's folder in transformers' layout.

    besides: weights of the other parts of a whole model; facts: of config.json
    """
    folder.mkdir(parents=True)
    config = {**ENCODER, **facts}
    save({**encoder_weights(config), **(besides or {})}, folder / "model.safetensors", {"format": "pt"})
    for name, told in (("config.json", config), ("preprocessor_config.json", PREPROCESSOR)):
        (folder / name).write_text(json.dumps(told, indent=2) + "\n", encoding="utf-8")


def save(weights: Mapping[str, Tensor], path: Path, about: dict[str, str] | None = None) -> None:
    """Write a safetensors file with one metadata entry at most: several have no fixed order, and files would differ."""
    save_file({key: tensor.contiguous() for key, tensor in weights.items()}, path, about)


def write_lips(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save({"state_dict": lips_weights()}, path)
