"""A step that the device replays from a recording, without being asked for each launch."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import torch

from .bench import Bench, away
from .scene import scene

WARM = 3


def parts(bench: Bench) -> dict[str, Callable[[], dict[str, Any]]]:
    return {f"step {side}": lambda side=side: replayed(bench, side) for side in reversed(bench.scale.sides)}


@torch.inference_mode()
def replayed(bench: Bench, side: int) -> dict[str, Any]:
    bench.only_on("cuda", "recorded launches")
    work = scene(bench, side).bare
    expected, eager = work(), bench.clock(work, 1.0)
    aside = torch.cuda.Stream()
    aside.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(aside):
        for _ in range(WARM):
            work()
    torch.cuda.current_stream().wait_stream(aside)
    before = torch.cuda.memory_reserved()
    began = time.perf_counter()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        made = work()
    bench.clock.wait()
    spent, held = time.perf_counter() - began, torch.cuda.memory_reserved() - before
    graph.replay()
    apart = away(made, expected)
    mine, asked = bench.clock(graph.replay, 1.0), bench.clock.host(graph.replay)
    found = {"eager_ms": eager.ms, "replayed_ms": mine.ms, "gain": 1 - mine.ms / eager.ms, "recording_s": spent}
    return {**found, "asked_ms": asked, "held_gb": held / 1e9, "apart": apart}
