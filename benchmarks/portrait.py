"""The time to prepare a portrait, cold and warm, to import our own modules, and to paste frames back.

    python -m benchmarks.portrait [--models FOLDER --task FILE --picture FILE] [--side 1024]

Without model files, stand-ins with their signatures take their place: loading and inference are then faster than the
real ones, everything else is the same. Prints one line of JSON.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image

REPOSITORY = Path(__file__).resolve().parents[1]
MODULES = ("boxes", "config", "masks", "framing", "faces", "sampling", "portrait", "overlay")
FRAMES = 16


def import_seconds(module: str, repeat: int = 3) -> float:
    """Import time in a fresh process, without torch and numpy; the best of a few."""
    code = (
        "import time, torch, numpy; start = time.perf_counter(); "
        f"import joyhallo.{module}; print(time.perf_counter() - start)"
    )
    command = [sys.executable, "-c", code]
    runs = [subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=True) for _ in range(repeat)]
    return min(float(run.stdout) for run in runs)


def stand_ins(folder: Path) -> Path:
    sys.path.insert(0, str(REPOSITORY / "tests" / "helpers"))
    from face_models import write_models

    return write_models(folder)


def dotted(side: int) -> tuple[np.ndarray, np.ndarray]:
    """A picture in which the stand-in sees a face, and the face's mesh."""
    from joyhallo.faces.regions import LIPS

    picture = np.random.default_rng(0).integers(100, 140, (side, side, 1), dtype=np.uint8).repeat(3, 2)
    center, half = side // 2, side // 32
    picture[center - half : center + half, center - half : center + half] = (0, 255, 0)
    angles = np.linspace(0, 2 * np.pi, 478)
    mesh = center + side / 8 * np.stack([np.cos(angles), np.sin(angles)], 1)
    mesh[list(LIPS)] = center + (mesh[list(LIPS)] - center) / 4
    return picture, mesh


def measure(arguments: argparse.Namespace, models: Path) -> dict[str, float]:
    """Measure in this process, which must be fresh: the first preparation loads libraries and models."""
    from joyhallo.faces.crops import paste
    from joyhallo.faces.find import FaceMesh, InsightFace
    from joyhallo.methods.hallo.overlay import overlay
    from joyhallo.methods.hallo.portrait import Finders, Wishes, prepare

    picture, mesh = dotted(arguments.side)
    image = Image.open(arguments.picture) if arguments.picture else picture
    wishes = Wishes() if arguments.task else Wishes(mesh=mesh)

    start = time.perf_counter()
    finders = Finders(InsightFace(models), FaceMesh(arguments.task) if arguments.task else None)
    found = prepare(image, finders, wishes)
    assert found.portrait.masks  # made when it is asked for
    figures = {"cold_seconds": time.perf_counter() - start}
    figures["warm_seconds"] = median_seconds(lambda: prepare(image, finders, wishes).portrait)
    figures["masks_alone_seconds"] = median_seconds(
        lambda: prepare(picture, None, Wishes(mesh=mesh, identity="neutral")).portrait
    )
    figures["overlay_seconds"] = median_seconds(lambda: overlay(found))
    frames = torch.rand(FRAMES, 3, 512, 512)
    pasting = median_seconds(lambda: paste(frames, found.picture, found.crop))
    return {**figures, "paste_frames_per_second": FRAMES / pasting}


def median_seconds(function, repeat: int = 5) -> float:
    taken = []
    for _ in range(repeat):
        start = time.perf_counter()
        function()
        taken.append(time.perf_counter() - start)
    return statistics.median(taken)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=Path, help="folder of the antelopev2 files")
    parser.add_argument("--task", type=Path, help="MediaPipe's face landmarker")
    parser.add_argument("--picture", type=Path, help="of someone, for the real models")
    parser.add_argument("--side", type=int, default=1024, help="of the stand-in picture, in pixels")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        models = arguments.models or stand_ins(Path(folder))
        figures = measure(arguments, models)
    figures |= {f"import_{module}_seconds": import_seconds(module) for module in MODULES}
    rounded = {name: round(value, 4) for name, value in figures.items()}
    print(json.dumps({"side": arguments.side, "stand_ins": arguments.models is None, **rounded}))


if __name__ == "__main__":
    main()
