"""Weights and inputs as pure functions of a name: what the golden data were recorded with, so none are stored."""

from __future__ import annotations

import math
import zlib
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

import torch
from torch import Tensor

WEIGHT_NORM = {".weight_g": ".parametrizations.weight.original0", ".weight_v": ".parametrizations.weight.original1"}


def normals(name: str, shape: Sequence[int], salt: str = "") -> Tensor:
    generator = torch.Generator("cpu").manual_seed(zlib.crc32((salt + name).encode()))
    return torch.randn(tuple(shape), generator=generator)


def weight(key: str, shape: Sequence[int], salt: str = "") -> Tensor:
    for old, new in WEIGHT_NORM.items():
        key = key.removesuffix(old) + new if key.endswith(old) else key
    if key.endswith(".pe"):
        return sinusoids(shape[1], shape[2])
    x = normals(key, shape, salt)
    if key.endswith(WEIGHT_NORM[".weight_g"]):
        return (1 + 0.1 * x).abs()
    if len(shape) == 1 and key.endswith(".weight"):
        return 1 + 0.1 * x
    if len(shape) <= 1:
        return 0.1 * x
    return x.div_(math.sqrt(math.prod(shape[1:])))


def sinusoids(length: int, width: int) -> Tensor:
    angles = torch.arange(length)[:, None] * torch.exp(torch.arange(0, width, 2) * (-math.log(10_000.0) / width))
    return torch.stack([angles.sin(), angles.cos()], dim=-1).reshape(1, length, width)


def weights(shapes: Mapping[str, Sequence[int]], prefix: str = "", salt: str = "") -> dict[str, Tensor]:
    with ThreadPoolExecutor() as pool:  # drawing releases the interpreter lock
        filled = pool.map(lambda item: weight(prefix + item[0], item[1], salt), shapes.items())
        return dict(zip(shapes, filled, strict=True))


def fill(module: torch.nn.Module, prefix: str = "", salt: str = "") -> torch.nn.Module:
    """Give a module, which may be on the meta device, the weights of its own keys."""
    shapes = {key: tensor.shape for key, tensor in module.state_dict().items()}
    module.load_state_dict(weights(shapes, prefix, salt), strict=True, assign=True)
    return module.requires_grad_(False).eval()
