"""The small model that comes with the nodes, and what it is shown with: `make demo-model` writes `demo_model/` anew.

Nothing of it is trained: its weights are numbers drawn from a seed, so that every stage runs, and the picture is noise.
"""

from __future__ import annotations

import json
import math
import subprocess
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from joyhallo.checkpoint import HEADER_ENTRY, header_entry
from joyhallo.config import SAMPLE_RATE, ModelConfig, NetConfig
from joyhallo.models.motion_module import waves
from joyhallo.models.net import Net

from . import portrait
from .comfyui import ROOT

FOLDER = ROOT / "demo_model"
ASSETS = ("portrait.png", "face_mask.png", "lip_mask.png", "couple.png", "couple_masks.png", "speech.wav")
NOTE = "The weights are seeded, not trained: the picture is noise."
SENTENCE = "ni3 hao3, huan1 ying2 guan1 kan4."  # hello, and welcome

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


def note() -> str:
    """What the bundled model says of itself."""
    with safe_open(FOLDER / "net.safetensors", "pt") as file:
        return json.loads(file.metadata()[HEADER_ENTRY]).get("note", "")


# ---- the networks


def net_weights(config: NetConfig = NET) -> dict[str, Tensor]:
    return seeded(lambda: Net(config))


def encoder_weights() -> dict[str, Tensor]:
    from transformers import Wav2Vec2Config, Wav2Vec2Model

    return seeded(lambda: Wav2Vec2Model(Wav2Vec2Config.from_dict(ENCODER)))


def autoencoder_weights() -> dict[str, Tensor]:
    """In diffusers' layout, which ComfyUI reads as well."""
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


# ---- the files


def write(folder: Path = FOLDER) -> None:
    """All but the README."""
    write_models(folder)
    write_pictures(folder)
    spoken = ("espeak-ng", "-v", "cmn-latn-pinyin", "-s", "150", "-w", str(folder / "speech.wav"), SENTENCE)
    subprocess.run(spoken, check=True)


def write_models(folder: Path) -> None:
    encoder = folder / "wav2vec2"
    encoder.mkdir(parents=True, exist_ok=True)
    write_net(folder / "net.safetensors")
    save(autoencoder_weights(), folder / "vae.safetensors")
    save(encoder_weights(), encoder / "model.safetensors", {"format": "pt"})
    _write_json(ENCODER, encoder / "config.json")
    _write_json(PREPROCESSOR, encoder / "preprocessor_config.json")


def write_net(path: Path, config: NetConfig = NET) -> None:
    save(net_weights(config), path, {HEADER_ENTRY: header_entry(ModelConfig(config, note=NOTE))})


def save(weights: Mapping[str, Tensor], path: Path, about: dict[str, str] | None = None) -> None:
    """One entry at most: several would come in any order, and the file would differ from run to run."""
    save_file({key: tensor.contiguous() for key, tensor in weights.items()}, path, about)


def _write_json(facts: Mapping[str, object], path: Path) -> None:
    path.write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")


def write_pictures(folder: Path) -> None:
    portrait.portrait().save(folder / "portrait.png", optimize=True)
    portrait.mask(portrait.face_box()).save(folder / "face_mask.png", optimize=True)
    portrait.mask(portrait.lip_box()).save(folder / "lip_mask.png", optimize=True)
    portrait.couple().save(folder / "couple.png", optimize=True)
    portrait.couple_masks().save(folder / "couple_masks.png", optimize=True)


if __name__ == "__main__":
    write()
