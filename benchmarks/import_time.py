"""The time the pack adds to ComfyUI's start: seconds to import it after ComfyUI, by package.

python -m benchmarks.import_time --times 5
"""

from __future__ import annotations

import argparse
import re
import statistics
import subprocess
import sys
from collections import Counter

from tools.comfyui.server import ROOT, get_comfyui

STARTED = "the pack starts here"
CODE = f"""
import importlib.util, sys
sys.path[0] = sys.argv[1]
from comfy.cli_args import args
args.cpu = True
import comfy.sd, comfy_api.latest, latent_preview, nodes
sys.stderr.write("{STARTED}\\n")
path = sys.argv[2]
spec = importlib.util.spec_from_file_location("pack", path + "/__init__.py", submodule_search_locations=[path])
pack = sys.modules["pack"] = importlib.util.module_from_spec(spec)
spec.loader.exec_module(pack)
"""
ROW = re.compile(r"import time:\s+(\d+) \|\s+\d+ \|\s+(\S+)")


def measured() -> Counter[str]:
    """Milliseconds that each module takes by itself."""
    asked = [sys.executable, "-X", "importtime", "-c", CODE, str(get_comfyui()), str(ROOT)]
    said = subprocess.run(asked, cwd=get_comfyui(), capture_output=True, text=True, check=True).stderr
    return Counter({name: int(own) / 1000 for own, name in ROW.findall(said.partition(STARTED)[2])})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--times", type=int, default=5)
    runs = [measured() for _ in range(parser.parse_args().times)]
    totals = [sum(run.values()) / 1000 for run in runs]
    print(f"{statistics.median(totals):.3f} s (from {min(totals):.3f} to {max(totals):.3f}), of which")
    best = runs[totals.index(min(totals))]
    for name, own in best.most_common(12):
        print(f"{own / sum(best.values()):6.1%}  {name}")


if __name__ == "__main__":
    main()
