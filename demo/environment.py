"""Let the registry's torchvision and torchaudio, which are built for CUDA, be imported beside a PyTorch without it.

ComfyUI needs both. Run by `make` in its own virtual environment, after installing them without their dependencies; an
environment in which they can be imported is left alone.
"""

from __future__ import annotations

import subprocess
import sys
import sysconfig
from pathlib import Path

# Without its compiled library torchvision lacks these operators, and its import stops where it describes them.
OPERATORS = """import torch as _torch

_torch.library.define("torchvision::nms", "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
_torch.library.define("torchvision::qnms", "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")

"""


def importable(module: str) -> bool:
    return subprocess.run([sys.executable, "-c", f"import {module}"], capture_output=True, check=False).returncode == 0


def mend() -> None:
    packages = Path(sysconfig.get_paths()["purelib"])
    if not importable("torchvision"):
        described = packages / "torchvision" / "_meta_registrations.py"
        described.write_text(OPERATORS + described.read_text())
    if not importable("torchaudio"):  # it does without libraries that are missing, but not without broken ones
        for broken in (packages / "torchaudio" / "lib").glob("*.so"):
            broken.unlink()
    for module in ("torchvision", "torchaudio"):
        if not importable(module):
            sys.exit(f"{module} cannot be imported, and ComfyUI needs it.")


if __name__ == "__main__":
    mend()
