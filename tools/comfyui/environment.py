"""Let the registry's torchvision and torchaudio, built for CUDA, be imported beside a PyTorch that is not.

ComfyUI imports both. `make` runs this in its own virtual environment, after it installed them without what they ask
for. An environment in which they can be imported is left as it is.
"""

from __future__ import annotations

import subprocess
import sys
import sysconfig
from pathlib import Path

# Without its compiled library torchvision lacks these operators, and its import ends where it describes them.
OPERATORS = """import torch as _torch

_torch.library.define("torchvision::nms", "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
_torch.library.define("torchvision::qnms", "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")

"""


def mend(packages: Path) -> None:
    if "torchvision::nms" in trouble("torchvision"):
        describing = packages / "torchvision" / "_meta_registrations.py"
        describing.write_text(OPERATORS + describing.read_text(encoding="utf-8"), encoding="utf-8")
    if ".so" in trouble("torchaudio"):  # it does without libraries that are missing, but not without broken ones
        for broken in (packages / "torchaudio" / "lib").glob("*.so"):
            broken.unlink()
    for module in ("torchvision", "torchaudio"):
        if found := trouble(module):
            sys.exit(f"{module} cannot be imported, and ComfyUI needs it:\n{found}")


def trouble(module: str) -> str:
    """The error of importing a module; empty if it succeeds."""
    tried = subprocess.run([sys.executable, "-c", f"import {module}"], capture_output=True, text=True, check=False)
    return tried.stderr[-2000:] if tried.returncode else ""


if __name__ == "__main__":
    mend(Path(sysconfig.get_paths()["purelib"]))
