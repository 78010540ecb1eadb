"""Files of weights -> tensors by name, whatever they are called, and without running anything that they hold."""

from __future__ import annotations

import json
import pickle
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from stat import S_ISDIR, S_ISREG
from typing import Any, BinaryIO
from zipfile import ZipFile, is_zipfile

import torch
from safetensors import safe_open
from torch import Tensor

from ..libraries import brief
from .pickles import LARGEST_INDEX, MOST_NAMES, Damaged, Run, Shape, index_of, unwrapped

FLOATS = (torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.float8_e4m3fn, torch.float8_e5m2)
LONGEST_NAME = 500  # of a tensor: messages tell it
WHOLE_NUMBERS = (torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8, torch.bool)  # counters, mostly
DTYPES = (*FLOATS, *WHOLE_NUMBERS)
NUMBERS = {  # by what PyTorch's archives call a run of them
    **{"Double": torch.float64, "Float": torch.float32, "Half": torch.float16, "BFloat16": torch.bfloat16},
    **{"Long": torch.int64, "Int": torch.int32, "Short": torch.int16, "Char": torch.int8, "Byte": torch.uint8},
    **{"Bool": torch.bool, "ComplexFloat": torch.complex64, "ComplexDouble": torch.complex128},
}


class WeightsError(ValueError):
    """A file that cannot be loaded, in words for whoever chose it."""


def open_weights(path: Path, expected: str) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors, mapped into memory where the format allows, and the header's entries. Told by content, not by name.

    `expected` completes the sentence "Expected ..." where the file is something else. What a file claims about itself
    is compared with its size before anything is loaded.
    """
    try:
        return _loaded(path)
    except WeightsError as error:
        raise WeightsError(f"{error} Expected {expected}") from error


def _loaded(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    found = contents(path)
    read = {Form.SAFETENSORS: _safetensors, Form.PYTORCH: _pickled, Form.TORCHSCRIPT: _torchscript}
    state = read[found.form](path)
    for key, tensor in state.items():
        if unusual := _unusual(tensor):
            raise WeightsError(f"{path.name} holds {unusual} ({key}), which no network here takes.")
    return state, dict(found.header)


def _safetensors(path: Path) -> dict[str, Tensor]:
    try:
        with safe_open(path, "pt") as file:
            return {key: file.get_tensor(key) for key in file.keys()}
    except Exception as error:  # releases of the library raise different errors
        raise _damaged(path, Form.SAFETENSORS, error) from error


def _pickled(path: Path) -> dict[str, Tensor]:
    misnamed = path.suffix == ".safetensors"  # which torch.load takes for the truth, unless it is given no name
    try:
        with path.open("rb") as file:
            mapped = not misnamed and is_zipfile(path)
            state = torch.load(file if misnamed else path, map_location="cpu", weights_only=True, mmap=mapped)
    except pickle.UnpicklingError as error:
        raise WeightsError(f"{path.name} {_refused(str(error))}.") from error
    except Exception as error:  # bytes that are no pickle make it raise anything
        raise _damaged(path, Form.PYTORCH, error) from error
    state = unwrapped(state)
    if not isinstance(state, dict) or not all(isinstance(key, str) for key in state):
        raise WeightsError(f"{path.name} holds a {type(state).__name__} without names of tensors.")
    if not all(isinstance(tensor, Tensor) for tensor in state.values()):
        raise WeightsError(f"{path.name} looks like {looks_like(state)}.")
    return state


def _torchscript(path: Path) -> dict[str, Tensor]:
    """A program's tensors, named by the paths of its modules. The program itself is neither run nor read."""
    try:
        with path.open("rb") as file, ZipFile(file) as archive:
            index = index_of(file)
            places = {name: place for name, place in index.places.items() if place is not None}

            def numbers(run: Run) -> Tensor:
                dtype = NUMBERS[run.kind]
                return torch.frombuffer(bytearray(archive.read(f"{index.folder}data/{run.key}")), dtype=dtype)

            runs = {run: numbers(run) for run in {place.run for place in places.values()}}
            return {name: runs[at.run].as_strided(at.shape, at.strides, at.offset) for name, at in places.items()}
    except Exception as error:  # of zip archives and of their numbers
        raise _damaged(path, Form.TORCHSCRIPT, error) from error


