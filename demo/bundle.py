"""The small model that comes with the nodes, and what it is shown with: `make demo-model` writes `demo_model/` anew.

Nothing of it is trained: the weights are numbers drawn from a seed, so that every stage runs, and the picture is noise.
"""

from __future__ import annotations

import json
import math
import shutil
import subprocess
import zlib
from dataclasses import replace
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from joyhallo.checkpoint import HEADER_ENTRY, header_entry
from joyhallo.config import ModelConfig, NetConfig
from joyhallo.models.net import Net

from . import portrait
from .comfyui import ROOT

FOLDER = ROOT / "demo_model"
NOTE = "Its weights are seeded, not trained: the picture will be noise."
SENTENCE = "ni3 hao3, huan1 ying2 guan1 kan4."

NET = NetConfig(
    channels=(16, 16, 16, 16),
    layers=1,
    heads=2,
    norm_groups=8,
    face_width=16,
    audio_layers=3,
    audio_channels=16,
    audio_hidden=32,
    audio_tokens=4,
    audio_width=16,
    locator_channels=(8, 8, 16, 16),
)

HEARING = {
    "hidden_size": NET.audio_channels,
    "num_hidden_layers": NET.audio_layers,
    "num_attention_heads": 4,
    "intermediate_size": 32,
    "conv_dim": [16] * 7,
    "num_conv_pos_embeddings": 16,
    "num_conv_pos_embedding_groups": 4,
}

AUTOENCODER = {
    "down_block_types": ["DownEncoderBlock2D"] * 4,
    "up_block_types": ["UpDecoderBlock2D"] * 4,
    "block_out_channels": [32] * 4,  # ComfyUI's has 32 groups in its normalisations
    "layers_per_block": 1,
    "latent_channels": NET.latent_channels,
}


def seeded(shapes: dict[str, torch.Size]) -> dict[str, Tensor]:
    return {key: _drawn(key, shape).half() for key, shape in shapes.items()}


def _drawn(key: str, shape: torch.Size) -> Tensor:
    if key.endswith(".pe"):
        return _waves(shape[1], shape[2])
    noise = torch.randn(shape, generator=torch.Generator().manual_seed(zlib.crc32(key.encode())))
    if len(shape) > 1:
        return noise / math.sqrt(math.prod(shape[1:]))
    return 1 + 0.1 * noise if key.endswith("weight") else 0.1 * noise


def _waves(length: int, width: int) -> Tensor:
    angles = torch.arange(length)[:, None] * torch.exp(torch.arange(0, width, 2) * (-math.log(10_000) / width))
    return torch.stack([angles.sin(), angles.cos()], -1).reshape(1, length, width)


def shapes(module: nn.Module) -> dict[str, torch.Size]:
    return {key: tensor.shape for key, tensor in module.state_dict().items()}


def write_net(folder: Path) -> None:
    with torch.device("meta"):
        net = Net(NET)
    header = header_entry(replace(ModelConfig(NET), note=NOTE))
    save_file(seeded(shapes(net)), folder / "net.safetensors", {HEADER_ENTRY: header})


def write_autoencoder(folder: Path) -> None:
    from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL

    with torch.device("meta"):
        autoencoder = AutoencoderKL(**AUTOENCODER)
    save_file(seeded(shapes(autoencoder)), folder / "vae.safetensors")


def write_encoder(folder: Path) -> None:
    from transformers import Wav2Vec2Config, Wav2Vec2Model

    with torch.device("meta"):
        encoder = Wav2Vec2Model(Wav2Vec2Config(**HEARING))
    folder.mkdir()
    save_file(seeded(shapes(encoder)), folder / "model.safetensors", {"format": "pt"})
    (folder / "config.json").write_text(json.dumps({"model_type": "wav2vec2", **HEARING}, indent=2) + "\n")
    (folder / "preprocessor_config.json").write_text('{"do_normalize": false, "sampling_rate": 16000}\n')


def write_pictures(folder: Path) -> None:
    portrait.portrait().save(folder / "portrait.png", optimize=True)
    portrait.mask(portrait.FACE_BOX).save(folder / "face_mask.png")
    portrait.mask(portrait.LIP_BOX).save(folder / "lip_mask.png")


def write_speech(folder: Path) -> None:
    spoken = ["espeak-ng", "-v", "cmn-latn-pinyin", "-s", "150", "-w", str(folder / "speech.wav"), SENTENCE]
    subprocess.run(spoken, check=True)


def write(folder: Path = FOLDER) -> None:
    about = folder / "README.md"
    kept = about.read_text() if about.exists() else None
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    write_net(folder)
    write_autoencoder(folder)
    write_encoder(folder / "wav2vec2")
    write_pictures(folder)
    write_speech(folder)
    if kept is not None:
        about.write_text(kept)


if __name__ == "__main__":
    write()
