"""What a file of weights is, told by the names in its index. No tensor is read, and torch is not needed."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from stat import S_ISDIR, S_ISREG
from typing import Any, BinaryIO

from ..libraries import brief
from .pickles import LARGEST_INDEX, MOST_NAMES, Damaged, Shape, index_of

LONGEST_NAME = 500  # of a tensor: messages tell it


class WeightsError(ValueError):
    """A file that cannot be loaded, in words for whoever chose it."""


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
            raise damaged(path, form, error) from error
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
        raise damaged(path, Form.SAFETENSORS, WeightsError("its header is longer than the file"))
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


def damaged(path: Path, form: Form, error: Exception) -> WeightsError:
    reason = str(error) if isinstance(error, (Damaged, WeightsError)) else brief(error)
    return WeightsError(f"{path.name} {DAMAGED[form]} again ({reason}).")


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
