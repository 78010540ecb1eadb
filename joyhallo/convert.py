"""Convert a checkpoint to safetensors at half the size:
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

from .files.scratch import scratch
from .files.space import Need, RoomError, check_disks
from .files.weights import WeightsError, open_weights
from .methods.hallo.checkpoint import HEADER_ENTRY, WANTED, header_entry, never_run, open_checkpoint

log = logging.getLogger(__name__)

DTYPES = {"fp16": (torch.float16, "F16"), "bf16": (torch.bfloat16, "BF16"), "fp32": (torch.float32, "F32")}
BYTES_AT_ONCE = 256 << 20  # of the source, after which it is mapped anew


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
    shapes, entry = _inspect(source)
    header, size = _header(shapes, dtype, entry)
    check_disks([Need(target.name, target.parent, len(header) + size)], "make room, or choose another folder")

    with scratch(target.parent) as unfinished:
        with (unfinished / "part").open("wb") as file:
            sha256 = _stream(source, shapes, dtype, header, file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(unfinished / "part", target)
    return Conversion(len(shapes), source.stat().st_size, target.stat().st_size, sha256)


def _inspect(source: Path) -> tuple[dict[str, tuple[int, ...]], str]:
    """Return the shapes of the tensors to keep, sorted by name, and the header entry that describes the model."""
    found = open_checkpoint(source)
    shapes = {key: tuple(tensor.shape) for key, tensor in found.weights.items()}
    skipped = never_run(found.config.net)
    return {key: shapes[key] for key in sorted(shapes) if not skipped.match(key)}, header_entry(found.config)


def _header(shapes: dict[str, tuple[int, ...]], dtype: str, entry: str) -> tuple[bytes, int]:
    """The safetensors header (its length, then JSON padded to eight bytes) and the size of what follows it."""
    kind, name = DTYPES[dtype]
    described: dict[str, object] = {"__metadata__": {"format": "pt", HEADER_ENTRY: entry}}
    end = 0
    for key, shape in shapes.items():
        start, end = end, end + torch.Size(shape).numel() * kind.itemsize
        described[key] = {"dtype": name, "shape": shape, "data_offsets": [start, end]}
    text = json.dumps(described, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text, end


def _stream(source: Path, shapes: dict[str, tuple[int, ...]], dtype: str, header: bytes, file: BinaryIO) -> str:
    digest = hashlib.sha256(header)
    file.write(header)
    for keys in _batches(shapes):
        state, _ = open_weights(source, WANTED)  # a fresh mapping: the pages of the last one are released with it
        for key in keys:
            data = _converted(key, state[key], dtype).view(torch.uint8).numpy().data
            digest.update(data)
            file.write(data)
        del state
    return digest.hexdigest()


def _batches(shapes: dict[str, tuple[int, ...]]) -> Iterator[list[str]]:
    batch, size = [], 0
    for key, shape in shapes.items():
        batch.append(key)
        size += torch.Size(shape).numel() * torch.float32.itemsize
        if size >= BYTES_AT_ONCE:
            yield batch
            batch, size = [], 0
    yield batch


def _converted(key: str, tensor: Tensor, dtype: str) -> Tensor:
    kind = DTYPES[dtype][0]
    low, high = tensor.aminmax() if kind.itemsize < tensor.dtype.itemsize else (0, 0)
    if max(-low, high) > torch.finfo(kind).max:
        raise WeightsError(f"{key} has values too large for {dtype}; convert with --dtype bf16.")
    return tensor.to(kind).contiguous().flatten()


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m joyhallo.convert", description=__doc__)
    parser.add_argument("source", type=Path, help="net.pth of JoyHallo or Hallo, or a .safetensors")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="FILE")
    parser.add_argument("--dtype", choices=DTYPES, default="fp16", help="precision of the weights (default: fp16)")
    parser.add_argument("--force", action="store_true", help="overwrite the output if it exists")
    chosen = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout)
    try:
        done = convert(chosen.source, chosen.output, chosen.dtype, force=chosen.force)
    except (WeightsError, RoomError, OSError) as error:
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
    sys.exit(main())
