"""Every shape of attention in a step, with every kernel of torch's: time, rate, error; and several frames at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from joyhallo.diffusion.codec import LATENT_SCALE
from joyhallo.methods.hallo.config import MOTION_FRAMES

from .bench import Bench, Unavailable, away
from .ways import BACKENDS, backend, missing
from .worker import attempt

Shape = tuple[int, int, int, int, int]  # batch, queries, keys, heads, numbers of a head
SHOWN = 16 << 20  # numbers of a table of scores, up to which an error is measured in full precision
GROUPS = (1, 2, 4, 8, 16)


def shapes(bench: Bench) -> dict[str, Shape]:
    scale = bench.scale
    config, frames = scale.config, scale.frames
    pixels = (scale.sides[0] // LATENT_SCALE) ** 2
    found: dict[str, Shape] = {}
    for level, channels in enumerate(config.channels[:-1]):
        here, width = pixels >> 2 * level, channels // config.heads
        found[f"own keys, level {level}"] = (frames, here, here, config.heads, width)
        found[f"shared keys, level {level}"] = (min(1 << 2 * level, frames // 2), here, 2 * here, config.heads, width)
        found[f"time, level {level}"] = (2 * here, frames + MOTION_FRAMES, frames + MOTION_FRAMES, config.heads, width)
    found["speech, level 0"] = (frames, pixels, config.audio_tokens, config.heads, config.channels[0] // config.heads)
    return found


def parts(bench: Bench) -> dict[str, Callable[[], dict[str, Any]]]:
    made: dict[str, Callable[[], dict[str, Any]]] = {}
    for name, shape in shapes(bench).items():
        made[name] = lambda shape=shape: kernels(bench, shape)
    made["groups of frames"] = lambda: groups(bench)
    return made


def drawn(bench: Bench, shape: Shape) -> list[Tensor]:
    """As our layers have them: heads side by side in memory."""
    batch, queries, keys, heads, width = shape
    sizes = (queries, keys, keys)
    flat = (torch.randn(batch, n, heads * width, device=bench.device, dtype=bench.half) for n in sizes)
    return [tensor.unflatten(-1, (heads, -1)).transpose(1, 2) for tensor in flat]


def flop(shape: Shape) -> int:
    batch, queries, keys, heads, width = shape
    return 4 * batch * heads * queries * keys * width


def kernels(bench: Bench, shape: Shape) -> dict[str, Any]:
    batch, queries, keys, heads, _ = shape
    given = drawn(bench, shape)
    first = [tensor[:1, :1] for tensor in given]
    exact = F.scaled_dot_product_attention(*(t.float() for t in first)) if queries * keys < SHOWN else None
    found: dict[str, Any] = {"shape": shape}
    for name in ("default", *BACKENDS):
        if name == "math" and 2 * batch * heads * queries * keys > 4 * bench.scale.copied:
            found[name] = {"reason": "its table of scores would be too large"}
            continue
        found[name] = attempt(lambda name=name: timed(bench, name, given, shape, exact))
    return found


@torch.inference_mode()
def timed(bench: Bench, name: str, given: list[Tensor], shape: Shape, exact: Tensor | None) -> dict[str, Any]:
    try:
        with backend(name):
            figures = bench.clock(lambda: F.scaled_dot_product_attention(*given), 0.3).figures
            made = F.scaled_dot_product_attention(*given)[:1, :1]
    except RuntimeError as error:
        if missing(error):
            raise Unavailable(str(error).splitlines()[0]) from error
        raise
    figures.pop("samples")
    error = {} if exact is None else {"apart": away(made.float(), exact)}
    moved = 2 * sum(t.numel() * t.element_size() for t in given)
    return {**figures, **error, "tflops": flop(shape) / figures["ms"] / 1e9, "gb_per_s": moved / figures["ms"] / 1e6}


@torch.inference_mode()
def groups(bench: Bench) -> dict[str, Any]:
    """As many frames as there are, so many of them at a time: how much larger calls are worth."""
    _, queries, keys, heads, width = shapes(bench)["shared keys, level 0"]
    q, k, v = drawn(bench, (bench.scale.frames, queries, keys, heads, width))

    def work(group: int) -> None:
        for some in zip(q.split(group), k.split(group), v.split(group), strict=True):
            F.scaled_dot_product_attention(*some)

    sizes = [size for size in GROUPS if size <= bench.scale.frames]
    return {f"{size}_ms": bench.clock(lambda size=size: work(size), 0.3).ms for size in sizes}
