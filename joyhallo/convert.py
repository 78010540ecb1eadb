"""Convert a checkpoint of JoyHallo, Hallo or a redub method to safetensors at half the size:

    python -m joyhallo.convert net.pth -o joyhallo.safetensors --dtype fp16

The weights are mapped in and streamed out a few at a time, so memory use stays small for files of any size.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import logging
import os
import struct
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import torch
from torch import Tensor

from .files.checkpoint import PREFIX
from .files.contents import WeightsError
from .files.norms import COUNTER
from .files.scratch import scratch
from .files.space import Need, RoomError, check_disks
from .files.weights import open_weights
from .methods import METHODS, Method, kind_of
from .methods.hallo import checkpoint as hallo
from .streams import escape_what_is_lacking

log = logging.getLogger(__name__)

WANTED = f"{hallo.EXPECTED}, or a network of a redub method."
CHOICES = ("fp16", "bf16", "fp32")
DTYPES = {
    "fp16": (torch.float16, "F16"),
    "bf16": (torch.bfloat16, "BF16"),
    "fp32": (torch.float32, "F32"),
    "int64": (torch.int64, "I64"),  # of counters
}
BYTES_AT_ONCE = 256 << 20  # of the source, after which it is mapped anew


@dataclass(frozen=True)
class Kept:
    """A tensor of the target."""

    key: str
    source: str  # its key there
    shape: tuple[int, ...]
    dtype: str


@dataclass(frozen=True)
class Conversion:
    tensors: int
    bytes_before: int
    bytes_after: int
    sha256: str


def convert(source: Path, target: Path, dtype: str = "fp16", *, force: bool = False) -> Conversion:
    """Write `source` as a safetensors file of the given precision; the target appears whole or not at all."""
    if target.exists() and not force:
        raise FileExistsError(f"{target} already exists; choose another name, or overwrite it with --force.")
    if target.exists() and target.samefile(source):
        raise FileExistsError(f"{target} is the source itself; choose another name.")
    kept, about = _inspect(source, dtype)
    header, size = _header(kept, about)
    check_disks([Need(target.name, target.parent, len(header) + size)], "make room, or choose another folder")

    with scratch(target.parent) as unfinished:
        with (unfinished / "part").open("wb") as file:
            sha256 = _stream(source, kept, header, file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(unfinished / "part", target)
    return Conversion(len(kept), source.stat().st_size, target.stat().st_size, sha256)


def _inspect(source: Path, dtype: str) -> tuple[list[Kept], dict[str, str]]:
    """The tensors to keep, sorted by name, and the entries of the header that describe the model."""
    kind = kind_of(source)
    for method in METHODS:
        if method.task == "redub" and method.checkpoint is kind:
            return _of_redubber(method, source, dtype), {}
    found = hallo.open_checkpoint(source)
    skipped = hallo.never_run(found.config.net)
    shapes = {key: tuple(tensor.shape) for key, tensor in sorted(found.weights.items()) if not skipped.match(key)}
    entry = {hallo.HEADER_ENTRY: hallo.header_entry(found.config)}
    return [Kept(key, key, shape, dtype) for key, shape in shapes.items()], entry


def _of_redubber(method: Method, source: Path, dtype: str) -> list[Kept]:
    """Under the published keys and with every BatchNorm, so that other programs can fill their networks, too.

    The statistics of BatchNorm keep single precision: variances may be too large or too small for half.
    """
    method.open(source)
    state, _ = open_weights(source, WANTED)
    places = sorted((key.removeprefix(PREFIX), key) for key in state)
    return [Kept(key, place, tuple(state[place].shape), _exact(key) or dtype) for key, place in places]


def _exact(key: str) -> str | None:
    """A precision that a tensor needs, whatever is asked for."""
    if key.endswith(COUNTER):
        return "int64"
    return "fp32" if key.endswith((".running_mean", ".running_var")) else None


def _header(kept: list[Kept], about: dict[str, str]) -> tuple[bytes, int]:
    """The safetensors header (its length, then JSON padded to eight bytes) and the size of what follows it."""
    described: dict[str, object] = {"__metadata__": {"format": "pt", **about}}
    end = 0
    for one in kept:
        kind, name = DTYPES[one.dtype]
        start, end = end, end + torch.Size(one.shape).numel() * kind.itemsize
        described[one.key] = {"dtype": name, "shape": one.shape, "data_offsets": [start, end]}
    text = json.dumps(described, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text, end


def _stream(source: Path, kept: list[Kept], header: bytes, file: BinaryIO) -> str:
    digest = hashlib.sha256(header)
    file.write(header)
    for batch in _batches(kept):
        state, _ = open_weights(source, WANTED)  # a fresh mapping: the pages of the last one are released with it
        for one in batch:
            data = _converted(one, state[one.source]).view(torch.uint8).numpy().data
            digest.update(data)
            file.write(data)
        del state
    return digest.hexdigest()


def _batches(kept: list[Kept]) -> Iterator[list[Kept]]:
    batch, size = [], 0
    for one in kept:
        batch.append(one)
        size += torch.Size(one.shape).numel() * torch.float32.itemsize
        if size >= BYTES_AT_ONCE:
            yield batch
            batch, size = [], 0
    yield batch


def _converted(one: Kept, tensor: Tensor) -> Tensor:
    kind = DTYPES[one.dtype][0]
    if kind.itemsize < tensor.dtype.itemsize and tensor.abs().max() > torch.finfo(kind).max:
        raise WeightsError(f"{one.key} has values too large for {one.dtype}; convert with --dtype bf16.")
    return tensor.to(kind).contiguous().flatten()


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m joyhallo.convert", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    known = "net.pth of JoyHallo or Hallo, wav2lip.pth, latentsync_unet.pt, MuseTalk's unet.pth, ..."
    parser.add_argument("source", type=Path, help=known)
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="FILE")
    parser.add_argument("--dtype", choices=CHOICES, default="fp16", help="precision of the weights (default: fp16)")
    parser.add_argument("--force", action="store_true", help="overwrite the output if it exists")
    chosen = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout)
    try:
        done = convert(chosen.source, chosen.output, chosen.dtype, force=chosen.force)
    except (WeightsError, RoomError, FileExistsError, FileNotFoundError, PermissionError) as error:
        log.error("%s", error)
        return 2
    except OSError as error:  # while it was written
        log.error("%s", error)
        return 1
    log.info(
        "%s: %d tensors, %.2f GB -> %.2f GB\nsha256 %s",
        chosen.output,
        done.tensors,
        done.bytes_before / 1e9,
        done.bytes_after / 1e9,
        done.sha256,
    )
    return 0


if __name__ == "__main__":
    escape_what_is_lacking()
    sys.exit(main())
