"""What each group of measures costs: seconds of processor for a minute of film.

    python -m benchmarks.evaluation FILM --landmarker face_landmarker.task [--weights FOLDER]

Time of the processor, by one thread, so that other work beside it hardly counts. Loading networks is left out: each
group is run on the film twice, the first time unmeasured.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import torch

from joyhallo.evaluation.clips import Clip
from joyhallo.evaluation.examine import PANELS
from joyhallo.evaluation.panel import Asked
from joyhallo.evaluation.showing import Finding, Showing
from joyhallo.measures.judges import judges_in
from joyhallo.measures.table import MEASURES

FINDING = "finding the face"
GROUPS = {
    FINDING: ("face_seen",),
    "our lip reader": ("lip_sync",),
    "SyncNet": ("sync_c",),
    "mouth and sound, by meshes": ("opening_follows",),
    "flicker": ("flicker",),
    "smoothness without a network": ("smooth_linear",),
    "subject (DINO)": ("subject",),
    "background (CLIP)": ("background",),
    "smoothness (AMT-S)": ("smoothness",),
    "drift": ("drift",),
    "PSNR and SSIM": ("psnr", "ssim"),
    "LMD and AKD": ("lmd",),
    "Inception, for FID": ("fid",),
}


def cost(clip: Clip, asked: Asked) -> float:
    """Seconds of processor; a face is found beforehand, unless that is what is measured."""
    panels = [panel for panel in PANELS if panel.wanted(asked)]
    spent = 0.0
    for _ in range(2):  # networks are loaded in the first one
        with tempfile.TemporaryDirectory() as kept:
            showing = Showing(clip, asked.finding, Path(kept))
            if asked.names != GROUPS[FINDING]:
                _ = showing.track, showing.truth.track
            begin = time.process_time()
            for panel in panels:
                panel.find(showing, asked, panel.wanted(asked))
            spent = time.process_time() - begin
    return spent


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.evaluation", description=__doc__)
    parser.add_argument("film", type=Path)
    parser.add_argument("--landmarker", type=Path, required=True)
    parser.add_argument("--weights", type=Path, action="append", default=[])
    chosen = parser.parse_args(arguments)
    torch.set_num_threads(1)
    weights = judges_in(chosen.weights)
    clip = Clip(chosen.film.name, chosen.film, truth=chosen.film, other=chosen.film)
    finding = Finding(str(chosen.landmarker.absolute()))
    seconds = Showing(clip, finding, Path()).film.facts.seconds
    for group, names in GROUPS.items():
        if any(MEASURES[name].judge not in ("", *weights) for name in names):
            continue
        spent = cost(clip, Asked(names, weights, finding)) * 60 / seconds
        sys.stdout.write(f"{group:<32}{spent:>8.1f} s for a minute of film\n")
        sys.stdout.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main())
