"""A ComfyUI whose optional libraries are broken, and which was started with rare flags: neither has to do with the
other, and a server that starts costs as much as dozens of tests."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import soundfile

from joyhallo.config import SAMPLE_RATE
from tools.comfyui.server import Server
from tools.demo import prepare

FLAGS = ("--fp16-unet", "--fp32-text-enc", "--cache-none", "--disable-metadata")
BROKEN = {
    "insightface": "raise ImportError('libinsight.so.1: cannot open shared object file')",
    "mediapipe": "raise OSError('[WinError 1114] a dynamic link library routine failed')",
    "onnxruntime": "raise ImportError('DLL load failed while importing onnxruntime_pybind11_state')",
    "sitecustomize": "import sys; sys.modules['soxr'] = None",  # not installed at all
}
MODEL_FILES = (
    "face_analysis/scrfd_10g_bnkps.onnx",
    "face_analysis/glintr100.onnx",
    "audio_separator/Kim_Vocal_2.onnx",
)


def crippled_server(tree: Path, base: Path, libraries: Path) -> Server:
    """With empty files for the models that need those libraries, and a recording that needs none, `heard.wav`."""
    prepare(base)
    noise = np.random.default_rng(1).normal(0, 0.1, 9_600)
    soundfile.write(base / "input" / "heard.wav", noise, SAMPLE_RATE)
    for name in MODEL_FILES:
        path = base / "models" / "joyhallo" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    for name, text in BROKEN.items():
        (libraries / f"{name}.py").write_text(text)
    return Server(base, ("--cpu", *FLAGS), tree=tree, environment={"PYTHONPATH": str(libraries)})
