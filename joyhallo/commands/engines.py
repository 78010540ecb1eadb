"""Networks made ready outside ComfyUI: where they compute, in which precision, and with which other networks."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..diffusion.codec import AutoencoderCodec, PatchCodec, load_codec
from ..files.fingerprint import of_module
from ..methods import Method, method_of
from ..methods.hallo.checkpoint import Checkpoint
from ..methods.hallo.clip import Engine as ClipEngine
from ..methods.hallo.config import ModelConfig
from ..methods.musetalk.checkpoint import open_parser
from ..methods.redub import Engine, Redubber, Wishes
from ..sound.hubert_file import open_hubert
from ..sound.wav2vec2 import Encoder, load_encoder
from ..sound.whisper_file import open_whisper
from .jobs import Compute

KEPT = 2  # models that a process holds, so that a table that goes to and fro between two loads each once
DTYPES = {"fp16": torch.float16, "bf16": torch.bfloat16, "fp32": torch.float32}


class DeviceError(ValueError):
    """What was asked for is not in this machine."""


def device_of(compute: Compute) -> torch.device:
    there = torch.cuda.is_available()
    if compute.device == "cuda" and not there:
        raise DeviceError(
            "This PyTorch finds no graphics card of NVIDIA or AMD; expected one for --device cuda. Choose cpu or auto, "
            "or install a PyTorch made for the card."
        )
    return torch.device("cuda" if there and compute.device != "cpu" else "cpu")


def memory_of(device: torch.device) -> int:
    """Bytes, used ones too; no limit where a system, as Windows, does not tell in this way."""
    if device.type == "cuda":
        return torch.cuda.get_device_properties(device).total_memory
    if "SC_PHYS_PAGES" not in getattr(os, "sysconf_names", ()):
        return sys.maxsize
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def dtype_of(compute: Compute, device: torch.device) -> torch.dtype:
    return DTYPES.get(compute.precision) or (torch.float32 if device.type == "cpu" else torch.float16)


class Unclamped:
    """A VAE as redub methods take it: what it decodes is about -1..1."""

    def __init__(self, codec: AutoencoderCodec):
        self.codec = codec

    def encode(self, pixels: Tensor) -> Tensor:
        return self.codec.encode(pixels).float()

    def decode(self, latents: Tensor) -> Tensor:
        return self.codec.pictures(latents)


@dataclass(frozen=True)
class RedubModel:
    path: Path
    method: Method
    network: Any
    device: torch.device
    dtype: torch.dtype
    version: str
    parts: Mapping[str, Any] = field(default_factory=dict)
    marks: Mapping[str, str] = field(default_factory=dict)  # fingerprints of the parts

    @property
    def title(self) -> str:
        return f"{self.method.name} {self.version}".strip()

    def redubber(self, most: int, wishes: Wishes) -> Redubber:
        """most: frames at once, for which there is room"""
        engine = Engine(self.network, self.device, self.dtype, self.parts, self.version, self.marks)
        return self.method.redubber(engine, most, wishes)


def load_redub_model(path: Path, parts: Mapping[str, Path], compute: Compute, version: str) -> RedubModel:
    """parts: files, by their words in METHODS; version: "" as the name of the file says"""
    return _loaded(path.absolute(), tuple(sorted(parts.items())), compute, version)


@lru_cache(maxsize=KEPT)
def _loaded(path: Path, parts: tuple[tuple[str, Path], ...], compute: Compute, version: str) -> RedubModel:
    method, device = method_of(path, "redub"), device_of(compute)
    dtype, version = dtype_of(compute, device), method.version(path, version)
    network = method.open(path).build(dtype=dtype, device=device)
    made = {word: PARTS[word](place, device) for word, place in parts}
    return RedubModel(
        path,
        method,
        network,
        device,
        dtype,
        version,
        {word: part for word, (part, _) in made.items()},
        {word: mark for word, (_, mark) in made.items()},
    )


def _vae(path: Path, device: torch.device) -> tuple[Unclamped, str]:
    codec = load_codec(path, dtype=torch.float32, device=device)
    if not isinstance(codec, AutoencoderCodec):
        raise DeviceError(f"{path.name} is a codec of patches; expected a VAE of Stable Diffusion, as sd-vae-ft-mse.")
    return Unclamped(codec), of_module(codec.autoencoder)


def _network(open: Callable[[Path], Any]) -> Callable[[Path, torch.device], tuple[Any, str]]:
    def load(path: Path, device: torch.device) -> tuple[Any, str]:
        network = open(path).build(dtype=torch.float32, device=device)
        return network, of_module(network)

    return load


# Beside the main network all is small, and in full precision.
PARTS: Mapping[str, Callable[[Path, torch.device], tuple[Any, str]]] = {
    "vae": _vae,
    "whisper": _network(open_whisper),
    "hubert": _network(open_hubert),
    "parser": _network(open_parser),
}


# ---- portraits


@dataclass(frozen=True)
class PortraitModel:
    """JoyHallo or Hallo, with the VAE and the speech encoder that it was trained with."""

    method: Method
    engine: ClipEngine
    encoder: Encoder
    depends: Mapping[str, object]  # what the last digits of its latents depend on


def load_portrait_model(path: Path, vae: Path, audio_encoder: Path, compute: Compute) -> PortraitModel:
    return _portrait(path.absolute(), vae.absolute(), audio_encoder.absolute(), compute)


@lru_cache(maxsize=KEPT)
def _portrait(path: Path, vae: Path, audio_encoder: Path, compute: Compute) -> PortraitModel:
    """The large network comes last, when all that can be wrong with the others has been told."""
    method, device = method_of(path, "portrait"), device_of(compute)
    checkpoint: Checkpoint = method.open(path)
    dtype, config = dtype_of(compute, device), checkpoint.config
    codec, mark = _codec(vae, config, dtype, device)
    encoder = load_encoder(audio_encoder, device=device)
    encoder.check(config.net.audio_layers, config.net.audio_channels)
    net = checkpoint.build(dtype=dtype, device=device).net
    depends = {"model": (of_module(net), config, dtype, device.type), "vae": mark}
    return PortraitModel(method, ClipEngine(net, config, codec, device, dtype), encoder, depends)


class Here:
    """A codec that takes what lies elsewhere, as what was kept on disk does."""

    def __init__(self, codec: AutoencoderCodec | PatchCodec, device: torch.device):
        self.codec, self.device = codec, device

    def encode(self, pixels: Tensor) -> Tensor:
        return self.codec.encode(pixels.to(self.device)).float()

    def decode(self, latents: Tensor) -> Tensor:
        return self.codec.decode(latents.to(self.device))


def _codec(path: Path, config: ModelConfig, dtype: torch.dtype, device: torch.device) -> tuple[Here, str]:
    """With a fingerprint of its weights. One of patches is always in full precision."""
    codec = load_codec(path, dtype=dtype, device=device)
    if isinstance(codec, PatchCodec):
        network, found = codec, ("patches", codec.channels)
    else:
        codec = AutoencoderCodec(codec.autoencoder, config.codec)
        network, found = codec.autoencoder, ("sd-vae", codec.autoencoder.config.latent_channels)
    taken = config.codec.kind, config.net.latent_channels
    if found != taken:
        there, wanted = (f"{CODECS[kind]} of {channels} channels" for kind, channels in (found, taken))
        raise DeviceError(f"{path.name} is {there}, but the model was trained with {wanted}; give that one with --vae.")
    return Here(codec, device), of_module(network)


CODECS = {"patches": "a codec of patches", "sd-vae": "a VAE as Stable Diffusion's"}
