"""The small model that comes with the nodes, made from nothing: `make demo-model`.

It takes hours on a processor. What was finished is kept in build/demo_model, and the same command goes on from there.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from . import bundle
from .comfyui import ROOT

WORK = ROOT / "build" / "demo_model"
DATASET, ENCODER, CODEC, RUNS = (WORK / name for name in ("dataset", "wav2vec2", "vae.safetensors", "runs"))
PEOPLE = ("--people", "200", "--others", "20", "--clips", "4")
DECODER_STEPS = "4000"
SETTINGS = (f"data.folder={DATASET}", f"codec.path={CODEC}", f"output={RUNS}")


def main() -> None:
    drawn = ("joyhallo.training.synthesize", "-o", DATASET, *PEOPLE)
    run(*drawn)
    run("joyhallo.training.hearing", "-o", ENCODER)
    run("joyhallo.training.patches", DATASET, "-o", CODEC, "--steps", DECODER_STEPS)
    run(*drawn, "--speech-encoder", ENCODER, "--codec", CODEC)
    train("tiny1")
    train("tiny2", f"start.weights={RUNS / 'tiny1' / 'model.safetensors'}")
    bundle.write(RUNS / "tiny2" / "model.safetensors", CODEC, ENCODER)


def train(recipe: str, *settings: str) -> None:
    run("joyhallo.training", recipe, *(word for setting in (*SETTINGS, *settings) for word in ("--set", setting)))


def run(module: str, *arguments: str | Path) -> None:
    print(f"--- {module}", flush=True)
    subprocess.run([sys.executable, "-m", module, *map(str, arguments)], cwd=ROOT, check=True)


if __name__ == "__main__":
    main()
