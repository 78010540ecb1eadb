"""Where the time of a step goes: kernels by kind, the heaviest of them, and when the device waits."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from typing import Any

import torch

from .bench import Bench
from .scene import scene

KINDS = (  # what a kernel is called, the first that fits
    ("attention", ("flash", "fmha", "attention", "sdpa", "efficient")),
    ("convolution", ("conv", "fprop", "implicit", "winograd", "dgrad")),
    ("product", ("gemm", "cutlass", "cublas", "xmma", "matmul", "addmm", "bmm", "mm_", "::mm", "::linear", "nvjet")),
    ("norm", ("norm", "rowwisemoments", "welford")),
    ("copy", ("copy", "memcpy", "cat", "nchw", "nhwc", "transpose", "clone", "memset")),
    ("softmax", ("softmax",)),
    ("pointwise", ("elementwise", "gelu", "silu", "add", "mul", "vectorized", "triton")),
)
HEAVIEST = 15


def parts(bench: Bench) -> dict[str, Callable[[], dict[str, Any]]]:
    return {f"step {side}": lambda side=side: profiled(bench, side) for side in bench.scale.sides}


def kind_of(name: str) -> str:
    lower = name.lower()
    return next((kind for kind, words in KINDS if any(word in lower for word in words)), "other")


@torch.inference_mode()
def profiled(bench: Bench, side: int) -> dict[str, Any]:
    from torch.profiler import ProfilerActivity, profile

    made = scene(bench, side)
    made.step()
    wall = bench.clock(made.step, 0.5).ms
    on_device = bench.device.type == "cuda"
    kinds = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if on_device else [])]
    with profile(activities=kinds) as seen:
        made.step()
        bench.clock.wait()
    rows = [(row.key, row.count, _self_ms(row, on_device)) for row in seen.key_averages()]
    rows = [row for row in rows if row[2] > 0]
    return {"wall_ms": wall, "busy_ms": sum(ms for *_, ms in rows), "calls": sum(count for _, count, _ in rows)} | {
        "idle_share": max(0.0, 1 - sum(ms for *_, ms in rows) / wall),
        "kinds": grouped(rows),
        "heaviest": [[name[:120], count, ms] for name, count, ms in sorted(rows, key=lambda r: -r[2])[:HEAVIEST]],
    }


def _self_ms(row: Any, on_device: bool) -> float:
    """Of kernels alone: an operator's own time on the device is that of its kernels, told a second time."""
    if not on_device:
        return row.self_cpu_time_total / 1e3
    if "CPU" in str(getattr(row, "device_type", "")):
        return 0.0
    return getattr(row, "self_device_time_total", getattr(row, "self_cuda_time_total", 0.0)) / 1e3


def grouped(rows: list[tuple[str, int, float]]) -> dict[str, Any]:
    found: dict[str, list[float]] = defaultdict(lambda: [0, 0.0])
    for name, count, ms in rows:
        found[kind_of(name)][0] += count
        found[kind_of(name)][1] += ms
    return {
        kind: {"calls": int(count), "ms": ms} for kind, (count, ms) in sorted(found.items(), key=lambda i: -i[1][1])
    }
