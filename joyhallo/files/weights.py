"""Files of weights -> tensors by name, whatever they are called, and without running anything that they hold."""

from __future__ import annotations

import json
import pickle
import re
import struct
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from ..libraries import brief
from .pickles import LARGEST_INDEX, MOST_NAMES, Shape, is_torchscript, names_in, unwrapped


class WeightsError(ValueError):
    """A file that cannot be loaded, in words for whoever chose it."""


def open_weights(path: Path, expected: str) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors, mapped into memory where the format allows, and the header's entries. Told by content, not by name.

    `expected` completes the sentence "Expected ..." where the file is something else.
    """
    if not path.is_file():
        raise WeightsError(f"{path} does not exist. Expected {expected}")
    with path.open("rb") as file:
        start = file.read(512)
    if problem := _not_weights(start):
        raise WeightsError(f"{path.name} {problem}. Download it again; expected {expected}")
    if _is_safetensors(start, path.stat().st_size):  # before the others: its length may begin with their letters
        return _open_safetensors(path)
    if start.startswith(b"PK"):
        return _open_pickle(path, True, expected), {}
    if start.startswith(b"\x80"):
        return _open_pickle(path, False, expected), {}
    return _open_safetensors(path)


def _not_weights(start: bytes) -> str | None:
    if not start:
        return "is empty"
    if start.startswith(b"version https://git-lfs"):
        return "is only a Git LFS pointer, a few lines of text that stand for the real file"
    if start.lstrip().lower().startswith((b"<!doctype html", b"<html", b"<?xml")):
        return "is a web page, which is what a failed download leaves"
    known = start.startswith((b"PK", b"\x80")) or (len(start) > 8 and start[8:9] == b"{")
    return None if known else "is neither a PyTorch file nor a safetensors file"


def _is_safetensors(start: bytes, size: int) -> bool:
    """It begins with the length of its header, which is JSON."""
    return start[8:9] == b"{" and int.from_bytes(start[:8], "little") <= size - 8


def _open_safetensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    try:
        with safe_open(path, "pt") as file:
            return {key: file.get_tensor(key) for key in file.keys()}, file.metadata() or {}
    except (SafetensorError, struct.error, ValueError) as error:
        raise WeightsError(
            f"{path.name} is a damaged or incomplete safetensors file: download or convert it again ({brief(error)})."
        ) from error


def _open_pickle(path: Path, mapped: bool, expected: str) -> dict[str, Tensor]:
    try:
        state = torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
    except pickle.UnpicklingError as error:
        raise WeightsError(f"{path.name} {_refused(str(error))}. Expected {expected}") from error
    except (RuntimeError, EOFError, OSError, ValueError) as error:
        if is_torchscript(path):
            raise WeightsError(
                f"{path.name} is a TorchScript archive, a program with its weights; programs in files are never run. "
                f"Expected {expected}"
            ) from error
        raise WeightsError(
            f"{path.name} is a damaged or incomplete PyTorch file: download it again ({brief(error)})."
        ) from error
    state = unwrapped(state)
    if not isinstance(state, dict) or not all(isinstance(key, str) for key in state):
        raise WeightsError(f"{path.name} holds a {type(state).__name__} without names of tensors. Expected {expected}")
    if not all(isinstance(tensor, Tensor) for tensor in state.values()):
        raise WeightsError(f"{path.name} looks like {looks_like(state)}. Expected {expected}")
    return state


def _refused(reason: str) -> str:
    if re.search(r"fairseq|argparse|omegaconf", reason):
        return "looks like a fairseq training checkpoint; it holds Python objects, which are never run"
    found = re.search(r"GLOBAL\s+([\w.]+)", reason)
    return f"holds Python objects ({found.group(1) if found else 'of an unknown kind'}), which are never run"


def modern_spelling(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Today's key names for what older releases of diffusers and PyTorch wrote."""
    renamed = {}
    for key, tensor in state.items():
        for old, new in OLD_SPELLINGS:
            if re.search(old, key):
                key = re.sub(old, new, key)
                if new.startswith(r"\1.to_") and tensor.ndim == 4:  # once a 1x1 convolution
                    tensor = tensor.flatten(1)
        renamed[key] = tensor
    return renamed


