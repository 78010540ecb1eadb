"""Many films from one table: how fast it is checked, what rows cost beside their work, what a second worker gains.

python -m benchmarks.batch --rows 60 --json

Workers have a core and a thread each. A plain loop in as many processes tells what the machine itself allows: two cores
may be two threads of one. Another load on the machine falsifies all but the processor times.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import psutil

from tools.short_rows import draw, write_table

REPOSITORY = Path(__file__).resolve().parents[1]
LOOP = "total = 0\nfor number in range(6_000_000):\n    total += number * number % 7\n"
WARM = 4  # rows of each worker that are not counted
STEP = 0.02  # seconds between two looks at the manifest
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(REPOSITORY)}


@dataclass(frozen=True)
class Moment:
    done: int  # rows
    at: float  # seconds
    own: float  # processor seconds of the one that hands out the rows
    all: float  # and of all its processes


def check(table: Path) -> dict[str, float]:
    """Seconds, processor seconds and megabytes of looking through a table."""
    begun = time.monotonic()
    process = _begun(_command(table, table.parent / "nothing", "--check"), range(os.cpu_count() or 1))
    _, _, used = os.wait4(process.pid, 0)
    process.returncode = 0
    return {
        "wall": round(time.monotonic() - begun, 2),
        "cpu": round(used.ru_utime + used.ru_stime, 2),
        "peak_mb": round(used.ru_maxrss / 1024, 1),
    }


def loops(cores: Sequence[int]) -> float:
    """A plain loop in a process on each core, all at the same time: loops a second."""
    begun = time.monotonic()
    started = [_begun([sys.executable, "-c", LOOP], [core]) for core in cores]
    for process in started:
        process.wait()
    return len(cores) / (time.monotonic() - begun)


def rows(table: Path, cores: Sequence[int], ray: bool) -> dict[str, float]:
    """What a row takes, when as many workers as cores share the table; without what they take to begin."""
    with tempfile.TemporaryDirectory(prefix="b") as name:
        films = Path(name) / "films"
        more = ["--workers", str(len(cores)), *(["--ray", "local"] if ray else [])]
        process = _begun(_command(table, films, *more), cores)
        moments = list(_watched(process, films / "manifest.jsonl"))
        entries = [json.loads(line) for line in (films / "manifest.jsonl").read_text(encoding="utf-8").splitlines()]
    first = next(moment for moment in moments if moment.done >= WARM * len(cores))
    last = moments[-1]
    count, wall = last.done - first.done, last.at - first.at
    took = [entry["took"] for entry in entries[first.done : last.done]]
    own = (last.own - first.own) / count
    return {
        "rows_a_second": count / wall,
        "wall": len(cores) * wall / count,
        "beside_the_work": (len(cores) * wall - sum(took)) / count,
        "cpu_of_workers": (last.all - first.all) / count - own,
        "cpu_of_the_one_that_hands_out": own,
    }


def _watched(process: subprocess.Popen[bytes], manifest: Path) -> Iterator[Moment]:
    """A moment for each row, or for several that came at once, before the processes end."""
    seen, watched = 0, psutil.Process(process.pid)
    while process.poll() is None:
        done = manifest.read_bytes().count(b"\n") if manifest.exists() else 0
        if done > seen:
            seen = done
            own = _cpu([watched])
            yield Moment(done, time.monotonic(), own, own + _cpu(watched.children(recursive=True)))
        time.sleep(STEP)


def _cpu(processes: Sequence[psutil.Process]) -> float:
    total = 0.0
    for process in processes:
        try:
            times = process.cpu_times()
            total += times.user + times.system
        except psutil.Error:
            continue
    return total


def _command(table: Path, films: Path, *more: str) -> list[str]:
    return [sys.executable, "-m", "joyhallo", "batch", str(table), "-o", str(films), *more]


def _begun(command: list[str], cores: Sequence[int]) -> subprocess.Popen[bytes]:
    """With its processes on these cores alone."""
    return subprocess.Popen(
        command,
        cwd=REPOSITORY,
        env=ENVIRONMENT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        preexec_fn=lambda: os.sched_setaffinity(0, cores),
    )


def _measured(given: argparse.Namespace, folder: Path) -> dict[str, object]:
    draw(folder, given.seconds)
    tables = {count: check(write_table(folder, count)) for count in (1000, 10_000, 100_000)}
    table, one, both = write_table(folder, given.rows), given.cores[:1], given.cores[:2]
    plain, runs = list[float](), list[tuple[dict[str, float], dict[str, float]]]()
    for _ in range(given.times):  # in turns, so that another load falls on both
        plain.append(loops(both) / loops(one))
        runs.append((rows(table, one, given.ray), rows(table, both, given.ray)))
    gain = [two["rows_a_second"] / alone["rows_a_second"] for alone, two in runs]
    return {
        "checking": tables,
        "load_before": os.getloadavg()[0],
        "plain_loop_gain": plain,
        "gain": gain,
        "of_linear": median(gain) / 2,
        "of_what_the_loop_gains": median(both / loop for both, loop in zip(gain, plain, strict=True)),
        "one_worker": _medians([alone for alone, _ in runs]),
        "two_workers": _medians([two for _, two in runs]),
    }


def _medians(runs: Sequence[dict[str, float]]) -> dict[str, float]:
    return {name: round(median(run[name] for run in runs), 4) for name in runs[0]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=60)
    parser.add_argument("--seconds", type=float, default=0.2, help="of speech in each row")
    parser.add_argument("--times", type=int, default=3, help="runs, of which the median counts")
    parser.add_argument("--cores", type=int, nargs=2, default=(0, 1), help="where the workers are pinned")
    parser.add_argument("--ray", action="store_true", help="on a local Ray instead of processes")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="b") as name:
        found = _measured(given, Path(name))
    if given.json:
        print(json.dumps(found, indent=1))
    else:
        print("\n".join(f"{name}: {value}" for name, value in found.items()))


if __name__ == "__main__":
    main()
