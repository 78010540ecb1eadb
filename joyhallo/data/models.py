"""The models for preparing clips: named in the job, and loaded once per worker process."""

from __future__ import annotations

import hashlib
import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from ..diffusion.codec import CODEC, load_codec
from ..faces.find import DETECTOR, RECOGNISER, FaceModels
from ..files.digests import sha256
from ..files.fingerprint import of_tensors
from ..files.weights import open_weights
from ..libraries import LibraryError, brief
from ..methods.hallo.published import PUBLISHED
from ..sound import vocals
from ..sound.wav2vec2 import Encoder, load_encoder

# The option of the command for each model, and what is published for it.
OPTIONS = {
    "encoder": ("--speech-encoder", "chinese-wav2vec2-base"),
    "face_models": ("--face-models", "face_analysis"),
    "landmarker": ("--landmarker", "face_analysis/models/face_landmarker_v2_with_blendshapes.task"),
    "finders": ("--finders", None),
    "codec": ("--codec", "sd-vae-ft-mse/diffusion_pytorch_model.safetensors"),
    "separator": ("--separator", "audio_separator/Kim_Vocal_2.onnx"),
}


class Codec(Protocol):
    """The interface of `codec.AutoencoderCodec`."""

    def posterior(self, pixels: Tensor) -> tuple[Tensor, Tensor]: ...


@dataclass(frozen=True)
class Models:
    """The models, each as a path or as MODULE:FUNCTION, which is called without arguments."""

    encoder: str | None = None  # wav2vec2's folder, or MODULE:FUNCTION, as speech.Encoder
    face_models: str | None = None  # InsightFace's folder
    landmarker: str | None = None  # MediaPipe's task file
    finders: str | None = None  # MODULE:FUNCTION, as faces.Finders, instead of these two
    codec: str | None = None  # diffusers' folder or weights, a file of patches, or MODULE:FUNCTION
    separator: str | None = None  # of voice and music

    def digests(self) -> Mapping[str, str]:
        """SHA-256 of the models' files, by name."""
        named = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return {name: _digest(name, place) for name, place in named.items() if place}


@cache
def finders(models: Models) -> Any:
    """The face models: a Finders, or anything with its `detector` and `landmarker`."""
    return _made(models.finders) if models.finders else FaceModels(models.face_models, models.landmarker)


@cache
def encoder(models: Models) -> Encoder:
    assert models.encoder is not None
    return _made(models.encoder) if _is_function(models.encoder) else load_encoder(models.encoder)


@cache
def codec(models: Models) -> Codec:
    assert models.codec is not None
    return _made(models.codec) if _is_function(models.codec) else load_codec(models.codec, dtype=torch.float32)


@cache
def separator(models: Models) -> vocals.Separator | None:
    return vocals.load_separator(models.separator) if models.separator else None


def _is_function(place: str) -> bool:
    module, colon, function = place.rpartition(":")
    return bool(colon) and module.replace(".", "").isidentifier() and function.isidentifier()


def _made(place: str) -> Any:
    module, _, function = place.rpartition(":")
    try:
        return getattr(importlib.import_module(module), function)()
    except (ImportError, AttributeError) as error:
        raise LibraryError(
            f"{place} cannot be used ({brief(error)}); expected MODULE:FUNCTION of a module that Python finds."
        ) from error


def _digest(name: str, place: str) -> str:
    if _is_function(place):
        return place
    path = Path(place)
    if not path.exists():
        option, choice = OPTIONS[name]
        said = f"{place}, given as {option}, does not exist."
        if choice:
            said += f" Expected {choice}, published at {PUBLISHED[choice][0].page}; give its path."
        raise LibraryError(said)
    if path.is_file():
        return (_of_patches(path) if name == "codec" else None) or sha256(path)
    files = sorted(path.rglob("*"))
    if name == "face_models":
        files = [file for file in files if file.name in (DETECTOR, RECOGNISER)]
    listed = "".join(f"{file.relative_to(path)} {sha256(file)}\n" for file in files if file.is_file())
    return hashlib.sha256(listed.encode()).hexdigest()


def _of_patches(path: Path) -> str | None:
    """A digest of a patch codec's encoder alone, as its decoder may be trained while a dataset is in use; else None."""
    tensors, _ = open_weights(path, f"{CODEC}.")
    patches = {key: tensor for key, tensor in tensors.items() if key.startswith("patches.")}
    return of_tensors(patches) if patches else None
