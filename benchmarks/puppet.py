"""How fast a puppet speaks, and how much memory it takes.

    python -m benchmarks.puppet [--sides 512 1080] [--seconds 4] [--threads 2]

A drawn person, whose head fills more than half of the picture, says a sentence. For each side of the picture: frames a
second of the movement alone, and with the lossless file, which another thread writes as in a run in ComfyUI; the ratio
to reading the moving window once, which is the least that any such method has to do; the time to the first frame; and
the peak of memory for a film six times as long, against the short one. Prints one line of JSON for each side.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import cache, partial
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from joyhallo.config import FPS
from joyhallo.drawn.drawing import Look, Sitter
from joyhallo.faces.boxes import Points
from joyhallo.film.ahead import Behind
from joyhallo.film.write import COPY, as_floats, write
from joyhallo.methods.puppet.face import Features
from joyhallo.methods.puppet.hearing import Articulation, listen, open_ear
from joyhallo.methods.puppet.perform import Direction, Spoken, at_once, perform, placed, poses
from joyhallo.methods.puppet.render import Puppet
from joyhallo.sound.audio import prepare, read

SPEECH = Path(__file__).resolve().parents[1] / "demo_model" / "speech.wav"
LONGER = 6


def heard(seconds: float) -> tuple[Articulation, float]:
    """The bundled sentence again and again, and how many times faster than it lasts it was heard."""
    samples, rate = read(SPEECH)
    wanted = round(seconds * rate)
    sound = prepare(samples.repeat(1, -(-wanted // samples.shape[-1]))[..., :wanted], rate)
    ear = open_ear()
    listen(ear, sound)
    began = time.perf_counter()
    told = listen(ear, sound)
    return told, seconds / (time.perf_counter() - began)


@cache
def picture(side: int) -> tuple[Tensor, Points]:
    sitter = Sitter(Look(), side)
    return torch.from_numpy(sitter.picture().copy()), sitter.mesh()


Place = Callable[[Spoken], Iterator[Tensor]]


def show(side: int, told: Articulation) -> tuple[Puppet, Iterator[Spoken], Place]:
    still, mesh = picture(side)
    puppet = Puppet(as_floats(still).permute(2, 0, 1), Features.of_mesh(mesh))
    return puppet, perform(puppet, poses(told, Direction())), partial(placed, puppet, still)


def film(side: int, told: Articulation) -> Iterator[Tensor]:
    _, chunks, place = show(side, told)
    return (pictures for chunk in chunks for pictures in place(chunk))


def rate(frames: Iterator[Tensor]) -> float:
    began, count = time.perf_counter(), 0
    for pictures in frames:
        count += len(pictures)
    return count / (time.perf_counter() - began)


def reading(puppet: Puppet) -> float:
    """Frames a second of one linear reading of the window."""
    count = at_once(puppet)
    rows, columns = puppet.window.shape
    y, x = torch.meshgrid(torch.linspace(-1, 1, rows), torch.linspace(-1, 1, columns), indexing="ij")
    grid = torch.stack([x, y], dim=-1).expand(count, -1, -1, -1).contiguous() * 0.99
    texture = puppet.still[None].expand(count, -1, -1, -1)

    def times(repeat: int) -> Iterator[Tensor]:
        for _ in range(repeat):
            yield F.grid_sample(texture, grid, align_corners=True)

    rate(times(2))
    return rate(times(10))


def written(side: int, told: Articulation) -> float:
    """Frames a second of a whole run."""
    with tempfile.TemporaryDirectory() as folder:
        _, chunks, place = show(side, told)

        def to_file(pictures: Iterator[Tensor]) -> None:
            write(Path(folder, "film.mkv"), pictures, FPS, None, COPY)

        began = time.perf_counter()
        with Behind(to_file, 1, place) as behind:
            for chunk in chunks:
                behind.put(chunk)
        return len(told) / (time.perf_counter() - began)


def first_frame(side: int, told: Articulation) -> float:
    picture(side)
    began = time.perf_counter()
    next(film(side, told))
    return time.perf_counter() - began


def peak(side: int, seconds: float) -> int:
    """Bytes of a run in a process of its own."""
    code = (
        "import sys, torch; torch.set_num_threads(2); from benchmarks import puppet; "
        "puppet.rate(puppet.film(int(sys.argv[1]), puppet.heard(float(sys.argv[2]))[0])); "
        "import resource; print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
    )
    command = [sys.executable, "-c", code, str(side), str(seconds)]
    return 1024 * int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--sides", type=int, nargs="+", default=[512, 1080])
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--threads", type=int, default=2)
    chosen = parser.parse_args()
    torch.set_num_threads(chosen.threads)
    told, listening = heard(chosen.seconds)
    for side in chosen.sides:
        start = first_frame(side, told)
        puppet, *_ = show(side, told)
        moving = rate(film(side, told))
        short, long = peak(side, chosen.seconds), peak(side, LONGER * chosen.seconds)
        facts = {
            "side": side,
            "window": puppet.window.shape,
            "frames a second": round(moving, 1),
            "with the lossless file": round(written(side, told), 1),
            "time of one reading": round(moving / reading(puppet), 3),
            "seconds to the first frame": round(start, 2),
            "listening, times real time": round(listening),
            "peak MB": round(short / 1e6),
            f"peak, {LONGER} times as long": round(long / short, 3),
        }
        sys.stdout.write(json.dumps(facts) + "\n")


if __name__ == "__main__":
    main()
