"""What the card and its software are, and how they behave where that decides what pays."""

from __future__ import annotations

import importlib.util
import os
import platform
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch.nn import functional as F

from .bench import Bench, Unavailable

TOLD = ("name", "total_memory", "multi_processor_count", "L2_cache_size", "major", "minor", "gcnArchName")
PACKAGES = ("triton", "xformers", "diffusers", "accelerate", "bitsandbytes", "av", "safetensors", "sageattention")
ASKED = (
    "name,driver_version,clocks.sm,clocks.mem,clocks.max.sm,power.limit,temperature.gpu,memory.used,"
    "pcie.link.gen.current"
)


def parts(bench: Bench) -> dict[str, Callable[[], dict[str, Any]]]:
    return {
        "device": lambda: device(bench),
        "software": software,
        "state": state,
        "norm": lambda: norm(bench),
        "commit": commit,
    }


def device(bench: Bench) -> dict[str, Any]:
    if bench.device.type != "cuda":
        return {"name": f"{bench.device.type}, {platform.processor()}", "threads": torch.get_num_threads()}
    facts = torch.cuda.get_device_properties(bench.device)
    free, _ = torch.cuda.mem_get_info()
    return {name: getattr(facts, name) for name in TOLD if hasattr(facts, name)} | {"free_memory": free}


def software() -> dict[str, Any]:
    order = getattr(torch._C, "_get_sdp_priority_order", None)
    cuda = torch.backends.cuda
    built = ("flash", "mem_efficient", "cudnn", "math")
    return {
        "torch": torch.__version__,
        "cuda": torch.version.cuda,
        "hip": torch.version.hip,
        "cudnn": torch.backends.cudnn.version(),
        "python": platform.python_version(),
        "system": platform.platform(),
        "cores": os.cpu_count(),
        "packages": [name for name in PACKAGES if importlib.util.find_spec(name) is not None],
        "attention_order": list(order()) if order else None,
        "attention_on": [name for name in built if getattr(cuda, f"{name}_sdp_enabled", lambda: False)()],
        "flash_built": getattr(cuda, "is_flash_attention_available", lambda: None)(),
        "cudnn_benchmark": torch.backends.cudnn.benchmark,
    }


def state() -> dict[str, Any]:
    """As it is found: nothing is set."""
    if shutil.which("nvidia-smi") is None:
        raise Unavailable("there is no nvidia-smi to ask")
    command = ["nvidia-smi", f"--query-gpu={ASKED}", "--format=csv,noheader"]
    told = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True).stdout
    return dict(zip(ASKED.split(","), (word.strip() for word in told.splitlines()[0].split(",")), strict=False))


def norm(bench: Bench) -> dict[str, Any]:
    """Whether a group norm and a convolution keep the order of memory in which the channels come last."""
    last = torch.channels_last
    x = torch.randn(2, 64, 16, 16, device=bench.device, dtype=bench.half).to(memory_format=last)
    weight = torch.randn(64, 64, 3, 3, device=bench.device, dtype=bench.half)
    made = {"group_norm": F.group_norm(x, 8), "convolution": F.conv2d(x, weight, padding=1)}
    return {f"{name}_keeps_channels_last": y.is_contiguous(memory_format=last) for name, y in made.items()}


def commit() -> dict[str, Any]:
    if shutil.which("git") is None:
        raise Unavailable("there is no git to ask")
    asked = ["git", "describe", "--always", "--dirty"]
    told = subprocess.run(asked, capture_output=True, text=True, timeout=20, cwd=Path(__file__).parent)
    if told.returncode:
        raise Unavailable("this is no checkout")
    return {"commit": told.stdout.strip()}
