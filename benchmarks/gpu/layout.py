"""The order of memory of maps and weights, for each kind of part and for a step."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from .bench import Bench
from .kinds import kinds
from .scene import scene
from .ways import LAYOUTS, layout


def parts(bench: Bench) -> dict[str, Callable[[], dict[str, Any]]]:
    side = bench.scale.sides[0]
    made: dict[str, Callable[[], dict[str, Any]]] = {f"step {side}": lambda: step(bench, side)}
    if not bench.small:
        made["parts"] = lambda: each(bench, side)
    made["search"] = lambda: searched(bench, side)
    return made


@contextmanager
def weights_in(module: nn.Module, order: torch.memory_format) -> Iterator[None]:
    """Only for as long as it takes: others want them as they were."""
    found = [tensor for tensor in module.parameters() if tensor.ndim == 4]
    before = [tensor.data for tensor in found]
    try:
        for tensor in found:
            tensor.data = tensor.data.contiguous(memory_format=order)
        yield
    finally:
        for tensor, data in zip(found, before, strict=True):
            tensor.data = data


@torch.inference_mode()
def step(bench: Bench, side: int) -> dict[str, Any]:
    made, found = scene(bench, side), {}
    found["as it is"] = bench.clock(made.step, 0.7).figures
    for maps in LAYOUTS:
        for weights, order in list(LAYOUTS.items())[: 1 if bench.small else None]:
            with layout(maps), weights_in(made.net, order):
                found[f"maps {maps}, weights {weights}"] = bench.clock(made.step, 0.7).figures
    best = min(found, key=lambda name: found[name]["ms"])
    return {"best": best, "gain": 1 - found[best]["ms"] / found["as it is"]["ms"], **found}


def _ordered(given: tuple[Any, ...], order: torch.memory_format) -> list[Any]:
    maps = (isinstance(part, Tensor) and part.ndim == 4 for part in given[:1])
    return [given[0].contiguous(memory_format=order) if any(maps) else given[0], *given[1:]]


@torch.inference_mode()
def each(bench: Bench, side: int) -> dict[str, Any]:
    found = {}
    for kind in kinds(bench, side):
        times = {}
        for maps, order in LAYOUTS.items():
            given = _ordered(kind.given, order)
            with layout(maps), weights_in(kind.module, order):
                times[f"{maps}_ms"] = bench.clock(lambda kind=kind, given=given: kind.module(*given), 0.3).ms
        found[kind.name] = times
    return found


@torch.inference_mode()
def searched(bench: Bench, side: int) -> dict[str, Any]:
    """cuDNN tries its convolutions and keeps the quickest."""
    bench.only_on("cuda", "a search among convolutions")
    made, before = scene(bench, side), torch.backends.cudnn.benchmark
    usual = bench.clock(made.step, 0.7).figures
    torch.backends.cudnn.benchmark = True
    try:
        found = bench.clock(made.step, 0.7).figures
    finally:
        torch.backends.cudnn.benchmark = before
    return {"usual_ms": usual["ms"], "gain": 1 - found["ms"] / usual["ms"], **found}