def _unusual(tensor: Tensor) -> str | None:
    """What a tensor is that layers cannot be filled with."""
    if tensor.dtype not in DTYPES:
        return f"numbers of the type {str(tensor.dtype).removeprefix('torch.')}"
    if tensor.layout is not torch.strided or tensor.device.type != "cpu":
        return "a tensor that is sparse or without numbers"
    return None if tensor.numel() else "an empty tensor"


def _damaged(path: Path, form: Form, error: Exception) -> WeightsError:
    reason = str(error) if isinstance(error, (Damaged, WeightsError)) else brief(error)
    return WeightsError(f"{path.name} {DAMAGED[form]} again ({reason}).")


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
    """One kind of file, recognised by the names of its tensors, and by their shapes where names do not suffice."""

    words: str  # completes "It looks like ..."
    needs: tuple[str, ...]  # patterns; each must match the beginning of some name
    lacks: tuple[str, ...] = ()  # patterns; none may match
    sides: tuple[tuple[str, int, int], ...] = ()  # patterns; a side of some tensor with such a name, and its length

    def fits(self, names: Collection[str] | Mapping[str, Any]) -> bool:
        """names: with tensors or shapes, if any are known."""
        named = all(_some(names, need) for need in self.needs) and not any(_some(names, lack) for lack in self.lacks)
        return named and all(_sized(names, *side) for side in self.sides)


class Form(Enum):
    SAFETENSORS = "safetensors"
    PYTORCH = "PyTorch"
    TORCHSCRIPT = "TorchScript"


DAMAGED = {
    Form.SAFETENSORS: "is a damaged or incomplete safetensors file: download or convert it",
    Form.PYTORCH: "is a damaged or incomplete PyTorch file: download it",
    Form.TORCHSCRIPT: "is a damaged or incomplete TorchScript file: download it",
}


@dataclass(frozen=True)
class Contents:
    """What a file holds, without its numbers."""

    form: Form
    shapes: Mapping[str, Shape | None]  # by name; None for what is no tensor
    header: Mapping[str, str]  # of a safetensors file

    def kind(self, kinds: Iterable[Kind]) -> Kind | None:
        return next((kind for kind in kinds if kind.fits(self.shapes)), None)


def contents(path: Path) -> Contents:
    """What the index of a file tells. A WeightsError if the file has none that can be read.

    Only regular files are opened: a named pipe would wait for somebody to write into it.
    """
    with opened(path) as file:
        form = _form(file, path)
        try:
            if form is Form.SAFETENSORS:
                found = _header(file)
            else:
                index = index_of(file)
                found = Contents(Form.TORCHSCRIPT if index.torchscript else form, index.shapes, {})
            if any(len(name) > LONGEST_NAME or not name.isprintable() for name in found.shapes):
                raise WeightsError("its tensors have names that nobody can read")
        except Exception as error:  # of JSON, pickles and zip archives
            raise _damaged(path, form, error) from error
    return found


def opened(path: Path) -> BinaryIO:
    """A file to read from. Nothing but files: a named pipe would wait for somebody to write into it."""
    try:
        mode = path.stat().st_mode
        if S_ISREG(mode):
            return path.open("rb")
    except (FileNotFoundError, NotADirectoryError) as error:
        raise WeightsError(f"{path} does not exist.") from error
    except (OSError, ValueError) as error:
        raise WeightsError(f"{path} cannot be read ({brief(error)}).") from error
    raise WeightsError(f"{path} is not a file but {'a folder' if S_ISDIR(mode) else 'a pipe or a device'}.")


def not_a_model(start: bytes) -> str | None:
    """What a file is, by its first bytes, that takes the place of a model when a download fails."""
    if not start:
        return "is empty"
    if start.startswith(b"version https://git-lfs"):
        return "is only a Git LFS pointer, a few lines of text that stand for the real file"
    if start.lstrip().lower().startswith((b"<!doctype html", b"<html", b"<?xml")):
        return "is a web page, which is what a failed download leaves"
    return None


