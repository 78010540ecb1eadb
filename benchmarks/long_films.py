"""What it costs to share a redub among processes and to take it up again, and whether the film stays the same.

    python -m benchmarks.long_films [--seconds 60] [--side 512] [--workers 2] [--kills 6] [--seed 1] [--json]

A film of a drawn person, shorter than the speech so that it is seen again, is redubbed by `python -m joyhallo redub`
with a seeded Wav2Lip of the published size: undivided, shared among 1 and more workers, and killed again and again at
any moment, with and without workers. Every process computes in one thread. Told are seconds by the clock and of CPU,
the peak of memory of all processes together, that of the disk beside the film, and how much of each film was kept when
it was killed. The command fails unless all films are the same to the last bit and nothing is left behind.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import multiprocessing
import os
import random
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import torch

from joyhallo.commands.unfinished import beside
from joyhallo.config import FPS
from tools.demo import speech_of

from .redub import SPEECH, film, weights

SHOWN = 0.6  # of the length of the speech: the film, which begins again then
BOX = 0.25, 0.2, 0.75, 0.85  # where the drawn face is, in shares of the side
LOOK = 0.1  # seconds between two looks at memory and disk


@dataclass
class Bench:
    folder: Path
    seconds: float
    side: int
    inputs: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        video = film(self.folder, self.side, round(SHOWN * self.seconds * FPS))
        speech_of(self.seconds, SPEECH, self.folder / "speech.wav")
        torch.save({"state_dict": weights()}, self.folder / "wav2lip.pth")
        box = ",".join(f"{share * self.side:g}" for share in BOX)
        self.inputs = [str(video), str(self.folder / "speech.wav"), "--model", str(self.folder / "wav2lip.pth")]
        self.inputs += ["--box", box, "--blend", "mouth", "--json"]

    def begun(self, name: str, more: Sequence[str]) -> tuple[Path, subprocess.Popen[bytes]]:
        target = self.folder / f"{name}.mp4"
        command = [sys.executable, "-m", "joyhallo", "redub", *self.inputs, "-o", str(target), *more]
        one = os.environ | {"OMP_NUM_THREADS": "1"}
        quiet = subprocess.DEVNULL
        return target, subprocess.Popen(command, env=one, stdout=quiet, stderr=quiet, start_new_session=True)

    def made(self, name: str, *more: str) -> dict[str, float | str]:
        """A film that nobody disturbs."""
        before, clock = _spent(), time.monotonic()
        target, process = self.begun(name, more)
        memory = disk = 0
        while process.poll() is None:
            memory, disk = max(memory, _memory(process.pid)), max(disk, _size(beside(target)))
            time.sleep(LOOK)
        took = time.monotonic() - clock
        told = {"clock": took, "cpu": _spent() - before, "memory_mb": memory / 1e6, "disk_mb": disk / 1e6}
        return {**told, **self._judged(target, process.returncode)}

    def killed(self, name: str, kills: int, longest: float, chance: random.Random, *more: str) -> dict[str, object]:
        """Begun again until it is whole: its processes are all killed, or the first alone."""
        kept, left, clock = list[float](), kills, time.monotonic()
        while True:
            target, process = self.begun(name, more)
            if left:
                with suppress(subprocess.TimeoutExpired):
                    process.wait(chance.uniform(0, longest))
            else:
                process.wait()
            if process.poll() is not None:
                break
            others = [pid for pid in _group(process.pid) if pid != process.pid]
            os.killpg(process.pid, signal.SIGKILL) if chance.random() < 0.5 else process.kill()
            process.wait()
            _ended(others)
            left -= 1
            kept.append(_size(beside(target)) / 1e6)
        told = {"kills": kills - left, "kept_mb": [round(one, 1) for one in kept], "clock": time.monotonic() - clock}
        return {**told, **self._judged(target, process.returncode)}

    def _judged(self, target: Path, code: int) -> dict[str, float | str]:
        left = [path.name for path in self.folder.iterdir() if path.name != target.name and target.name in path.name]
        if code or left:
            sys.exit(f"{target.name}: exit code {code}, left behind: {left}")
        digest = hashlib.sha256(target.read_bytes()).hexdigest()
        target.unlink()
        return {"film": digest[:16]}


def _ended(pids: Sequence[int], patience: float = 30) -> None:
    """Workers end by themselves where the process is gone that they work for."""
    until = time.monotonic() + patience
    while any(Path(f"/proc/{pid}/cmdline").exists() and _command(pid) for pid in pids):
        if time.monotonic() > until:
            sys.exit(f"Processes outlived the one that they worked for: {pids}")
        time.sleep(LOOK)


def _command(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def _spent() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _group(pid: int) -> Iterator[int]:
    for place in Path("/proc").iterdir():
        if place.name.isdigit():
            with suppress(OSError, ProcessLookupError):
                if os.getpgid(int(place.name)) == pid:
                    yield int(place.name)


def _memory(pid: int) -> int:
    """Bytes of all processes of a group; what they share counts once, in shares."""
    total = 0
    for each in _group(pid):
        with suppress(OSError):
            told = Path(f"/proc/{each}/smaps_rollup").read_text().partition("\nPss:")[2]
            total += 1024 * int(told.split()[0]) if told else 0
    return total


def _size(folder: Path) -> int:
    """Bytes that it takes of the disk: gaps in a file take none."""
    found = 0
    if folder.is_dir():
        for path in folder.rglob("*"):
            with suppress(OSError):
                found += 512 * path.stat().st_blocks
    return found


# ---- what this machine gives to two processes that share nothing


def _loop(rounds: int) -> float:
    torch.set_num_threads(1)
    table, clock = torch.rand(256, 256), time.monotonic()
    for _ in range(rounds):
        table = torch.tanh(table @ table)
    return time.monotonic() - clock


def plain_scaling(workers: int, rounds: int = 3000) -> float:
    """How much more is done in the same time: at best as many times as there are workers."""
    with multiprocessing.get_context("spawn").Pool(workers) as pool:
        alone = pool.map(_loop, [rounds])[0]
        together = max(pool.map(_loop, [rounds] * workers, chunksize=1))
    return workers * alone / together


def _say(name: str, value: object) -> None:
    print(f"{name}: {value}", file=sys.stderr, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--side", type=int, default=512)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--kills", type=int, default=6)
    parser.add_argument("--seed", type=int, default=1, help="of the moments")
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    found: dict[str, object] = {"plain scaling": plain_scaling(asked.workers)}
    _say("plain scaling", found["plain scaling"])
    chance = random.Random(asked.seed)  # noqa: S311
    many = ["--workers", str(asked.workers)]
    with tempfile.TemporaryDirectory() as place:
        bench = Bench(Path(place), asked.seconds, asked.side)
        for name, more in {
            "nothing kept": ["--no-resume"],
            "undivided": [],
            "one worker": ["--workers", "1"],
            "workers": many,
        }.items():
            found[name] = bench.made("film", *more)
            _say(name, found[name])
        for name, more in {"undivided": [], "workers": many}.items():
            longest = float(found[name]["clock"])  # pyright: ignore[reportArgumentType, reportIndexIssue]
            found[f"{name}, killed"] = bench.killed("film", asked.kills, longest / 2, chance, *more)
            _say(f"{name}, killed", found[f"{name}, killed"])
    films = {one["film"] for one in found.values() if isinstance(one, dict)}
    if asked.json:
        print(json.dumps(found))
    if len(films) > 1:
        sys.exit("The films are not the same.")


if __name__ == "__main__":
    main()
