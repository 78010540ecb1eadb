"""What torch.compile gains and costs: for each kind of part, and for a step whose parts are all compiled."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import torch
import torch._dynamo
from torch import Tensor

from joyhallo.diffusion.networks.blocks import at_once
from joyhallo.diffusion.networks.compiled import INDUCTOR, Compiled, CompileError, check

from .bench import Bench, Unavailable, away
from .kinds import KINDS, kinds
from .scene import scene


def parts(bench: Bench) -> dict[str, Callable[[], dict[str, Any]]]:
    side = bench.scale.sides[0]
    names = [f"{kind}, level {level}" for level in bench.scale.levels for kind in KINDS]
    names = names[:1] if bench.small else names
    made: dict[str, Callable[[], dict[str, Any]]] = {
        name: lambda number=number: alone(bench, side, number) for number, name in enumerate(names)
    }
    made["graph breaks"] = lambda: breaks(bench, side)
    if not bench.small:
        made[f"step {side}"] = lambda: step(bench, side)
    return made


def compiler(bench: Bench) -> str:
    """On a processor only the tracing is tried, which takes seconds."""
    backend = "eager" if bench.device.type == "cpu" else INDUCTOR
    try:
        check(bench.device, backend)
    except CompileError as error:
        raise Unavailable(str(error)) from error
    return backend


@torch.inference_mode()
def alone(bench: Bench, side: int, number: int) -> dict[str, Any]:
    backend = compiler(bench)
    kind = kinds(bench, side)[number]
    made = Compiled(backend)(kind.module)
    began = time.perf_counter()
    first = made(*kind.given)
    bench.clock.wait()
    spent = time.perf_counter() - began
    eager, mine = bench.clock(kind, 0.5), bench.clock(lambda: made(*kind.given), 0.5)
    found = {"eager_ms": eager.ms, "compiled_ms": mine.ms, "gain": 1 - mine.ms / eager.ms, "compile_s": spent}
    return {**found, "apart": away(first, kind()), "backend": backend}


@torch.no_grad()
def breaks(bench: Bench, side: int) -> dict[str, Any]:
    """Traced, not compiled: where the graph of each part would break, and why."""
    found = {}
    for kind in kinds(bench, side)[: 1 if bench.small else None]:
        told = torch._dynamo.explain(kind.module)(*(t.clone() if isinstance(t, Tensor) else t for t in kind.given))
        reasons = [str(one.reason)[:200] for one in told.break_reasons]
        found[kind.name] = {"graphs": told.graph_count, "breaks": told.graph_break_count, "reasons": reasons}
    return {"breaks": sum(one["breaks"] for one in found.values()), "parts": found}


@torch.inference_mode()
def step(bench: Bench, side: int) -> dict[str, Any]:
    """As the node makes it: all parts compiled, those that are alike together."""
    made, backend = scene(bench, side), compiler(bench)
    before, eager = made.both(), bench.clock(made.step, 1.0)
    began = time.perf_counter()
    made.sampler.run = Compiled(backend)
    try:
        after = made.both()
        bench.clock.wait()
        spent = time.perf_counter() - began
        mine = bench.clock(made.step, 1.0)
    finally:
        made.sampler.run = at_once
    found = {"eager_ms": eager.ms, "compiled_ms": mine.ms, "gain": 1 - mine.ms / eager.ms, "compile_s": spent}
    return {**found, "apart": away(after, before), "saved_after_steps": _steps(spent, eager.ms - mine.ms)}


def _steps(seconds: float, gained_ms: float) -> float | None:
    """After which the start has paid; None: never."""
    return 1e3 * seconds / gained_ms if gained_ms > 0 else None
