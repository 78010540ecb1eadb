"""Finished chunks on disk, from which an interrupted run resumes: `Journal`, `key_of` and `tidy`.

Each clip has a file, named by a digest of all its inputs, with one record per chunk: a digest, then the chunk's
latents, from which frames and motion frames are decoded again, or what else its frames can be made of. A record with a
wrong digest is ignored, so chunks torn by a crash are made again, and two runs of one clip at the same time are
harmless: they write the same bytes.
"""

from __future__ import annotations

import hashlib
import logging
import math
import os
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

import torch
from torch import Tensor

from ..libraries import brief
from .regular import IrregularError, open_regular, size_of
from .space import DISK_FULL, RoomError, amount

log = logging.getLogger(__name__)

VERSION = 3  # to be raised when the same inputs no longer give the same latents
ENDING = ".chunks"
KEPT_DAYS, KEPT_BYTES = 14, 8 << 30
DIGEST = hashlib.sha256().digest_size


class JournalError(RoomError):
    """A chunk cannot be kept; the message is for the user."""


class Journal:
    def __init__(self, folder: Path, key: str, shape: Iterable[int], dtype: torch.dtype = torch.float32):
        """shape: that of what is kept of a chunk, latents say"""
        self.path, self.key, self.shape, self.dtype = folder / f"{key}{ENDING}", key, tuple(shape), dtype
        self.size = dtype.itemsize * math.prod(self.shape)
        self.record = DIGEST + self.size  # bytes

    def read(self, index: int) -> Tensor | None:
        try:
            with open(open_regular(self.path, os.O_RDONLY), "rb") as file:
                file.seek(index * self.record)
                digest, payload = file.read(DIGEST), bytearray(file.read(self.size))
        except FileNotFoundError:
            return None
        except IrregularError as error:
            raise JournalError(str(error)) from error
        except OSError as error:
            log.warning("Chunk %d cannot be read from %s (%s); it will be made again.", index, self.path, brief(error))
            return None
        if digest != self._digest(index, payload):
            if any(payload):  # zeros are a gap, and nothing is the end
                log.warning("Chunk %d in %s is damaged; it will be made again.", index, self.path)
            return None
        latents = torch.frombuffer(payload, dtype=self.dtype).reshape(self.shape)
        if not latents.isfinite().all():
            log.warning("Chunk %d in %s holds values that are not numbers; it will be made again.", index, self.path)
            return None
        return latents

    def write(self, index: int, latents: Tensor) -> None:
        """Write a chunk, and return only once it is safely on the disk. Values that are not finite are refused."""
        if not latents.isfinite().all():
            raise JournalError(
                f"Chunk {index} holds values that are not numbers (NaN or infinite), so it was not kept. Try another "
                "weight dtype, fp32 say, and look for weights or a cfg that are not numbers."
            )
        payload = latents.detach().to("cpu", self.dtype).contiguous().numpy().tobytes()
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with open(open_regular(self.path, os.O_RDWR | os.O_CREAT), "r+b") as file:
                file.seek(index * self.record)
                file.write(self._digest(index, payload) + payload)
                file.flush()
                os.fsync(file.fileno())
        except IrregularError as error:
            raise JournalError(str(error)) from error
        except OSError as error:
            raise self._failed(index, error) from error

    def __len__(self) -> int:
        """The number of chunks by the file's size; `read` checks whether each is intact."""
        try:
            return size_of(self.path) // self.record
        except IrregularError as error:
            raise JournalError(str(error)) from error

    def _digest(self, index: int, payload: bytes | bytearray) -> bytes:
        digest = hashlib.sha256(f"{self.key} {index}\n".encode())
        digest.update(payload)
        return digest.digest()

    def _failed(self, index: int, error: OSError) -> JournalError:
        kept = f"The {index} chunks before it are safe: run it again to resume from there."
        if error.errno in DISK_FULL:
            return JournalError(
                f"The disk is full: chunk {index} could not be kept in {self.path.parent}. Make room. {kept}"
            )
        return JournalError(
            f"Chunk {index} could not be kept in {self.path.parent} ({brief(error)}). Check the folder. {kept}"
        )


def tidy(folder: Path, spare: Path, days: float = KEPT_DAYS, size: int = KEPT_BYTES) -> None:
    """Delete journals older than `days`, then the oldest of the others until at most `size` bytes remain."""
    found = []
    for path in folder.glob(f"*{ENDING}"):
        with suppress(FileNotFoundError):  # another process tidies, too
            found += [(path.lstat(), path)] if path != spare else []
    found.sort(key=lambda each: each[0].st_mtime, reverse=True)
    total = size_of(spare)
    for facts, path in found:
        total += facts.st_size
        if total > size or facts.st_mtime < time.time() - days * 86400:
            with suppress(OSError):  # in use on Windows: delete the others regardless
                path.unlink()
                log.info("A journal of %s was deleted: %s.", amount(facts.st_size), path.name)


def key_of(**parts: object) -> str:
    """A digest of everything a clip depends on: tensors by every number, all else by its repr."""
    digest = hashlib.sha256(f"{VERSION}\n".encode())
    for name, part in sorted(parts.items()):
        digest.update(f"{name}: ".encode())
        for leaf in _leaves(part):
            digest.update(leaf)
            digest.update(b"\n")
    return digest.hexdigest()


def _leaves(part: object) -> Iterable[bytes]:
    if isinstance(part, Tensor):
        yield f"{tuple(part.shape)} {part.dtype}".encode()
        yield part.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes()
    elif isinstance(part, list | tuple):
        yield f"{len(part)}".encode()
        for each in part:
            yield from _leaves(each)
    else:
        yield repr(part).encode()
