"""The time to prepare data, per minute of video, with one worker and with several.

    python -m benchmarks.preparation [--videos 6] [--seconds 10] [--side 360] [--size 256] [--workers 1 2] [--latents]
    python -m benchmarks.preparation --synthetic

The videos are made here: a portrait drawn anew for each, who speaks. The face models cannot be had everywhere, so a
stand-in that knows where the face is takes their place (MediaPipe's takes about 4 ms for each frame); all else is what
users run: decoding, cropping, encoding, sound, speech features by the small wav2vec2 that comes along. With --synthetic
the figure is that of drawing and speaking. Workers are processes; the time to start them is told apart from their work.
Prints one line of JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from joyhallo.data import prepare as preparing
from joyhallo.data.dataset import Record
from joyhallo.data.models import Models
from joyhallo.data.prepare import Shares
from joyhallo.drawn import synthesize as drawing
from joyhallo.drawn.drawing import Pose, Sitter, look_of
from joyhallo.faces.boxes import Box, Picture, Points
from joyhallo.faces.find import FaceError, Finders, outline_box
from joyhallo.film.write import write

REPOSITORY = Path(__file__).resolve().parents[1]
MODELS = REPOSITORY / "demo_model"
FPS, RATE = 30, 44_100  # of the videos: others than the model's
MESH = "JOYHALLO_BENCHMARK_SIDE"


class Standing:
    """A landmarker that knows where drawn people are, and looks at the picture no longer than it must."""

    def __init__(self, side: int):
        self.mesh_there = Sitter(look_of(np.random.default_rng(0)), side).mesh()

    def anywhere(self, picture: Picture) -> list[Points]:
        return [self.mesh_there]

    def mesh(self, picture: Picture, box: Box) -> Points:
        if outline_box(self.mesh_there).overlap(box) < 0.2:
            raise FaceError("nobody is there")
        return self.mesh_there


def finders() -> Finders:
    return Finders(None, Standing(int(os.environ[MESH])))  # pyright: ignore[reportArgumentType]


def film(path: Path, number: int, seconds: float, side: int) -> None:
    sitter, count = Sitter(look_of(np.random.default_rng(number)), side), round(seconds * FPS)
    openings = 0.5 - 0.5 * np.cos(np.arange(count) / FPS * 2 * np.pi * 3)
    frames = (torch.tensor(sitter.picture(Pose(float(each)))[None]).float() / 255 for each in openings)
    times = torch.arange(round(seconds * RATE)) / RATE
    sound = 0.2 * torch.sin(2 * torch.pi * 200 * times) * (0.5 + 0.5 * torch.sin(2 * torch.pi * 3 * times))
    write(path, frames, FPS, (sound[None], RATE))


def timed(run: Callable[[Path, Callable[[int, int, Record], None]], list[Record]]) -> dict[str, float]:
    """Seconds per minute of video: in all, from the first finished clip to the last (without the start), and of CPU
    time on all cores."""
    done: list[tuple[float, Record]] = []
    with tempfile.TemporaryDirectory() as folder:
        began, worked = time.perf_counter(), at_work()
        records = run(Path(folder), lambda *told: done.append((time.perf_counter(), told[2])))
        seconds, worked = time.perf_counter() - began, at_work() - worked
    assert all(record.status == "ok" for record in records), [record.reason for record in records]
    minutes = sum(record.length for record in records) / 25 / 60
    going = sum(record.length for _, record in done[1:]) / 25 / 60
    without_start = (done[-1][0] - done[0][0]) / going
    return {"all": round(seconds / minutes, 2), "going": round(without_start, 2), "cpu": round(worked / minutes, 2)}


def at_work() -> float:
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def prepared(videos: Path, arguments: argparse.Namespace, workers: int) -> dict[str, float]:
    codec = str(MODELS / "vae.safetensors") if arguments.latents else None
    models = Models(encoder=str(MODELS / "wav2vec2"), finders="benchmarks.preparation:finders", codec=codec)
    settings = preparing.Settings(size=arguments.size, identity="colours")
    return timed(lambda root, told: preparing.prepare([videos], root, models, settings, Shares(workers=workers), told))


def synthesized(arguments: argparse.Namespace, workers: int) -> dict[str, float]:
    settings = drawing.Settings(people=arguments.videos, others=0, clips=2, seconds=arguments.seconds)
    return timed(lambda root, told: drawing.synthesize(root, settings, Models(), workers, told))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--videos", type=int, default=6)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--side", type=int, default=360, help="pixels of the videos")
    parser.add_argument("--size", type=int, default=256, help="pixels of the clips")
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--latents", action="store_true", help="of each frame, by the small autoencoder")
    parser.add_argument("--synthetic", action="store_true")
    arguments = parser.parse_args()
    os.environ[MESH] = str(arguments.side)
    torch.set_num_threads(1)
    figures: dict[str, object] = {"cores": os.cpu_count()}
    with tempfile.TemporaryDirectory() as folder:
        videos = Path(folder)
        for number in range(0 if arguments.synthetic else arguments.videos):
            film(videos / f"{number}.mp4", number, arguments.seconds, arguments.side)
        for workers in arguments.workers:
            print(f"{workers} workers ...", file=sys.stderr)
            measure = synthesized(arguments, workers) if arguments.synthetic else prepared(videos, arguments, workers)
            figures[f"seconds_per_minute_{workers}"] = measure
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
