"""Finished chunks on disk: what a run that was stopped, by whatever, goes on from.

A file for each clip, named after all that shapes it, with a record for each chunk: a digest, then the chunk's latents.
The frames follow from them, and so do the motion frames. A record counts only if its digest is right, so what was torn
by a crash or damaged since is made again, and two runs of one clip at a time do no harm: they write the same.
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
from .space import DISK_FULL, RoomError, amount

log = logging.getLogger(__name__)

VERSION = 2  # of what chunks of the same key look like: to be raised when the same inputs give other latents
ENDING = ".chunks"
KEPT_DAYS, KEPT_BYTES = 14, 8 << 30
DIGEST = hashlib.sha256().digest_size


class JournalError(RoomError):
    """Chunks that cannot be kept, in words for whoever made them."""


class Journal:
    def __init__(self, folder: Path, key: str, shape: Iterable[int]):
        """shape: of a chunk's latents"""
        self.path, self.key, self.shape = folder / f"{key}{ENDING}", key, tuple(shape)
        self.size = 4 * math.prod(self.shape)
        self.record = DIGEST + self.size  # bytes

    def read(self, index: int) -> Tensor | None:
        try:
            with self.path.open("rb") as file:
                file.seek(index * self.record)
                digest, payload = file.read(DIGEST), bytearray(file.read(self.size))
        except FileNotFoundError:
            return None
        except OSError as error:
            log.warning("Chunk %d cannot be read from %s (%s): it is made again.", index, self.path, brief(error))
            return None
        if digest != self._digest(index, payload):
            if any(payload):  # not just a gap, or the end
                log.warning("Chunk %d in %s is damaged: it is made again.", index, self.path)
            return None
        latents = torch.frombuffer(payload, dtype=torch.float32).reshape(self.shape)
        if not latents.isfinite().all():
            log.warning("Chunk %d in %s holds values that are not numbers: it is made again.", index, self.path)
            return None
        return latents

    def write(self, index: int, latents: Tensor) -> None:
        """On the disk, whatever happens, when this returns. Refuses what is not finite: it would spoil every rerun."""
        if not latents.isfinite().all():
            raise JournalError(
                f"Chunk {index} holds values that are not numbers (NaN or infinite), so it was not kept. Try another "
                "weight dtype, fp32 say, and look for weights or a cfg that are not numbers."
            )
        payload = latents.detach().to("cpu", torch.float32).contiguous().numpy().tobytes()
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with os.fdopen(os.open(self.path, os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0)), "r+b") as file:
                file.seek(index * self.record)
                file.write(self._digest(index, payload) + payload)
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise self._failed(index, error) from error

    def __len__(self) -> int:
        """How many chunks there are, going by the size; whether each is whole is seen when it is read."""
        return self.path.stat().st_size // self.record if self.path.exists() else 0

    def _digest(self, index: int, payload: bytes | bytearray) -> bytes:
        digest = hashlib.sha256(f"{self.key} {index}\n".encode())
        digest.update(payload)
        return digest.digest()

    def _failed(self, index: int, error: OSError) -> JournalError:
        kept = f"The {index} chunks before it are safe: run it again, and it goes on from there."
        if error.errno in DISK_FULL:
            return JournalError(
                f"The disk is full: chunk {index} could not be kept in {self.path.parent}. Make room. {kept}"
            )
        return JournalError(
            f"Chunk {index} could not be kept in {self.path.parent} ({brief(error)}). Check the folder. {kept}"
        )


def tidy(folder: Path, spare: Path, days: float = KEPT_DAYS, size: int = KEPT_BYTES) -> None:
    """Delete journals that nobody wrote to for so long, and the oldest of the others until they take no more room."""
    found = []
    for path in folder.glob(f"*{ENDING}"):
        with suppress(FileNotFoundError):  # somebody else tidies, too
            found += [(path.stat(), path)] if path != spare else []
    found.sort(key=lambda each: each[0].st_mtime, reverse=True)
    total = spare.stat().st_size if spare.exists() else 0
    for facts, path in found:
        total += facts.st_size
        if total > size or facts.st_mtime < time.time() - days * 86400:
            with suppress(OSError):  # in use on Windows: the others go all the same
                path.unlink()
                log.info("A journal of %s was deleted: %s.", amount(facts.st_size), path.name)


def key_of(**parts: object) -> str:
    """One name for all that shapes a clip: tensors by every number, everything else by how it is written."""
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
