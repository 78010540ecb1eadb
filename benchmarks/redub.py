"""What redubbing with Wav2Lip costs, the network and all around it.

    python -m benchmarks.redub [--side 512] [--seconds 4] [--memory 10 60 600] [--landmarker TASK] [--json]

A film of drawn people, whose heads are half as high as the picture, is redubbed to the bundled speech with seeded
weights of the published sizes. Told are, for a frame: CPU milliseconds of decoding, tracking (with MediaPipe, if its
face landmarker is given), cutting and pasting, and the lossless file, the least of five turns; frames a second of the
network alone and of the whole, and the CPU that each takes, in five turns of both; and our network's time against that
of the same weights in plain torch layers, with their norms and in torch's usual order of memory. `--memory` measures
the peak for films of so many seconds, each in a process of its own, with a network that copies: the real one needs the
same for every chunk, and hours for ten minutes on a CPU. What was given back counts as given back, see PLAIN_MALLOC;
`--usual-malloc` leaves glibc its own ways. `--seconds 0` measures nothing else.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import astuple, replace
from fractions import Fraction
from functools import cache
from itertools import cycle, islice, pairwise
from pathlib import Path
from typing import Any

import av
import numpy as np
import torch
from torch import Tensor, nn

from benchmarks import PLAIN_MALLOC
from joyhallo.config import FPS
from joyhallo.drawn.drawing import Look as Sitting
from joyhallo.drawn.drawing import Pose, Sitter
from joyhallo.faces.find import FaceMesh
from joyhallo.faces.finders import Landmarker, mesh_box
from joyhallo.faces.regions import FOLLOWED
from joyhallo.faces.sights import Sights
from joyhallo.faces.track import Track
from joyhallo.faces.tracking import EVERY, track
from joyhallo.files.checkpoint import Checkpoint
from joyhallo.film.ahead import Behind
from joyhallo.film.lengths import in_order
from joyhallo.film.read import Film
from joyhallo.film.write import COPY, write
from joyhallo.methods.plan import Look, Plan, plan
from joyhallo.methods.redub import Engine, Redubbed, Redubber, Wishes, redub
from joyhallo.methods.wav2lip.checkpoint import published, without_norms
from joyhallo.methods.wav2lip.method import Wav2Lip, redubber
from joyhallo.methods.wav2lip.network import Generator
from joyhallo.sound.audio import Recording, prepare, read

USUAL = Look("loop", "cut", "whole", "model", level=False)
BEHIND = 1  # chunks that wait to be written
SPEECH = Path(__file__).resolve().parents[1] / "demo_model" / "speech.wav"
SHAPES = 25  # pictures that differ
DRAWN = 10 * FPS  # pictures of a film; a longer one is made of copies
TURNS = 5  # of which the least counts: other work on the machine only adds


# ---- the film


def pictures(side: int, count: int) -> Iterator[np.ndarray]:
    """A drawn person who looks about and speaks; the same pictures again and again."""
    return islice(cycle(_drawn(side)), count)


@cache
def _drawn(side: int) -> list[np.ndarray]:
    return [Sitter(Sitting(), side).picture(pose) for pose in _poses()]


def _poses() -> list[Pose]:
    turns = np.linspace(0, 2 * np.pi, SHAPES, endpoint=False).tolist()
    return [
        Pose(x=0.02 * math.sin(turn), y=0.01 * math.cos(turn), opening=0.5 + 0.5 * math.sin(turn)) for turn in turns
    ]


def known_track(side: int, count: int, every: int = 1, kept: Sequence[int] = range(478)) -> Track:
    """every: frames from one look to the next; kept: points of the mesh"""
    meshes = np.stack([Sitter(Sitting(), side).mesh(pose) for pose in _poses()]).astype(np.float32)
    boxes = np.array([astuple(mesh_box(mesh)) for mesh in meshes], np.float32)
    looks = np.arange(0, count, every)
    points = Sights.of(meshes[:, list(kept)][looks % SHAPES], looks, count, kept)
    for before, after in pairwise(looks.tolist()):
        points.bridge(before, after)
    points.hold(int(looks[-1]), count)
    shown = np.arange(count) % SHAPES
    return Track(boxes[shown], points, np.ones(count, np.float32), "mesh", (side, side), Fraction(FPS))


def speech(seconds: float) -> Recording:
    samples, rate = read(SPEECH)
    wanted = round(seconds * rate)
    return prepare(samples.repeat(1, -(-wanted // samples.shape[-1]))[..., :wanted], rate)


def film(folder: Path, side: int, count: int) -> Path:
    """As people have them: H.264 in an mp4. A long one is a short one again and again, as drawing takes time."""
    path = folder / f"{side}_{count}.mp4"
    if path.exists():
        return path
    if count > DRAWN:
        return joined(film(folder, side, DRAWN), path, DRAWN, count)
    return write(path, (torch.tensor(picture)[None] for picture in pictures(side, count)), FPS)


def joined(short: Path, path: Path, count: int, wanted: int) -> Path:
    """The packets of a film of `count` frames, one copy after the other, until there are as many as wanted."""
    with av.open(str(path), "w") as made:
        for number in range(-(-wanted // count)):
            with av.open(str(short)) as film:
                source = film.streams.video[0]
                target = made.streams.video[0] if number else made.add_stream_from_template(source)
                for packet in islice(film.demux(source), min(count, wanted - number * count)):
                    later = round(number * count / (FPS * packet.time_base))
                    packet.pts, packet.dts, packet.stream = packet.pts + later, packet.dts + later, target
                    made.mux(packet)
    return path


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


def planned(method: Redubber, along: Track, heard: Recording) -> Plan:
    return plan(method, along, heard, along.rate, USUAL)


def chunks_of(work: Plan, path: Path, device: torch.device | str = "cpu") -> Iterator[Redubbed]:
    source = Film(path)
    coming = in_order(
        lambda start: map(torch.from_numpy, source.pictures_from(start, work.track.rate)), work.script.places
    )
    return redub(work.method, coming, work.crops, work.windows, work.script, device=device)


def whole(
    method: Redubber, path: Path, along: Track, heard: Recording, target: Path, device: torch.device | str = "cpu"
) -> int:
    """From a file to a file, as the node does it."""
    work = planned(method, along, heard)

    def to_file(pictures: Iterator[Tensor]) -> None:
        with torch.inference_mode():
            write(target, pictures, FPS, (heard.samples[None], 16_000), COPY)

    with Behind(to_file, BEHIND, work.placed) as behind:
        for chunk in chunks_of(work, path, device):
            behind.put(chunk)
    return len(work.script)


def around_network(method: Redubber, path: Path, along: Track, heard: Recording) -> None:
    """The same without its file, one after the other."""
    work = planned(method, along, heard)
    for chunk in chunks_of(work, path):
        exhausted(work.placed(chunk))


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
    found = around(path, everything, landmarker, lambda: around_network(copying, path, along, heard), folder)
    batches = max(1, round(count / len(faces)))
    targets = (folder / f"whole_{turn}.mkv" for turn in range(TURNS))
    found |= in_turns(
        lambda: [method.speak(faces, windows, lambda *_: None) for _ in range(batches)],
        batches * len(faces),
        lambda: whole(method, path, along, heard, next(targets)),
        count,
    )
    return found | {"network_to_plain": against_plain(network, state)}


def in_turns(alone: Callable[[], object], frames: int, all_of_it: Callable[[], object], count: int) -> dict[str, float]:
    """The network alone and the whole, one right after the other; medians over the turns. By the clock, and of CPU.

    frames, count: that each of them makes
    """
    times = np.array([(*spent(alone), *spent(all_of_it)) for _ in range(TURNS)]) / [frames, frames, count, count]
    shares = np.median(times[:, :2] / times[:, 2:], axis=0)
    network_cpu, network, whole_cpu, clock = np.median(times, axis=0).tolist()
    return {
        "network_fps": 1 / network,
        "whole_fps": 1 / clock,
        "whole_to_network": float(shares[1]),
        "network_cpu_ms": 1000 * network_cpu,
        "whole_cpu_ms": 1000 * whole_cpu,
        "network_of_all_cpu": float(shares[0]),
    }


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
    """Bytes of this process, in which nothing else was done. The film is there already."""
    count, heard = round(seconds * FPS), speech(seconds)
    method = Wav2Lip(Copying(), 96, 32, wishes=Wishes(cover_tail=True))
    along = known_track(side, count, EVERY, FOLLOWED)
    whole(method, film(folder, side, count), along, heard, folder / f"film_{seconds:g}.mkv")
    told = Path("/proc/self/status").read_text().partition("VmHWM:")[2]  # getrusage tells the parent's, if that is more
    return 1024.0 * int(told.split()[0])


def peak_apart(seconds: float, side: int, folder: Path, malloc: Mapping[str, str]) -> float:
    film(folder, side, round(seconds * FPS))
    command = [sys.executable, "-m", "benchmarks.redub", "--side", str(side), "--peak", str(seconds), str(folder)]
    told = subprocess.run(command, check=True, capture_output=True, text=True, env={**os.environ, **malloc})
    return float(told.stdout)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--side", type=int, default=512)
    parser.add_argument("--seconds", type=float, default=4)
    parser.add_argument("--memory", type=float, nargs="*", default=[])
    parser.add_argument("--usual-malloc", action="store_true")
    parser.add_argument("--landmarker", type=Path)
    parser.add_argument("--peak", nargs=2, help=argparse.SUPPRESS)
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    if asked.peak:
        print(peak(float(asked.peak[0]), asked.side, Path(asked.peak[1])))
        return
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        found = measured(asked.side, asked.seconds, asked.landmarker, folder) if asked.seconds else {}
        malloc = {} if asked.usual_malloc else PLAIN_MALLOC
        for seconds in asked.memory:
            found[f"peak_{seconds:g}_s_mb"] = peak_apart(seconds, asked.side, folder, malloc) / 1e6
            found[f"peak_{seconds:g}_s_without_its_sound_mb"] = found[f"peak_{seconds:g}_s_mb"] - 0.064 * seconds
    rounded = {name: round(value, 3) for name, value in found.items()}
    print(json.dumps(rounded) if asked.json else "\n".join(f"{name}: {value}" for name, value in rounded.items()))


if __name__ == "__main__":
    main()
