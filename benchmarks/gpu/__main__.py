"""Everything that is to be known of a graphics card, in minutes, on a machine with nothing but torch and this folder.

    python -m benchmarks.gpu --all --json FILE.json
    python -m benchmarks.gpu --only rates steps memory --json FILE.json
    python -m benchmarks.gpu --all --cpu --json FILE.json

Each block runs in a process beside this one, so that whatever fails, hangs or dies costs nothing but itself. FILE is
written anew after every part, and the last lines are a table of all targets beside their figures. Weights are seeded
and drawn on the device. --cpu measures as little as can be, on a processor, to see that the command itself works.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

from .plan import BLOCKS, Block
from .report import Report
from .supervisor import GRACE, supervise
from .targets import SIDES, table

SMALL_SIDES = (32,)  # of scale.TINY, which would import torch


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--all", action="store_true", help="every block, in the order of its worth")
    which.add_argument(
        "--only",
        nargs="+",
        metavar="BLOCK",
        help=f"of {', '.join(block.name for block in BLOCKS)}; or one's own, as module:function",
    )
    which.add_argument("--table", type=Path, metavar="FILE", help="show the table of an earlier run")
    parser.add_argument("--json", type=Path, default=Path("gpu.json"), metavar="FILE")
    parser.add_argument("--minutes", type=float, default=8.0, help="after which it ends with what it has")
    parser.add_argument("--device", help="cuda (ROCm's, too), xpu, mps or cpu; the best there is, if not given")
    parser.add_argument("--cpu", action="store_true", help="on a processor, with sizes as small as can be")
    parser.add_argument("--original", type=Path, metavar="CHECKOUT", help="of github.com/jdh-algo/JoyHallo")
    parser.add_argument("--recorded", type=Path, nargs="+", default=[], metavar="FOLDER", help="more recorded cases")
    parser.add_argument(
        "--comfyui", type=Path, metavar="FOLDER", help="a tree of ComfyUI, to measure the nodes' layers"
    )
    parser.add_argument("--grace", type=float, default=GRACE, help="seconds after its time until a block is stopped")
    asked = parser.parse_args()
    if asked.table:
        print(shown(json.loads(asked.table.read_text(encoding="utf-8"))))
        return
    try:
        blocks = list(BLOCKS) if asked.all else [Block.named(name) for name in asked.only]
    except ValueError as error:
        parser.error(str(error))
    report = Report(asked.json, blocks, {"command": sys.argv[1:], "began": time.strftime("%Y-%m-%d %H:%M:%S")})
    run(report, asked)
    print(shown(json.loads(asked.json.read_text(encoding="utf-8"))))


def run(report: Report, asked: argparse.Namespace) -> None:
    began = time.time()
    options: dict[str, Any] = {
        "device": "cpu" if asked.cpu else asked.device,
        "tiny": asked.cpu,
        "original": str(asked.original.resolve()) if asked.original else None,
        "comfyui": str(asked.comfyui.resolve()) if asked.comfyui else None,
        "recorded": [str(folder.resolve()) for folder in asked.recorded],
    }
    report.about["small"] = asked.cpu
    report.write()  # a file that cannot be written is known at once
    try:
        supervise(report, options, began + 60 * asked.minutes, lambda line: print(line, flush=True), asked.grace)
    finally:
        report.about["seconds"] = round(time.time() - began, 1)
        report.write()


def shown(told: dict[str, Any]) -> str:
    about, blocks = told["about"], told["blocks"]
    failed = [f"{block}/{part}" for block, parts in blocks.items() for part, one in parts.items() if "failed" in one]
    lines = [table(blocks, SMALL_SIDES if about.get("small") else SIDES)]
    if "failed" in about:
        lines.append(str(about["failed"]))
    if failed:
        lines.append(f"Failed: {', '.join(failed)}; why is told in the JSON.")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
