"""Make the bundled small model from scratch: `make demo-model`.

It takes hours on a CPU. Finished parts are kept in build/demo_model, and the same command resumes from there.
"""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from ..comfyui.server import ROOT
from . import bundle

WORK = ROOT / "build" / "demo_model"


@dataclass(frozen=True)
class Plan:
    """The amounts of data and training, as arguments of the commands."""

    people: tuple[str, ...] = ("--people", "200", "--others", "20", "--clips", "4")
    hearing: tuple[str, ...] = ()
    decoder_steps: str = "1500"
    outcomes: tuple[str, ...] = ()
    retouching_steps: str = "5000"  # of the decoder in all, the last of them on what the networks leave
    training: tuple[str, ...] = ()  # name=value, beside what the recipes say


def make(plan: Plan, work: Path = WORK, folder: Path = bundle.FOLDER) -> None:
    dataset, encoder, codec, runs = (work / name for name in ("dataset", "wav2vec2", "vae.safetensors", "runs"))
    drawn = ("joyhallo.drawn.synthesize", "-o", dataset, *plan.people)
    if not codec.exists():  # later on the pictures are there, and drawing them alone would drop what was made of them
        run(*drawn)
    if not (encoder / "hearing.json").exists():  # written last
        run("joyhallo.training.small.hearing", "-o", encoder, *plan.hearing)
    patches = ("joyhallo.training.small.patches", dataset, "-o", codec)
    run(*patches, "--steps", plan.decoder_steps)
    run(*drawn, "--speech-encoder", encoder, "--codec", codec)
    settings = (f"data.folder={dataset}", f"codec.path={codec}", f"output={runs}", *plan.training)
    train("tiny1", *settings)
    train("tiny2", *settings, f"start.weights={runs / 'tiny1' / 'model.safetensors'}")
    net, outcomes = runs / "tiny2" / "model.safetensors", work / "outcomes.safetensors"
    if not outcomes.exists():
        run("tools.demo_model.outcomes", net, codec, encoder, "-o", outcomes, *plan.outcomes)
    run(
        "joyhallo.training.small.patches",
        dataset,
        "-o",
        codec,
        "--steps",
        plan.retouching_steps,
        "--outcomes",
        outcomes,
    )
    bundle.write(net, codec, encoder, folder)


def train(recipe: str, *settings: str) -> None:
    run("joyhallo.training", recipe, *(word for setting in settings for word in ("--set", setting)))


def run(module: str, *arguments: str | Path) -> None:
    print(f"--- {module}", flush=True)
    subprocess.run([sys.executable, "-m", module, *map(str, arguments)], cwd=ROOT, check=True)


if __name__ == "__main__":
    make(Plan())
