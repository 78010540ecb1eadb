"""A clip as people make it, from portrait to pictures in the machine's memory: who waits for whom."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from joyhallo.config import FPS
from joyhallo.diffusion.schedule import Schedule
from joyhallo.methods.hallo.sampling import animate

from ..denoise import random_inputs
from .bench import Bench
from .pixels import codec
from .scene import network, settings_of


def parts(bench: Bench) -> dict[str, Callable[[], dict[str, Any]]]:
    made: dict[str, Callable[[], dict[str, Any]]] = {}
    for side in bench.scale.sides:
        made[f"{side}"] = lambda side=side: whole(bench, side)
    made["waits"] = lambda: waits(bench, bench.scale.sides[-1])
    return made


@dataclass
class Timed:
    """A codec that tells how long the device took for it: it waits, so shares are told, not rates."""

    bench: Bench
    inner: Any
    spent: dict[str, float] = field(default_factory=dict)

    def _timed(self, name: str, given: Tensor) -> Tensor:
        self.bench.clock.wait()
        began = time.perf_counter()
        found = getattr(self.inner, name)(given)
        self.bench.clock.wait()
        self.spent[name] = self.spent.get(name, 0.0) + time.perf_counter() - began
        return found

    def encode(self, pixels: Tensor) -> Tensor:
        return self._timed("encode", pixels)

    def decode(self, latents: Tensor) -> Tensor:
        return self._timed("decode", latents)


@torch.inference_mode()
def _run(bench: Bench, side: int, made: Any, on_step: Callable[[Any], None] | None = None) -> dict[str, float]:
    """Seconds of all, and until each chunk's pictures are here."""
    scale, settings = bench.scale, settings_of(bench, steps=bench.scale.steps)
    portrait, windows = random_inputs(scale.config, side, scale.chunks * scale.frames)
    net, began, moved = network(bench, bench.half), time.perf_counter(), 0.0
    given = net, made, Schedule(), portrait, windows, settings
    for chunk in animate(*given, device=bench.device, dtype=bench.half, on_step=on_step):
        before = time.perf_counter()
        chunk.frames.mul(255).byte().cpu()
        moved += time.perf_counter() - before
    bench.clock.wait()
    return {"seconds": time.perf_counter() - began, "moved_s": moved}


def whole(bench: Bench, side: int) -> dict[str, Any]:
    _run(bench, side, codec(bench))  # warms up
    alone, watched = _run(bench, side, codec(bench)), Timed(bench, codec(bench))
    _run(bench, side, watched)
    frames = bench.scale.chunks * bench.scale.frames
    shares = {f"{name}_share": spent / alone["seconds"] for name, spent in watched.spent.items()}
    told = {"frames": frames, "steps": bench.scale.steps, "frames_per_s": frames / alone["seconds"]}
    return {**told, **alone, **shares, "seconds_a_second": alone["seconds"] * FPS / frames}


def waits(bench: Bench, side: int) -> dict[str, Any]:
    """How often the machine waits for the device, or copies what it must wait for, and where."""
    bench.only_on("cuda", "a warning when the machine waits")
    network(bench, bench.half)
    steps = bench.scale.chunks * bench.scale.steps
    with warned() as seen:
        _run(bench, side, codec(bench))
    places: dict[str, int] = {}
    for one in seen:
        place = f"{'/'.join(one.filename.replace(chr(92), '/').split('/')[-3:])}:{one.lineno}"
        places[place] = places.get(place, 0) + 1
    return {"waits": len(seen), "waits_a_step": len(seen) / steps, "places": places}


@contextmanager
def warned() -> Iterator[list[Any]]:
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode("warn")
        try:
            yield seen
        finally:
            torch.cuda.set_sync_debug_mode("default")
            seen[:] = [one for one in seen if "synchronizing" in str(one.message)]
