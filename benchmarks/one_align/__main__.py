"""Whether Q-Align as we run it says what its authors' own code says, with a small model of seeded weights.

    python -m benchmarks.one_align FILM --code Q-ALIGN --python PATH

--code is a copy of github.com/Q-Future/Q-Align; --python an interpreter with transformers 4.36, torch, and what that
code imports. The film is scored by the whole command, and its pictures by the authors' scorers.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from joyhallo.evaluation import __main__ as command
from joyhallo.evaluation.one_align import SHOWN, Interpreter, OneAlign
from joyhallo.film.read import Film
from joyhallo.measures.qalign import Glances, score

ORIGINAL = Path(__file__).with_name("original.py")


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.one_align", description=__doc__)
    parser.add_argument("film", type=Path)
    parser.add_argument("--code", type=Path, required=True)
    parser.add_argument("--python", required=True)
    chosen = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        _original(chosen, folder, "model", folder / "model")
        film = Film(chosen.film)
        rate, frames = float(film.facts.rate), np.stack(list(film.pictures()))
        np.savez(folder / "film.npz", frames=frames, fps=rate)
        theirs = json.loads(_original(chosen, folder, "scores", folder / "model", folder / "film.npz"))
        glances = Glances(rate)
        glances.see(torch.from_numpy(frames))
        asked = OneAlign(Interpreter(chosen.python, "cpu"), folder / "model")
        with np.load(folder / "pixels.npz") as kept:
            pixels = torch.from_numpy(kept["pixels"])
        apart = (glances.pictures.float() - pixels.float()).abs()
        levels = f"{(apart > 0.01).float().mean():.1e} of their values are a level apart"
        print(f"pictures: {levels}, none more than {apart.max():.3f}")
        for pictures, of in ((pixels, "pictures of theirs"), (glances.pictures, "pictures of ours")):
            _compare({shown: asked.look(pictures, shown).logits for shown in SHOWN}, theirs, of)
        asked.end()
        _compare_command(chosen, folder, theirs)
    return 0


def _original(chosen: argparse.Namespace, folder: Path, *wanted: str | Path) -> str:
    what, *paths = map(str, wanted)
    told = subprocess.run(
        [chosen.python, str(ORIGINAL), what, str(chosen.code.absolute()), *paths],
        cwd=folder, stdout=subprocess.PIPE, text=True, check=True, env={**os.environ, "HF_HUB_OFFLINE": "1"},
    )  # fmt: skip
    return told.stdout.strip().splitlines()[-1] if told.stdout else ""


def _compare(ours: dict[str, torch.Tensor], theirs: dict[str, Any], of: str) -> None:
    for shown, told in (("image", "image"), ("image", "image, in one batch"), ("video", "video")):
        apart = ours[shown] - torch.tensor(theirs[told]["logits"], dtype=torch.float64)
        scores = score(ours[shown]) - torch.tensor(theirs[told]["scores"], dtype=torch.float64)
        print(f"{of}, {told}: logits {apart.abs().max():.1e} apart, scores {scores.abs().max():.1e}")


def _compare_command(chosen: argparse.Namespace, folder: Path, theirs: dict[str, Any]) -> None:
    given = ["--qalign-python", chosen.python, "--qalign-model", str(folder / "model"), "--qalign-device", "cpu"]
    code = command.main([str(chosen.film), "--metrics", "iqa,vqa", *given, "-o", str(folder / "out")])
    (clip,) = json.loads((folder / "out" / "results.json").read_text())["clips"]
    expected = {"iqa": float(np.mean(theirs["image"]["scores"])), "vqa": theirs["video"]["scores"][0]}
    for name, value in expected.items():
        print(f"the command's {name} (exit code {code}): {abs(clip['values'][name] - value):.1e} apart")


if __name__ == "__main__":
    sys.exit(main())
