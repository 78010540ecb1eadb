"""Files of weights -> tensors by name, whatever they are called, and without running anything that they hold."""

from __future__ import annotations

import pickle
import re
from collections.abc import Mapping
from pathlib import Path
from zipfile import ZipFile, is_zipfile

import torch
from safetensors import safe_open
from torch import Tensor

from .contents import Form, WeightsError, contents, damaged, looks_like
from .pickles import Run, index_of, unwrapped

FLOATS = (torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.float8_e4m3fn, torch.float8_e5m2)
WHOLE_NUMBERS = (torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8, torch.bool)  # counters, mostly
DTYPES = (*FLOATS, *WHOLE_NUMBERS)
NUMBERS = {  # by what PyTorch's archives call a run of them
    **{"Double": torch.float64, "Float": torch.float32, "Half": torch.float16, "BFloat16": torch.bfloat16},
    **{"Long": torch.int64, "Int": torch.int32, "Short": torch.int16, "Char": torch.int8, "Byte": torch.uint8},
    **{"Bool": torch.bool, "ComplexFloat": torch.complex64, "ComplexDouble": torch.complex128},
}


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
        raise damaged(path, Form.SAFETENSORS, error) from error


def _pickled(path: Path) -> dict[str, Tensor]:
    misnamed = path.suffix == ".safetensors"  # which torch.load takes for the truth, unless it is given no name
    try:
        with path.open("rb") as file:
            mapped = not misnamed and is_zipfile(path)
            state = torch.load(file if misnamed else path, map_location="cpu", weights_only=True, mmap=mapped)
    except pickle.UnpicklingError as error:
        raise WeightsError(f"{path.name} {_refused(str(error))}.") from error
    except Exception as error:  # bytes that are no pickle make it raise anything
        raise damaged(path, Form.PYTORCH, error) from error
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
        raise damaged(path, Form.TORCHSCRIPT, error) from error


def _unusual(tensor: Tensor) -> str | None:
    """What a tensor is that layers cannot be filled with."""
    if tensor.dtype not in DTYPES:
        return f"numbers of the type {str(tensor.dtype).removeprefix('torch.')}"
    if tensor.layout is not torch.strided or tensor.device.type != "cpu":
        return "a tensor that is sparse or without numbers"
    return None if tensor.numel() else "an empty tensor"


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
