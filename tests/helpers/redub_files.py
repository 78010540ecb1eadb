"""Small seeded networks of the redub methods, in files under their published names."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import people
import torch
from safetensors.torch import save_file
from small import small_hubert
from torch import nn

from joyhallo.diffusion.networks.motion_module import waves
from joyhallo.methods.latentsync.network import Sizes as LatentSyncSizes
from joyhallo.methods.latentsync.network import UNet as LatentSyncUNet
from joyhallo.methods.musetalk.network import Sizes as MuseTalkSizes
from joyhallo.methods.musetalk.network import UNet as MuseTalkUNet
from joyhallo.methods.musetalk.parser import Parser
from joyhallo.sound.whisper import Whisper
from tools.demo_model.seeded import write_autoencoder

LATENTSYNC, MUSETALK = "latentsync-1.5/latentsync_unet.pt", "musetalk/musetalkV15/unet.pth"
ULTRALIGHT = "ultralight/somebody.pth"
SOUND = 384  # numbers of each token, by which files are told apart


def drawn(build: Callable[[], nn.Module], seed: int = 0) -> dict[str, torch.Tensor]:
    torch.manual_seed(seed)
    with torch.device("meta"):
        shapes = {key: tensor.shape for key, tensor in build().state_dict().items()}
    found = {}
    for key, shape in shapes.items():
        if key.endswith(".pe"):
            found[key] = waves(shape[1], shape[2])
        elif len(shape) == 1:
            found[key] = torch.full(shape, float(key.endswith("weight")))
        else:
            found[key] = torch.randn(shape) * max(1, shape[1:].numel()) ** -0.5
    return found


def write_all(folder: Path) -> None:
    """Into models/joyhallo."""
    for name in (LATENTSYNC, MUSETALK, "whisper-tiny/model.safetensors", "sd-vae-ft-mse/any"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
    latentsync = drawn(lambda: LatentSyncUNet(LatentSyncSizes((32, 32), 1, SOUND)))
    torch.save({"global_step": 1, "state_dict": latentsync}, folder / LATENTSYNC)
    torch.save(drawn(lambda: MuseTalkUNet(MuseTalkSizes((32, 32), 1, SOUND))), folder / MUSETALK)
    whisper = {f"model.encoder.{key}": value for key, value in drawn(lambda: Whisper(SOUND, 1)).items()}
    save_file(_as_hugging_face(whisper), folder / "whisper-tiny/model.safetensors")
    write_autoencoder(folder / "sd-vae-ft-mse/diffusion_pytorch_model.safetensors")


def write_ultralight(folder: Path) -> None:
    """A generator of one person, and what it hears with."""
    for name in (ULTRALIGHT, "hubert-large-ls960-ft/pytorch_model.bin"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
    torch.save({"epoch": 1, "model": people.drawn(), "optimizer": {}}, folder / ULTRALIGHT)
    hubert = {f"hubert.{key}": tensor for key, tensor in small_hubert().state_dict().items()}
    torch.save(hubert, folder / "hubert-large-ls960-ft/pytorch_model.bin")


def write_parser(folder: Path) -> None:
    path = folder / "face-parse-bisent/79999_iter.pth"
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(drawn(Parser), path)


def _as_hugging_face(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    theirs = {
        "positional_embedding": "embed_positions.weight",
        "blocks.": "layers.",
        ".attn.query.": ".self_attn.q_proj.",
        ".attn.key.": ".self_attn.k_proj.",
        ".attn.value.": ".self_attn.v_proj.",
        ".attn.out.": ".self_attn.out_proj.",
        ".attn_ln.": ".self_attn_layer_norm.",
        ".mlp.0.": ".fc1.",
        ".mlp.2.": ".fc2.",
        ".mlp_ln.": ".final_layer_norm.",
        "ln_post.": "layer_norm.",
    }
    renamed = {}
    for key, tensor in state.items():
        for ours, other in theirs.items():
            key = key.replace(ours, other)
        renamed[key] = tensor.contiguous()
    return renamed
