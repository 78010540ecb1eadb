"""Fast fingerprints of weights, from the ends of every tensor, and SHA-256 sums of files in the background."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cache, lru_cache
from pathlib import Path

import torch
from torch import Tensor, nn

from .digests import sha256

ENDS = 1024  # elements read at the beginning, and again at the end, of each tensor


def of_module(module: nn.Module) -> str:
    """A digest of a network's weights; see `of_tensors`."""
    return of_tensors(module.state_dict())


def of_tensors(tensors: Mapping[str, Tensor]) -> str:
    """A digest of names, shapes, dtypes and the ends of each tensor, independent of their device and order.

    Training and merging change all of a tensor, so its ends suffice; an edit of the middle alone goes unnoticed.
    """
    digest = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}\n".encode())
        digest.update(_ends(tensor))
    return digest.hexdigest()


def _ends(tensor: Tensor) -> bytes:
    flat = tensor.detach().flatten()
    known = flat if len(flat) <= 2 * ENDS else torch.cat([flat[:ENDS], flat[-ENDS:]])
    return known.cpu().contiguous().view(torch.uint8).numpy().tobytes()


def of_file(path: Path) -> Future[str]:
    """The SHA-256 of a file, as published beside downloads: computed once, in the background."""
    stat = path.stat()
    return _begun(path, stat.st_mtime_ns, stat.st_size)


@lru_cache(maxsize=16)
def _begun(path: Path, changed: int, size: int) -> Future[str]:
    return _worker().submit(sha256, path)


@cache
def _worker() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(1, thread_name_prefix="joyhallo-sha256")