OLD_SPELLINGS = (
    (r"(attentions\.\d+)\.query\.", r"\1.to_q."),
    (r"(attentions\.\d+)\.key\.", r"\1.to_k."),
    (r"(attentions\.\d+)\.value\.", r"\1.to_v."),
    (r"(attentions\.\d+)\.proj_attn\.", r"\1.to_out.0."),
    (r"\.weight_g$", ".parametrizations.weight.original0"),
    (r"\.weight_v$", ".parametrizations.weight.original1"),
)


# ---- what a file is, told by the names in it


@dataclass(frozen=True)
class Kind:
    """One kind of file, recognised by the names of its tensors."""

    words: str  # completes "It looks like ..."
    needs: tuple[str, ...]  # patterns; each must match the beginning of some name
    lacks: tuple[str, ...] = ()  # patterns; none may match

    def fits(self, names: Collection[str]) -> bool:
        return all(_some(names, need) for need in self.needs) and not any(_some(names, lack) for lack in self.lacks)


@dataclass(frozen=True)
class Contents:
    """What a file holds, without its numbers."""

    shapes: Mapping[str, Shape | None]  # by name; None for what is no tensor
    header: Mapping[str, str]  # of a safetensors file

    def kind(self, kinds: Iterable[Kind]) -> Kind | None:
        return next((kind for kind in kinds if kind.fits(self.shapes)), None)


def contents(path: Path) -> Contents:
    """What the index of a file tells. A WeightsError if the file has none that can be read."""
    try:
        with path.open("rb") as file:
            start = file.read(512)
            if problem := _not_weights(start):
                raise WeightsError(f"{path.name} {problem}.")
            if _is_safetensors(start, path.stat().st_size):
                return _header(file)
        return Contents(names_in(path), {})
    except WeightsError:
        raise
    except (OSError, ValueError, TypeError, LookupError, AttributeError, RecursionError) as error:
        raise WeightsError(f"{path.name} is damaged or incomplete: download it again ({brief(error)}).") from error


def _header(file: BinaryIO) -> Contents:
    file.seek(0)
    length = int.from_bytes(file.read(8), "little")
    if length > LARGEST_INDEX:
        raise WeightsError(f"{Path(file.name).name} claims a header of {length} bytes; no file of weights needs that.")
    told = json.loads(file.read(length))
    if len(told) > MOST_NAMES:
        raise WeightsError(f"{Path(file.name).name} names {len(told)} tensors; no file of weights needs that many.")
    header = told.pop("__metadata__", {})
    return Contents({name: tuple(about["shape"]) for name, about in told.items()}, header)


def _some(names: Collection[str], pattern: str) -> bool:
    begins = re.compile(pattern).match
    return any(begins(name) for name in names)


STABLE_DIFFUSION = Kind("a Stable Diffusion checkpoint", ("model\\.diffusion_model",))
LORA = Kind("a LoRA", (r"lora_|.*\.lora_",))
VAE = Kind(
    "an autoencoder (VAE), which belongs in the VAE's place",
    (r"(first_stage_model\.)?(encoder|decoder)\.(down|mid|up|conv_in|conv_out)|patches\.",),
)
WAV2VEC2 = Kind(
    "a wav2vec2 speech encoder, which belongs in the audio encoder's place",
    (r"(wav2vec2\.)?feature_(extractor\.conv_layers|projection)",),
)
FAIRSEQ = Kind("a fairseq training checkpoint", ("encoder_layers|w2v_|cfg$|args$|task_state",))
TRAINING = Kind("the saved state of a training run", (r".*optimizer|epoch$|global_step$|lr_scheduler",))
UNET = Kind("a single UNet, such as Stable Diffusion's", (r"down_blocks\.\d+\.resnets",))
SOUND = Kind("a model for sound", ("audio_encoder|.*audio",))
KINDS = (STABLE_DIFFUSION, LORA, VAE, WAV2VEC2, FAIRSEQ, TRAINING, UNET, SOUND)


def looks_like(names: Collection[str], kinds: Iterable[Kind] = KINDS) -> str:
    """Completes "It looks like ..."; `methods.looks_like` knows more kinds."""
    if not names:
        return "a file without any tensor"
    found = next((kind.words for kind in kinds if kind.fits(names)), None)
    return found or f"something else (its first key is {next(iter(names))!r})"