def _form(file: BinaryIO, path: Path) -> Form:
    start, size = file.read(512), file.seek(0, 2)
    file.seek(0)
    if problem := not_a_model(start):
        raise WeightsError(f"{path.name} {problem}. Download it again.")
    if start[8:9] == b"{" and int.from_bytes(start[:8], "little") <= size - 8:
        return Form.SAFETENSORS  # before the others: the length of its header may begin with their letters
    if start.startswith((b"PK", b"\x80")):
        return Form.PYTORCH
    if start[8:9] == b"{":
        raise _damaged(path, Form.SAFETENSORS, WeightsError("its header is longer than the file"))
    raise WeightsError(f"{path.name} is neither a PyTorch file nor a safetensors file. Download it again.")


def _header(file: BinaryIO) -> Contents:
    length = int.from_bytes(file.read(8), "little")
    if length > LARGEST_INDEX:
        raise WeightsError(f"its header has {length} bytes; no file of weights needs more than {LARGEST_INDEX}")
    told = json.loads(file.read(length))
    if len(told) > MOST_NAMES:
        raise WeightsError(f"it names {len(told)} tensors; no file of weights needs more than {MOST_NAMES}")
    header = told.pop("__metadata__", {})
    if not all(isinstance(entry, str) for entry in header.values()):
        raise WeightsError("the entries of its header are not all text")
    shapes = {name: tuple(about["shape"]) for name, about in told.items()}
    if not all(type(length) is int for shape in shapes.values() for length in shape):
        raise WeightsError("a tensor's shape is not made of whole numbers")
    return Contents(Form.SAFETENSORS, shapes, header)


LARGEST_SETTINGS = 1 << 20  # bytes


def settings(path: Path) -> dict[str, Any] | None:
    """What a JSON file beside the weights says; None if there is none."""
    if not path.is_file():
        return None
    with opened(path) as file:
        text = file.read(LARGEST_SETTINGS + 1)
    if problem := not_a_model(text[:512]):
        raise WeightsError(f"{path} {problem}. Download it again.")
    if len(text) > LARGEST_SETTINGS:
        raise WeightsError(f"{path} has more than the {LARGEST_SETTINGS >> 20} MB that settings may need.")
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise WeightsError(f"{path} is not valid JSON ({brief(error)}). Download it again.") from error
    if not isinstance(found, dict):
        raise WeightsError(f"{path} holds a {type(found).__name__} where settings are expected. Download it again.")
    return found


def _some(names: Collection[str], pattern: str) -> bool:
    begins = re.compile(pattern).match
    return any(begins(name) for name in names)


def _sized(names: Collection[str] | Mapping[str, Any], pattern: str, side: int, length: int) -> bool:
    begins, known = re.compile(pattern).match, names if isinstance(names, Mapping) else {}
    shapes = (getattr(told, "shape", told) for name, told in known.items() if begins(name))
    return any(shape is not None and len(shape) > side and shape[side] == length for shape in shapes)


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
HUBERT = Kind("a HuBERT speech encoder, which redub methods find by themselves", (r"hubert\.feature_extractor\.",))
FAIRSEQ = Kind("a fairseq training checkpoint", ("encoder_layers|w2v_|cfg$|args$|task_state",))
TRAINING = Kind("the saved state of a training run", (r".*optimizer|epoch$|global_step$|lr_scheduler",))
UNET = Kind("a single UNet, such as Stable Diffusion's", (r"down_blocks\.\d+\.resnets",))
SOUND = Kind("a model for sound", ("audio_encoder|.*audio",))
KINDS = (STABLE_DIFFUSION, LORA, VAE, WAV2VEC2, HUBERT, FAIRSEQ, TRAINING, UNET, SOUND)


def looks_like(names: Collection[str], kinds: Iterable[Kind] = KINDS) -> str:
    """Completes "It looks like ..."; `methods.looks_like` knows more kinds."""
    if not names:
        return "a file without any tensor"
    found = next((kind.words for kind in kinds if kind.fits(names)), None)
    return found or f"something else (its first key is {next(iter(names))!r})"
