"""Memory and disk space of a run, beside the activations: counted, not estimated."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Iterator

import torch
from torch import nn

from ..files.space import amount
from .checkpoints import sizes
from .recipe import GROUPS, Recipe
from .start import group


def counts(net: nn.Module) -> dict[str, int]:
    """Parameters by group."""
    found = dict.fromkeys(GROUPS, 0)
    for name, parameter in net.named_parameters():
        found[group(name)] += parameter.numel()
    return found


def account(net: nn.Module, recipe: Recipe, averaged: bool) -> Iterator[str]:
    """Lines that report the needs of a run. The networks may be on the meta device."""
    found = counts(net)
    total, trained = sum(found.values()), sum(found[name] for name in recipe.train)
    for name, count in found.items():
        yield f"{name:<12}{count:>16,} parameters{', trained' if name in recipe.train else ''}"
    yield f"{'in all':<12}{total:>16,} parameters, {trained:,} trained"
    moments = 2 if recipe.optimizer.kind == "adamw8bit" else 8
    parts = {"weights": 4 * total, "gradients": 4 * trained, "optimizer": moments * trained}
    parts["average"] = 4 * trained if averaged else 0
    listed = ", ".join(f"{name} {amount(size)}" for name, size in parts.items() if size)
    yield f"memory for each device: {amount(sum(parts.values()))} ({listed}), and what the pictures take"
    size = sizes(total, trained, averaged)
    yield f"disk: {recipe.save.keep} checkpoints of {amount(size['checkpoint'])} and a model of {amount(size['model'])}"


def peak(device: torch.device) -> int | None:
    """Peak memory in bytes; None if the system does not report it."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    if importlib.util.find_spec("resource") is None:
        return None
    resource = importlib.import_module("resource")
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
