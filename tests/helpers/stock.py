"""Small models under the published names, so that workflows for the real ones run as they are.

Nothing of them is trained. The face models are stand-ins that see the demo's drawings: see face_models.py, mesh.py.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import face_models
import mesh
import redub_files
import torch
from safetensors.torch import save_file

from joyhallo.config import SAMPLE_RATE
from joyhallo.methods.hallo.config import NetConfig
from tools.demo_model.seeded import NET, net_weights, seeded, write_autoencoder, write_lips

# What a .pth cannot tell is as in the published ones: heads, groups, layers and channels of the speech encoder.
PUBLISHED = NetConfig()
SMALL = replace(
    NET,
    channels=(PUBLISHED.norm_groups,) * 4,
    heads=PUBLISHED.heads,
    norm_groups=PUBLISHED.norm_groups,
    audio_layers=PUBLISHED.audio_layers,
    audio_channels=PUBLISHED.audio_channels,
)
ENCODER = {
    "model_type": "wav2vec2",
    "hidden_size": SMALL.audio_channels,
    "num_hidden_layers": SMALL.audio_layers,
    "num_attention_heads": 8,
    "intermediate_size": 32,
    "conv_dim": [16] * 7,
    "num_conv_pos_embeddings": 16,
    "num_conv_pos_embedding_groups": 16,
}


def stock(base: Path) -> Path:
    """Fill models/joyhallo of a base folder, and what the examples need besides; our folder.

    Skips where the face mesh cannot be had.
    """
    folder = base / "models" / "joyhallo"
    _faces(folder / "face_analysis" / "models")
    _net(folder / "joyhallo", SMALL)
    _net(folder / "hallo", replace(SMALL, regional_audio=True))
    _autoencoder(folder / "sd-vae-ft-mse")
    _encoders(folder / "chinese-wav2vec2-base", folder / "wav2vec" / "wav2vec2-base-960h")
    _upscaler(base / "models" / "upscale_models")
    write_lips(folder / "wav2lip" / "wav2lip_gan.pth")
    redub_files.write_all(folder)
    (folder / "latentsync-1.5").rename(folder / "latentsync-1.6")
    return folder


def _faces(folder: Path) -> None:
    face_models.write_models(folder, drawings=True)
    (folder / "face_landmarker_v2_with_blendshapes.task").write_bytes(mesh.task())


def _net(folder: Path, config: NetConfig) -> None:
    folder.mkdir(parents=True)
    torch.save(net_weights(config), folder / "net.pth")


def _autoencoder(folder: Path) -> None:
    folder.mkdir(parents=True)
    write_autoencoder(folder / "diffusion_pytorch_model.safetensors")


def _encoders(chinese: Path, english: Path) -> None:
    """Of one set of weights, in the two kinds of files in which they are published."""
    from transformers import Wav2Vec2Config, Wav2Vec2Model

    weights = seeded(lambda: Wav2Vec2Model(Wav2Vec2Config.from_dict(ENCODER)))
    for folder, normalize in ((chinese, False), (english, True)):
        folder.mkdir(parents=True)
        (folder / "config.json").write_text(json.dumps(ENCODER))
        told = {"do_normalize": normalize, "sampling_rate": SAMPLE_RATE}
        (folder / "preprocessor_config.json").write_text(json.dumps(told))
    torch.save(weights, chinese / "pytorch_model.bin")
    save_file(weights, english / "model.safetensors", {"format": "pt"})


def _upscaler(folder: Path) -> None:
    """Four times as large, as one of the real ones, but another and much smaller network."""
    from spandrel.architectures.Compact.__arch.SRVGG import SRVGGNetCompact

    folder.mkdir(parents=True, exist_ok=True)
    weights = seeded(lambda: SRVGGNetCompact(num_in_ch=3, num_out_ch=3, num_feat=4, num_conv=1, upscale=4))
    for name in ("RealESRGAN_x4plus.pth", "GFPGANv1.4.pth"):
        torch.save({key: weight.float() for key, weight in weights.items()}, folder / name)
