"""What the nodes add to the bare engine: the same step with ComfyUI's layers and attention, which manage memory."""

from __future__ import annotations

import importlib
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from joyhallo.methods.hallo.networks.net import Net

from .bench import Bench, Unavailable, away, drawn
from .scene import Scene, scene

REPOSITORY = Path(__file__).resolve().parents[2]
PACK = "joyhallo_measured"  # as ComfyUI does, under a name of its own


def parts(bench: Bench) -> dict[str, Callable[[], dict[str, Any]]]:
    made: dict[str, Callable[[], dict[str, Any]]] = {}
    for side in bench.scale.sides:
        made[f"step {side}"] = lambda side=side: step(bench, side)
    if not bench.small:
        made[f"step {bench.scale.sides[0]}, 8-bit weights"] = lambda: step(bench, bench.scale.sides[0], "fp8_e4m3fn")
    return made


def adapter(bench: Bench) -> Any:
    """nodes/comfy_adapter.py, without the other nodes and what these need."""
    if bench.comfyui is None:
        raise Unavailable("no tree of ComfyUI was given (--comfyui FOLDER)")
    if not (bench.comfyui / "comfy" / "ops.py").is_file():
        raise Unavailable(f"{bench.comfyui} is no tree of ComfyUI: it has no comfy/ops.py")
    if str(bench.comfyui) not in sys.path:
        sys.path.insert(0, str(bench.comfyui))
    if bench.device.type == "cpu":
        importlib.import_module("comfy.cli_args").args.cpu = True
    for name, folder in ((PACK, REPOSITORY), (f"{PACK}.nodes", REPOSITORY / "nodes")):
        package = types.ModuleType(name)
        package.__path__ = [str(folder)]
        sys.modules.setdefault(name, package)
    return importlib.import_module(f"{PACK}.nodes.comfy_adapter")


def step(bench: Bench, side: int, weights: str = "") -> dict[str, Any]:
    """In turns with the bare engine. Weights stay on the device, as where memory suffices."""
    found = adapter(bench)
    kind = weights or {torch.float16: "fp16", torch.float32: "fp32"}[bench.half]
    precision = found.Precision(found.WEIGHTS[kind], bench.half)
    with torch.inference_mode():
        bare = scene(bench, side)
        net = drawn(lambda: Net(bench.scale.config, found.comfy_ops(precision)), bench.device, bench.half)
        if weights:
            net = net.to(precision.weights)
        made = Scene.of(net, side, bare.settings, bench.device, bench.half)
        apart = away(made.both(), bare.both())
        turns = [
            (bench.clock(bare.step, 1.0).ms, bench.clock(made.step, 1.0).ms) for _ in range(1 if bench.small else 2)
        ]
        asked = bench.clock.host(bare.step), bench.clock.host(made.step)
    ours, theirs = (min(side) for side in zip(*turns, strict=True))
    told = {"bare_ms": ours, "nodes_ms": theirs, "overhead": theirs / ours - 1, "apart": apart}
    return {**told, "bare_asked_ms": asked[0], "nodes_asked_ms": asked[1], "attention": _attention()}


def _attention() -> str:
    return importlib.import_module("comfy.ldm.modules.attention").optimized_attention.__name__
