"""How long does the device wait for the file? A chunk's frames are measured, pasted and encoded beside the next one.

    python -m benchmarks.behind --side 1024 --device-seconds 2 --json

Chunks of 16 frames of 512 px come from a stand-in for a device that takes some seconds for each: it sleeps, as a
graphics card leaves the processor alone, or with --busy it multiplies matrices on all cores, as where the processor
itself is the device. `in_turn` are the seconds a chunk if one thread does everything but encode, `beside` those with
the work handed over, as nodes do; `file` is what is done with a chunk beside the device.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from joyhallo.faces.boxes import Box
from joyhallo.faces.crops import Crop, cut, paste
from joyhallo.film.ahead import Behind
from joyhallo.film.write import COPY, write
from joyhallo.methods.hallo.steadiness import DriftMeter

FRAMES, SIZE, PASTED = 16, 512, 4 << 20


class Bench:
    def __init__(self, side: int):
        edge = side // 32
        self.crop = Crop((side, side), Box(edge, edge, side - edge, side - edge), (SIZE, SIZE))
        self.picture = np.array(Image.effect_noise((side, side), 20).convert("RGB"))
        still = torch.from_numpy(cut(self.picture, self.crop))[None].movedim(3, 1) / 255
        still = F.interpolate(still, (SIZE, SIZE), mode="bilinear", antialias=True)[0]
        self.frames = torch.stack([still.roll(number, 2) for number in range(FRAMES)])

    def placed(self, meter: DriftMeter, frames: Tensor) -> Iterator[Tensor]:
        meter(frames)
        for some in frames.split(max(1, PASTED // self.picture[..., 0].size)):
            yield paste(some, self.picture, self.crop).movedim(1, -1)

    def seconds(self, chunks: int, device: Callable[[], object], beside: bool) -> float:
        """For each chunk."""
        meter = DriftMeter(torch.ones(SIZE, SIZE), torch.ones(SIZE, SIZE))
        with tempfile.TemporaryDirectory() as folder, torch.inference_mode():

            def to_file(pictures: Iterator[Tensor]) -> None:
                with torch.inference_mode():
                    write(Path(folder, "film.mkv"), pictures, 25, format=COPY)

            begun = time.perf_counter()
            with Behind(to_file, 1 if beside else 2, lambda each: self.placed(meter, each) if beside else [each]) as it:
                for _ in range(chunks):
                    device()
                    for each in [self.frames] if beside else self.placed(meter, self.frames):
                        it.put(each)
            return (time.perf_counter() - begun) / chunks


def busy(seconds: float) -> Callable[[], object]:
    """Matrix products that take about so long on this machine where nothing else is done."""
    a = torch.rand(1024, 1024)
    begun = time.perf_counter()
    for _ in range(20):
        torch.mm(a, a)
    count = round(seconds / (time.perf_counter() - begun) * 20)
    return lambda: [torch.mm(a, a) for _ in range(count)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--side", type=int, default=1024, help="of the picture, in pixels")
    parser.add_argument("--device-seconds", type=float, default=2.0, help="that the device takes for a chunk")
    parser.add_argument("--busy", action="store_true", help="the processor is the device")
    parser.add_argument("--chunks", type=int, default=6)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    bench, seconds = Bench(arguments.side), arguments.device_seconds
    device = busy(seconds) if arguments.busy else lambda: time.sleep(seconds)
    bench.seconds(1, lambda: None, True)  # warms up
    figures = {
        "side": arguments.side,
        "device": seconds,
        "file": bench.seconds(arguments.chunks, lambda: None, True),
        "in_turn": bench.seconds(arguments.chunks, device, False),
        "beside": bench.seconds(arguments.chunks, device, True),
    }
    shown = {name: round(value, 2) for name, value in figures.items()}
    print(json.dumps(shown) if arguments.json else "  ".join(f"{name} {value}" for name, value in shown.items()))


if __name__ == "__main__":
    main()
