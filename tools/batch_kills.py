"""Kill workers, the driver, and once everything, again and again while a table of short rows is made on Ray:

python -m tools.batch_kills --rows 1000 --seed 1

After each kill of the driver the same command is given again. In the end every row must be there exactly once, equal to
the last bit to what processes without Ray make undisturbed, and nothing may be left beside the films.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import secrets
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from joyhallo.files.lines import read
from joyhallo.files.scratch import GRACE

from .short_rows import draw, film_of, write_table

REPOSITORY = Path(__file__).resolve().parents[1]
WORKER, DRIVER, EVERYTHING = "worker", "driver", "everything"
OFTEN = {WORKER: 8, DRIVER: 2}
EARLY = 0.1  # of the kills, which do not wait for another row
GOOD, NOTHING = 0, 2  # exit codes
PATIENCE = 5  # runs that cannot begin: Ray does not always do so in time on a busy machine
BEGUN = b"Ray runtime started"
BESIDE = {"manifest.jsonl", "index.html", ".thumbnails"}
ENVIRONMENT = {
    **{name: value for name, value in os.environ.items() if not name.startswith("RAY_")},
    "PYTHONPATH": str(REPOSITORY),
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_AUTH_MODE": "token",
    "RAY_AUTH_TOKEN": secrets.token_hex(32),  # of this cluster alone
    "OMP_NUM_THREADS": "1",
}


@dataclass
class Cluster:
    """A Ray of its own on this machine, begun when it is asked for an address and does not run."""

    workers: int
    folder: Path
    port: int = 0
    process: subprocess.Popen[bytes] | None = None

    def address(self) -> str:
        while self.process is None or self.process.poll() is not None:
            self.port = _free_port()
            program = [str(Path(sys.executable).with_name("ray")), "start", "--head", "--block"]
            about = ["--num-cpus", str(self.workers), "--port", str(self.port), "--include-dashboard", "false"]
            with (self.folder / "ray.log").open("ab") as log:
                self.process = subprocess.Popen(
                    [*program, *about, "--temp-dir", str(self.folder)], env=ENVIRONMENT, stdout=log, stderr=log
                )
            self._await_begun()
        return f"127.0.0.1:{self.port}"

    def _await_begun(self) -> None:
        """Until it says so, or has given up, as Ray does on a busy machine."""
        said = (self.folder / "ray.log").stat().st_size
        while self.process is not None and self.process.poll() is None:
            if BEGUN in (self.folder / "ray.log").read_bytes()[said:]:
                return
            time.sleep(0.2)

    def workers_now(self) -> list[psutil.Process]:
        return [process for process in _tree(self.process) if _title(process).startswith("ray::_Worker")]

    def kill(self) -> None:
        _kill(self.process)
        self.process = None


@dataclass
class Trials:
    base: Path
    rows: int
    cluster: Cluster
    chance: random.Random
    every: float  # seconds between two kills, on average
    kills: Counter[str] = field(default_factory=Counter)
    runs: int = 0
    idle: int = 0  # of these the last ones, that could not begin
    driver: subprocess.Popen[bytes] | None = None

    @property
    def table(self) -> Path:
        return self.base / "table.csv"

    @property
    def films(self) -> Path:
        return self.base / "films"

    def run(self) -> None:
        """Until a run ends by itself with all rows done."""
        while (code := self._run_once()) != GOOD:
            self.idle = self.idle + 1 if code == NOTHING else 0
            if self.idle == PATIENCE:
                sys.exit(f"A run could not begin:\n{(self.base / 'batch.log').read_text()[-4000:]}")
            _say(f"{len(_done(self.films))} of {self.rows} rows after {self.runs} runs; kills: {dict(self.kills)}")

    def _run_once(self) -> int:
        self.runs += 1
        address = self.cluster.address()
        self.driver = _batch(self.table, self.films, "--ray", address, "--workers", str(self.cluster.workers))
        while True:
            self._await_progress()
            try:
                return self.driver.wait(self.chance.expovariate(1 / self.every))
            except subprocess.TimeoutExpired:
                if self._kill_one() != WORKER:
                    return self.driver.wait()

    def _await_progress(self) -> None:
        """Mostly: some kills strike what is only beginning."""
        before = len(_done(self.films))
        early = self.chance.random() < EARLY
        while not early and self.driver is not None and self.driver.poll() is None and len(_done(self.films)) == before:
            time.sleep(0.2)

    def _kill_one(self) -> str:
        halfway = len(_done(self.films)) >= self.rows // 2
        (moment,) = self.chance.choices(list(OFTEN), list(OFTEN.values()))
        if halfway and not self.kills[EVERYTHING]:
            moment = EVERYTHING
        if moment == WORKER:
            workers = self.cluster.workers_now()
            if workers:
                self.kills[moment] += _kill_process(self.chance.choice(workers))
            return moment
        _kill(self.driver)
        if moment == EVERYTHING:
            self.cluster.kill()
        self.kills[moment] += 1
        return moment

    # ---- checks

    def faults(self, quiet: Path) -> Iterator[str]:
        if missing := [moment for moment in (*OFTEN, EVERYTHING) if not self.kills[moment]]:
            yield f"No kill of {', '.join(missing)}: this shows too little; give more --rows, or a smaller --every."
        time.sleep(GRACE + 1)  # so that the last run takes away what killed ones have left
        last = _batch(self.table, self.films, "--json", stdout=subprocess.PIPE)
        told = json.loads(last.communicate()[0])
        if (told["done"], told["done_earlier"], told["failed"]) != (self.rows, self.rows, 0):
            yield f"A run after the end found {told}."
        done = Counter(_done(self.films))
        expected = [film_of(row) for row in range(self.rows)]
        yield from (f"{name} was done {done[name]} times." for name in expected if done[name] != 1)
        there = {path.name for path in self.films.iterdir()}
        yield from (f"{name} is left in the folder." for name in sorted(there - BESIDE - set(expected)))
        for name in expected:
            if (self.films / name).read_bytes() != (quiet / name).read_bytes():
                yield f"{name} is not the undisturbed one."


def _batch(table: Path, films: Path, *more: str, stdout: int = subprocess.DEVNULL) -> subprocess.Popen[bytes]:
    program = [sys.executable, "-m", "joyhallo", "batch", str(table), "-o", str(films), *more]
    with (table.parent / "batch.log").open("ab") as log:
        return subprocess.Popen(program, cwd=REPOSITORY, env=ENVIRONMENT, stdout=stdout, stderr=log)


def _done(films: Path) -> list[str]:
    """The films of all lines that tell of one that was done; what a kill tore off tells nothing."""
    return [entry["file"] for entry in read(films / "manifest.jsonl") if entry["state"] == "done"]


# ---- processes


def _tree(process: subprocess.Popen[bytes] | None) -> list[psutil.Process]:
    if process is None:
        return []
    with suppress(psutil.Error):
        own = psutil.Process(process.pid)
        return [own, *own.children(recursive=True)]
    return []


def _title(process: psutil.Process) -> str:
    with suppress(psutil.Error):
        return " ".join(process.cmdline())
    return ""


def _kill_process(process: psutil.Process) -> bool:
    with suppress(psutil.Error):
        process.kill()
        return True
    return False


def _kill(process: subprocess.Popen[bytes] | None) -> None:
    for each in _tree(process):
        _kill_process(each)
    if process is not None:
        process.wait()


def _free_port() -> int:
    with socket.socket() as made:
        made.bind(("127.0.0.1", 0))
        return made.getsockname()[1]


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1000)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--every", type=float, default=10.0, help="seconds between two kills, on average")
    parser.add_argument("--seed", type=int, default=1, help="of the moments")
    given = parser.parse_args()
    begun = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="k") as folder:  # short: Ray's sockets lie in it
        base = Path(folder)
        draw(base)
        table = write_table(base, given.rows)
        if _batch(table, base / "quiet", "--workers", str(given.workers)).wait() != 0:
            sys.exit(f"The undisturbed run failed:\n{(base / 'batch.log').read_text()[-4000:]}")
        quiet_took = time.monotonic() - begun
        _say(f"{given.rows} rows in {quiet_took:.0f} s undisturbed")
        chance = random.Random(given.seed)  # noqa: S311
        trials = Trials(base, given.rows, Cluster(given.workers, base), chance, given.every)
        try:
            trials.run()
            faults = list(trials.faults(base / "quiet"))
        finally:
            _kill(trials.driver)
            trials.cluster.kill()
        summary = {
            "rows": given.rows,
            "kills": trials.kills,
            "runs": trials.runs,
            "failed attempts": _failures(base / "films"),
            "seconds undisturbed": round(quiet_took),
            "seconds": round(time.monotonic() - begun - quiet_took),
            "faults": faults,
        }
    print(json.dumps(summary, indent=1))
    sys.exit(bool(faults))


def _failures(films: Path) -> int:
    return sum(entry["state"] == "failed" for entry in read(films / "manifest.jsonl"))


if __name__ == "__main__":
    main()
