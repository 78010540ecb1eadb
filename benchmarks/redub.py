"""What redubbing with Wav2Lip costs, the network and all around it.

    python -m benchmarks.redub [--side 512] [--seconds 4] [--memory 10 60 600] [--landmarker TASK] [--json]

A film of drawn people, whose heads are half as high as the picture, is redubbed to the bundled speech with seeded
weights of the published sizes. Told are, for a frame: CPU milliseconds of decoding, tracking (with MediaPipe, if its
face landmarker is given), cutting and pasting, and the lossless file, the least of five turns; frames a second of the
whole and of the network alone; and our network's time against that of the same weights in plain torch layers, with
their norms and in torch's usual order of memory. `--memory` measures the peak for films of so many seconds, each in a
process of its own, with a network that copies: the real one needs the same for every chunk, and hours for ten minutes
on a CPU.
"""

from __future__ import annotations

import argparse
import json
import math
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import astuple, replace
from fractions import Fraction
from functools import cache
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from joyhallo.config import FPS
from joyhallo.drawn.drawing import Look, Pose, Sitter
from joyhallo.faces.blend import Blend
from joyhallo.faces.find import FaceMesh
from joyhallo.faces.finders import Landmarker, mesh_box
from joyhallo.faces.track import Track
from joyhallo.faces.tracking import track
from joyhallo.files.checkpoint import Checkpoint
from joyhallo.film.ahead import read_ahead, write_behind
from joyhallo.film.lengths import in_order, places
from joyhallo.film.read import Film
from joyhallo.film.write import COPY, write
from joyhallo.methods.redub import Engine, Redubber, Wishes, placed, redub
from joyhallo.methods.script import script
from joyhallo.methods.wav2lip.checkpoint import published, without_norms
from joyhallo.methods.wav2lip.method import Wav2Lip, redubber
from joyhallo.methods.wav2lip.network import Generator
from joyhallo.sound.audio import Recording, prepare, read

SPEECH = Path(__file__).resolve().parents[1] / "demo_model" / "speech.wav"
SHAPES = 25  # pictures that differ
TURNS = 5  # of which the least counts: other work on the machine only adds


# ---- the film


def pictures(side: int, count: int) -> Iterator[np.ndarray]:
    """A drawn person who looks about and speaks; the same pictures again and again."""
    return islice(cycle(_drawn(side)), count)


@cache
def _drawn(side: int) -> list[np.ndarray]:
    return [Sitter(Look(), side).picture(pose) for pose in _poses()]


def _poses() -> list[Pose]:
    turns = np.linspace(0, 2 * np.pi, SHAPES, endpoint=False).tolist()
    return [
        Pose(x=0.02 * math.sin(turn), y=0.01 * math.cos(turn), opening=0.5 + 0.5 * math.sin(turn)) for turn in turns
    ]


def known_track(side: int, count: int) -> Track:
    meshes = np.stack([Sitter(Look(), side).mesh(pose) for pose in _poses()]).astype(np.float32)
    boxes = np.array([astuple(mesh_box(mesh)) for mesh in meshes], np.float32)
    shown = np.arange(count) % SHAPES
    return Track(boxes[shown], meshes[shown], np.ones(count, np.float32), "mesh", (side, side), Fraction(FPS))


