"""LatentSync and MuseTalk against the code of their authors, with the same seeded weights, on a CPU.

    python -m benchmarks.redub_methods --latentsync CHECKOUT --musetalk CHECKOUT --json

A checkout is a folder with the original's code, which is run as it is: in full precision, with a drawn person's face
told instead of found, and with frames and sound from memory. Files of video, of pictures and of sound are left out on
both sides. Told are, for either method: how far apart both sides are; CPU seconds of the network (LatentSync: both rows
of guidance for a window; MuseTalk: a batch), and of everything from frames and sound to frames, in turns; and what is
counted at the published sizes in half precision: TFLOP, and the most bytes alive at once beside weights. Three numbers
are the least, the median and the most of all turns.

`--channels 320 640 1280 1280 --size 128 --only step` measures the network at its published width.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from . import latentsync, musetalk
from .measuring import SOUND

MEASURED = ("step", "whole", "counted")


def of_latentsync(asked: argparse.Namespace) -> dict[str, Callable[[], Any]]:
    latentsync.open_original(asked.latentsync)
    both = latentsync.Both(asked.latentsync, tuple(asked.channels), asked.size, asked.steps)
    return {
        "step": lambda: both.step(asked.window, asked.turns),
        "whole": lambda: both.whole(asked.picture, asked.frames, asked.turns),
        "counted": lambda: [latentsync.counted(asked.latentsync, size) for size in (256, 512)],
    }


def of_musetalk(asked: argparse.Namespace) -> dict[str, Callable[[], Any]]:
    musetalk.open_original(asked.musetalk)
    both = musetalk.Both(asked.musetalk, musetalk.Sizes(tuple(asked.channels), sound=SOUND))
    return {
        "step": lambda: both.step(musetalk.AT_ONCE, asked.turns),
        "whole": lambda: both.whole(asked.picture, asked.frames, asked.turns),
        "counted": lambda: musetalk.counted(musetalk.Sizes()),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--latentsync", type=Path, metavar="CHECKOUT", help=f"of {latentsync.ADDRESS}")
    parser.add_argument("--musetalk", type=Path, metavar="CHECKOUT", help=f"of {musetalk.ADDRESS}")
    parser.add_argument("--only", nargs="+", choices=MEASURED, default=MEASURED)
    parser.add_argument("--channels", type=int, nargs=4, default=[32, 64, 64, 64], help="of each level of the UNets")
    parser.add_argument("--size", type=int, default=256, help="of LatentSync's faces, in pixels")
    parser.add_argument("--window", type=int, default=latentsync.FRAMES, help="frames of LatentSync's step")
    parser.add_argument("--steps", type=int, default=20, help="of LatentSync, in the whole")
    parser.add_argument("--picture", type=int, default=512, help="side of the film, in pixels")
    parser.add_argument("--frames", type=int, default=32, help="of the film")
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", action="store_true", help="a line of JSON for each row")
    asked = parser.parse_args()
    if not (asked.latentsync or asked.musetalk):
        parser.error("there is nothing to compare with; give --latentsync or --musetalk, a checkout of the original.")
    torch.set_num_threads(asked.threads)
    for name, measures in (("latentsync", of_latentsync), ("musetalk", of_musetalk)):
        if getattr(asked, name):
            tell(name, measures(asked), asked)


def tell(name: str, measures: dict[str, Callable[[], Any]], asked: argparse.Namespace) -> None:
    with torch.inference_mode():
        for what in asked.only:
            row = {"method": name, "measured": what, "found": measures[what]()}
            print(json.dumps(row) if asked.json else json.dumps(row, indent=2), flush=True)


if __name__ == "__main__":
    main()
