"""Guided steps at full size: time, work, host time; in other shapes; and against the same step written plainly."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import torch

from joyhallo.methods.hallo.sampling import Stage

from ..denoise import counted_step
from .bench import DTYPES, Bench, away
from .scene import scene


def parts(bench: Bench) -> dict[str, Callable[[], dict[str, Any]]]:
    made: dict[str, Callable[[], dict[str, Any]]] = {}
    for side in bench.scale.sides:
        made[f"{side}"] = lambda side=side: whole(bench, side, bench.half)
        made[f"{side} against plain"] = lambda side=side: against_plain(bench, side)
    for side in bench.scale.sides:
        made[f"{side}, host"] = lambda side=side: host(bench, side)
        made[f"{side}, rows apart"] = lambda side=side: shaped(bench, side, rows_together=False)
        made[f"{side}, one row"] = lambda side=side: shaped(bench, side, guidance=1.0)
        made[f"{side}, deep layers reused"] = lambda side=side: cheap(bench, side)
    for name in () if bench.small else ("bf16", "fp32"):
        for side in bench.scale.sides:
            made[f"{side} {name}"] = lambda side=side, name=name: whole(bench, side, DTYPES[name])
    return made


counted = cache(counted_step)


def _timed(bench: Bench, work: Callable[[], object]) -> dict[str, Any]:
    with torch.inference_mode():
        return bench.clock(work).figures


def whole(bench: Bench, side: int, dtype: torch.dtype) -> dict[str, Any]:
    made = scene(bench, side, dtype=dtype)
    figures = _timed(bench, made.step)
    tflop = counted(bench.scale.config, side, made.settings)
    finite = bool(made.both().isfinite().all())
    return {"tflop": tflop, "tflops": 1e3 * tflop / figures["ms"], "finite": finite, "dtype": str(dtype), **figures}


@torch.inference_mode()
def against_plain(bench: Bench, side: int) -> dict[str, Any]:
    """In turns, so that a card that grows warm is as warm for both."""
    made = scene(bench, side)
    apart = away(made.both(), made.plain())
    turns = [(bench.clock(made.step, 1.0).ms, bench.clock(made.plain, 1.0).ms) for _ in range(1 if bench.small else 2)]
    ours, plain = (min(side) for side in zip(*turns, strict=True))
    return {"ms": ours, "plain_ms": plain, "plain_to_ours": plain / ours, "apart": apart}


@torch.inference_mode()
def host(bench: Bench, side: int) -> dict[str, Any]:
    """How long the machine takes to ask for a step: below the device's time it is hidden."""
    made = scene(bench, side)
    asked, bare = bench.clock.host(made.step), bench.clock.host(made.bare)
    return {"step_ms": bench.clock(made.step, 1.0).ms, "asked_ms": asked, "network_asked_ms": bare}


def shaped(bench: Bench, side: int, **changes: Any) -> dict[str, Any]:
    return _timed(bench, scene(bench, side, **changes).step)


@torch.inference_mode()
def cheap(bench: Bench, side: int) -> dict[str, Any]:
    made = scene(bench, side, reuse=2)
    deep = made.step()[1]
    return bench.clock(lambda: made.step(Stage(full=False), deep)).figures
