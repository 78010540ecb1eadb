"""Ceilings of the card, against which all else is held: products, attention, memory, and ways to and from it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from .bench import DTYPES, Bench, full_precision

HEAD = 128  # numbers of a head that fills what flash attention works on
HEADS, BATCH = 16, 2
WIDTH, WIDTHS = 320, (320, 960, 2560)  # in and out of the finest level's layers


def parts(bench: Bench) -> dict[str, Callable[[], dict[str, Any]]]:
    made = {f"product {name}": lambda dtype=dtype: product(bench, dtype) for name, dtype in DTYPES.items()}
    made["product tf32"] = lambda: shortened(bench)
    made |= {f"attention {name}": lambda dtype=DTYPES[name]: attention(bench, dtype) for name in ("fp16", "bf16")}
    made |= {f"layer {WIDTH} to {wide}": lambda wide=wide: layer(bench, wide) for wide in WIDTHS}
    made["memory"] = lambda: memory(bench)
    made["launches"] = lambda: launches(bench)
    for name, pinned in (("pinned", True), ("pageable", False)):
        made[f"to the device, {name}"] = lambda pinned=pinned: moved(bench, pinned, there=True)
        made[f"from the device, {name}"] = lambda pinned=pinned: moved(bench, pinned, there=False)
    return made


def drawn(bench: Bench, *shape: int, dtype: torch.dtype) -> Tensor:
    """Never zeros: some products of these are faster."""
    return torch.randn(shape, device=bench.device, dtype=dtype)


def timed(bench: Bench, work: Callable[[], object], flop: float) -> dict[str, Any]:
    figures = bench.clock(work, 1.0).figures
    return {"tflops": flop / figures["ms"] / 1e9, **figures}


def product(bench: Bench, dtype: torch.dtype) -> dict[str, Any]:
    side = bench.scale.side // (1 if dtype.itemsize < 4 else 2)
    a, b = (drawn(bench, side, side, dtype=dtype) for _ in range(2))
    with full_precision():
        return timed(bench, lambda: a @ b, 2 * side**3)


def shortened(bench: Bench) -> dict[str, Any]:
    bench.only_on("cuda", "single precision with a short mantissa")
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high")
    try:
        a, b = (drawn(bench, bench.scale.side // 2, bench.scale.side // 2, dtype=torch.float32) for _ in range(2))
        return timed(bench, lambda: a @ b, 2 * len(a) ** 3)
    finally:
        torch.set_float32_matmul_precision(before)


def attention(bench: Bench, dtype: torch.dtype) -> dict[str, Any]:
    keys = bench.scale.keys
    q, k, v = (drawn(bench, BATCH, HEADS, keys, HEAD, dtype=dtype) for _ in range(3))
    return timed(bench, lambda: F.scaled_dot_product_attention(q, k, v), 4 * BATCH * HEADS * keys**2 * HEAD)


def layer(bench: Bench, wide: int) -> dict[str, Any]:
    x, weight = (drawn(bench, rows, WIDTH, dtype=bench.half) for rows in (bench.scale.rows, wide))
    return timed(bench, lambda: F.linear(x, weight), 2 * len(x) * WIDTH * wide)


def memory(bench: Bench) -> dict[str, Any]:
    source = drawn(bench, bench.scale.copied // 4, dtype=torch.float32)
    target = torch.empty_like(source)
    figures = bench.clock(lambda: target.copy_(source), 1.0).figures
    return {"tb_per_s": 2 * source.numel() * 4 / figures["ms"] / 1e9, **figures}


def launches(bench: Bench) -> dict[str, Any]:
    """Microseconds that the machine takes to ask for something that takes the device no time."""
    x, many = torch.ones(1, device=bench.device), 20 if bench.small else 1000

    def work() -> None:
        for _ in range(many):
            x.add_(1)

    return {"host_us": 1e3 * bench.clock.host(work) / many, "device_us": 1e3 * bench.clock(work, 0.5).ms / many}


def moved(bench: Bench, pinned: bool, there: bool) -> dict[str, Any]:
    if pinned:
        bench.only_on("cuda", "memory that the device reads by itself")
    here = torch.randn(bench.scale.moved // 4, pin_memory=pinned)
    far = here.to(bench.device, copy=True)
    source, target = (here, far) if there else (far, here)
    figures = bench.clock(lambda: target.copy_(source, non_blocking=pinned), 1.0).figures
    return {"gb_per_s": here.numel() * 4 / figures["ms"] / 1e6, **figures}
