"""Small seeded generators of Ultralight-Digital-Human, under the names of its files."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from joyhallo.files.checkpoint import shapes
from joyhallo.files.norms import COUNTER
from joyhallo.methods.ultralight.network import Generator, Sizes

SIZES = Sizes(width=4)


def drawn(sizes: Sizes = SIZES, seed: int = 0) -> dict[str, Tensor]:
    """With norms that are far from doing nothing, and their counters, as published today."""
    torch.manual_seed(seed)
    state: dict[str, Tensor] = {}
    for key, shape in shapes(lambda: Generator(sizes)).items():
        name, _, part = key.rpartition(".")
        norm = _norm_after(name)
        if part == "weight":
            state[key] = torch.randn(shape) * (2 / math.prod(shape[1:])) ** 0.5
        elif norm is None or name.endswith(("conv3", "conv5")):
            state[key] = torch.randn(shape) * 0.1
        if part == "bias" and norm is not None:
            state |= {f"{norm}.weight": torch.rand(shape) + 0.5, f"{norm}.bias": torch.randn(shape) * 0.1}
            state |= {f"{norm}.running_mean": torch.randn(shape) * 0.1, f"{norm}.running_var": torch.rand(shape) + 0.5}
            state[f"{norm}{COUNTER}"] = torch.tensor(123)
    return state


def old_spelling(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """That of 2024, which LiveTalking has, too."""
    names = ("maxpool_conv.", "inconv.")
    for name in names:
        state = {key.replace(name, f"{name}0."): tensor for key, tensor in state.items()}
    return state


def _norm_after(name: str) -> str | None:
    path, _, last = name.rpartition(".")
    if last.isdigit():
        return f"{path}.{int(last) + 1}"
    return f"{path}.bn{last[-1]}" if path == "audio_model" else None