def speech(seconds: float) -> Recording:
    samples, rate = read(SPEECH)
    wanted = round(seconds * rate)
    return prepare(samples.repeat(1, -(-wanted // samples.shape[-1]))[..., :wanted], rate)


def film(folder: Path, side: int, count: int) -> Path:
    """As people have them: H.264 in an mp4."""
    path = folder / f"{side}_{count}.mp4"
    batches = (torch.tensor(picture)[None] for picture in pictures(side, count))
    return path if path.exists() else write(path, batches, FPS)


# ---- networks


def weights() -> dict[str, Tensor]:
    torch.manual_seed(0)
    shapes = published(Generator)
    spread = {key: (2 / math.prod(shape[1:])) ** 0.5 for key, shape in shapes.items() if len(shape) > 1}
    return {
        key: torch.empty(shape).normal_(std=spread[key]) if key in spread else torch.rand(shape) * 0.2 + 0.9
        for key, shape in shapes.items()
    }


def plain(state: dict[str, Tensor]) -> nn.Module:
    """The same network as published: each block with its BatchNorm."""
    network = Generator()
    for module in list(network.modules()):
        if hasattr(module, "conv_block"):
            module.conv_block.append(nn.BatchNorm2d(module.conv_block[0].out_channels))
    network.load_state_dict(state, strict=False)
    return network.eval()


class Copying:
    """Instead of the network, where nothing but memory counts."""

    size = 96

    def __call__(self, heard: Tensor, faces: Tensor, strength: float) -> Tensor:
        return faces[:, 3:] * 1.0


# ---- what is measured


def frames_of(
    method: Redubber, path: Path, along: Track, heard: Recording, device: torch.device | str = "cpu"
) -> tuple[int, Iterator[Tensor]]:
    """Everything but the file."""
    windows, crops = method.listen(heard, along.rate), method.crops(along)
    shown = places(len(along), len(windows), "loop", "cut")
    acted = script(shown, crops.usable, along.cuts, len(windows))
    source = Film(path)
    coming = in_order(lambda start: map(torch.from_numpy, source.pictures_from(start, along.rate)), shown)
    chunks = redub(method, read_ahead(coming, 32), crops, windows, acted, device=device)
    return len(acted), (placed(chunk, crops, acted, Blend()).cpu() for chunk in chunks)


def whole(
    method: Redubber, path: Path, along: Track, heard: Recording, target: Path, device: torch.device | str = "cpu"
) -> int:
    count, coming = frames_of(method, path, along, heard, device)
    write_behind(lambda batches: write(target, batches, FPS, (heard.samples[None], 16_000), COPY), coming, 2)
    return count


def spent(work: Callable[[], object]) -> tuple[float, float]:
    """Seconds of CPU, and by the clock."""
    cpu, clock = time.process_time(), time.perf_counter()
    work()
    return time.process_time() - cpu, time.perf_counter() - clock


def exhausted(coming: Iterable[Any]) -> None:
    for _ in coming:
        pass


@torch.inference_mode()
def measured(side: int, seconds: float, landmarker: Path | None, folder: Path) -> dict[str, float]:
    count, heard = round(seconds * FPS), speech(seconds)
    path, along, state = film(folder, side, count), known_track(side, count), weights()
    network = Checkpoint(lambda ops: Generator(96, ops), state, without_norms).build()
    method = redubber(Engine(network), 32, Wishes(cover_tail=True))
    copying = replace(method, network=Copying())
    everything = [torch.tensor(picture) for picture in pictures(side, count)]
    crops, numbers = method.crops(along), list(range(count))
    faces = crops.cut(torch.stack(everything[: method.at_once]), numbers[: method.at_once])
    windows = method.listen(heard, along.rate)[: len(faces)]
    method.speak(faces, windows, lambda *_: None)
    found = around(path, everything, landmarker, lambda: exhausted(frames_of(copying, path, along, heard)[1]), folder)
    _, alone = spent(lambda: [method.speak(faces, windows, lambda *_: None) for _ in range(3)])
    (folder / "film.mkv").unlink(missing_ok=True)
    _, clock = spent(lambda: whole(method, path, along, heard, folder / "film.mkv"))
    found |= {"network_fps": 3 * len(faces) / alone, "whole_fps": count / clock}
    found["whole_to_network"] = found["whole_fps"] / found["network_fps"]
    return found | {"network_to_plain": against_plain(network, state)}


def around(
    path: Path, pictures: list[Tensor], landmarker: Path | None, pasting: Callable[[], None], folder: Path
) -> dict[str, float]:
    """CPU milliseconds for a frame of all but the network. What is done once, not for each frame, comes before.

    pasting: decodes, cuts and pastes.
    """
    targets = (folder / f"around_{turn}.mkv" for turn in range(TURNS))
    parts: dict[str, Callable[[], object]] = {
        "decode": lambda: exhausted(Film(path).pictures(FPS)),
        "paste": pasting,
        "encode": lambda: write(next(targets), (one[None] for one in pictures), FPS, None, COPY),
    }
    if landmarker is not None:
        finder = Landmarker(FaceMesh(landmarker))
        parts["track"] = lambda: track((one.numpy() for one in pictures), finder, Fraction(FPS))
        track([pictures[0].numpy()], finder, Fraction(FPS))
    least = {name: min(spent(work)[0] for _ in range(TURNS)) for name, work in parts.items()}
    least["paste"] -= least["decode"]
    found = {f"{name}_ms": 1000 * cpu / len(pictures) for name, cpu in least.items()}
    return found | {"around_ms": sum(found.values())}


def against_plain(network: nn.Module, state: dict[str, Tensor]) -> float:
    """The time of ours over that of plain layers, the better of three turns each."""
    other, heard, faces = plain(state), torch.rand(16, 1, 80, 16), torch.rand(16, 6, 96, 96)
    mine = faces.to(memory_format=torch.channels_last)
    times: list[tuple[float, float]] = []
    for _ in range(4):
        times.append((spent(lambda: network(heard, mine))[0], spent(lambda: other(heard, faces))[0]))
    ours, theirs = (min(part) for part in zip(*times[1:], strict=True))
    return ours / theirs


@torch.inference_mode()
def peak(seconds: float, side: int, folder: Path) -> float:
    """Bytes, beside what the film's sound takes."""
    count, heard = round(seconds * FPS), speech(seconds)
    path = film(folder, side, count)
    method = Wav2Lip(Copying(), 96, 32, wishes=Wishes(cover_tail=True))
    whole(method, path, known_track(side, count), heard, folder / f"film_{seconds:g}.mkv")
    told = Path("/proc/self/status").read_text().partition("VmHWM:")[2]  # getrusage tells the parent's, if that is more
    return 1024.0 * int(told.split()[0])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--side", type=int, default=512)
    parser.add_argument("--seconds", type=float, default=4)
    parser.add_argument("--memory", type=float, nargs="*", default=[])
    parser.add_argument("--landmarker", type=Path)
    parser.add_argument("--peak", type=float, help=argparse.SUPPRESS)
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        if asked.peak:
            print(peak(asked.peak, asked.side, folder))
            return
        found = measured(asked.side, asked.seconds, asked.landmarker, folder)
    for seconds in asked.memory:
        command = [sys.executable, "-m", "benchmarks.redub", "--side", str(asked.side), "--peak", str(seconds)]
        told = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        found[f"peak_{seconds:g}_s_mb"] = float(told) / 1e6
    rounded = {name: round(value, 3) for name, value in found.items()}
    print(json.dumps(rounded) if asked.json else "\n".join(f"{name}: {value}" for name, value in rounded.items()))


if __name__ == "__main__":
    main()
