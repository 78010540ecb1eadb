"""Kill a ComfyUI again and again while the bundled small model makes a video, and check what every kill left:

python -m tools.kills --kills 100 --seed 1

The next run must take up every chunk that was on the disk, and make at most one again. Each finished video must equal
one that nobody disturbed in every pixel, and then nothing may be left of the runs before it.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import random
import re
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from joyhallo.files.journal import ENDING, Journal
from joyhallo.film.read import Film

from .comfyui.server import Client, Listener, Prompt, Run, Server, install_pack
from .comfyui.workflow import as_prompt
from .demo import WORKFLOWS, speech_of
from .demo_model.bundle import FOLDER

SAMPLER, SAVING, SOUND = "JoyHalloSampler", "SaveTalkingVideo", "LoadAudio"
STEPS = 2  # for each chunk
CHANGES: dict[str, dict[str, Any]] = {
    SAMPLER: {"steps": STEPS, "size": 64, "picture": "square", "resume": True},
    SAVING: {"format": "mkv", "quality": "small", "filename_prefix": "killed"},
    SOUND: {"audio": "long.wav"},
}
MOMENTS = {"loading": 1, "sampling": 6, "saving": 3}  # how often each is chosen
BELONGING = {  # patterns of what a finished run may leave, and how many at most
    "output": {},
    "temp": {r"JoyHallo_(faces|drift)_\w+\.png": 50},
    "user/__joyhallo": {
        r"journal|working": 2,
        rf"journal/\w+\{ENDING}": 1,
        r"working/\.joyhallo-\w+-\w+": 1,
        r"working/\.joyhallo-\w+-\w+/lock": 1,
        r"working/\.joyhallo-\w+-\w+/JoyHallo_\w+\.mkv": 1,  # which ComfyUI still holds as a result
    },
}


@dataclass(frozen=True)
class Undisturbed:
    pixels: np.ndarray
    chunks: int
    record: int  # bytes of a chunk in the journal
    loading: float  # seconds: before the first step, for a step, for saving
    step: float
    saving: float


@dataclass
class Trials:
    base: Path
    chance: random.Random
    kills: Counter[str] = field(default_factory=Counter)  # by moment
    again: Counter[int] = field(default_factory=Counter)  # kills by the chunks that were made again after them
    faults: list[str] = field(default_factory=list)
    films: int = 0
    seen: int = 0  # steps of this film that were seen to be made

    def run(self, wanted: int) -> None:
        with Server(self.base) as server:
            self.prompt = _prompt(Client(server.url))
            self.right = self._undisturbed(server)
        while self.kills.total() < wanted:
            with Server(self.base) as server:
                while not self._trial(server, kill=True):
                    pass
            _say(f"{self.kills.total()} of {wanted} kills, {self.films} films, {len(self.faults)} faults")
        with Server(self.base) as server:
            self._trial(server, kill=False)

    # ---- runs

    def _undisturbed(self, server: Server) -> Undisturbed:
        begun, steps, saving = time.monotonic(), [], []

        def note(kind: str, data: dict[str, Any], run: Run) -> None:
            if kind in ("progress", "executing"):
                {self._node(SAMPLER): steps, self._node(SAVING): saving}.get(data["node"], []).append(time.monotonic())

        run = Client(server.url).run(self.prompt, note)
        if run.status != "success":
            sys.exit(f"The undisturbed run failed: {run.message}\n{server.text()[-4000:]}")
        chunks = max(self._steps(run)) // STEPS
        record = self._journal().stat().st_size // chunks
        right = Undisturbed(
            pixels=self._pixels(run),
            chunks=chunks,
            record=record,
            loading=steps[1] - begun,
            step=(steps[-1] - steps[1]) / (len(steps) - 2),
            saving=time.monotonic() - saving[-1],  # before, it asked for the video
        )
        self._begin_anew(server)
        _say(f"{chunks} chunks; {right.loading:.1f} s before, {right.step:.2f} s a step, {right.saving:.1f} s to save")
        return right

    def _trial(self, server: Server, kill: bool) -> bool:
        """One run, perhaps to its end; returns whether it was killed."""
        known = self._known()
        moment, trigger, delay = self._moment(known) if kill else ("", _never, 0.0)
        timer = threading.Timer(delay, server.process.kill)
        run = Run()

        def watch(kind: str, data: dict[str, Any], latest: Run) -> None:
            nonlocal run
            run = latest
            if timer.ident is None and trigger(kind, data, latest):
                timer.start()

        with contextlib.suppress(OSError, RuntimeError, ValueError, json.JSONDecodeError, *_disconnected()):
            run = Client(server.url).run(self.prompt, watch, timeout=600)
        timer.cancel()
        killed = timer.ident is not None and self._is_dead(server)
        self._judge_steps(run, known)
        if killed:
            self.kills[moment] += 1
        if run.status == "success":
            self._judge_film(run)
            self._begin_anew(None if killed else server)
        elif not killed:
            self.faults.append(f"A run ended with {run.status}: {run.message or server.text()[-1000:]}")
            self._begin_anew(server)
        return killed

    def _moment(self, known: int) -> tuple[str, Listener, float]:
        """What to wait for, and how long to wait then."""
        right, moments, sampler, saving = self.right, dict(MOMENTS), self._node(SAMPLER), self._node(SAVING)
        (moment,) = self.chance.choices(list(moments), list(moments.values()))
        if moment == "sampling" and known == right.chunks:
            return moment, _never, 0.0  # no step is missing: this film ends, so that another begins
        if moment == "loading":
            return moment, lambda kind, data, run: True, self.chance.uniform(0, right.loading)
        if moment == "saving":
            delay = self.chance.uniform(0, 1.1 * right.saving)
            return moment, lambda kind, data, run: run.executed[-1:] == [saving] and sampler in run.executed, delay
        step = self.chance.randint(known * STEPS + 1, right.chunks * STEPS)

        def reached(kind: str, data: dict[str, Any], run: Run) -> bool:
            return kind == "progress" and data["node"] == sampler and data["value"] >= step

        return moment, reached, self.chance.uniform(0, 1.5 * right.step)

    @staticmethod
    def _is_dead(server: Server) -> bool:
        time.sleep(0.2)
        return server.process.poll() is not None

    def _begin_anew(self, server: Server | None) -> None:
        """Forget the film: its journal, and what a server that goes on holds of it."""
        if server is not None:
            Client(server.url).free()
        self._journal().unlink(missing_ok=True)
        self.seen = 0

    # ---- checks

    def _judge_steps(self, run: Run, known: int) -> None:
        steps = self._steps(run)
        if steps and steps[0] != known * STEPS + 1:
            self.faults.append(f"{known} chunks were on the disk, but the next run began with step {steps[0]}.")
        if steps:
            again = max(0, -(-(self.seen - known * STEPS) // STEPS))
            self.again[again] += 1
            if again > 1:
                self.faults.append(f"{again} chunks were made again after step {self.seen}.")
        self.seen = max(steps, default=self.seen)

    def _judge_film(self, run: Run) -> None:
        self.films += 1
        if not np.array_equal(self._pixels(run), self.right.pixels):
            self.faults.append(f"Film {self.films} is not the undisturbed one.")
        for folder, patterns in BELONGING.items():
            left = [path.relative_to(self.base / folder).as_posix() for path in (self.base / folder).rglob("*")]
            for pattern, most in patterns.items():
                fitting = [name for name in left if re.fullmatch(pattern, name)]
                left = [name for name in left if name not in fitting[:most]]
            self.faults += [f"After film {self.films}, {folder} holds {name}." for name in left]

    def _pixels(self, run: Run) -> np.ndarray:
        """Of the saved film, which is removed."""
        (saved,) = run.files(self._node(SAVING))
        path = self.base / "output" / saved["subfolder"] / saved["filename"]
        try:
            return np.stack(list(Film(path).pictures()))
        finally:
            path.unlink()

    def _known(self) -> int:
        """Intact chunks in the journal."""
        path = self._journal()
        empty = Journal(path.parent, path.stem, (1,))
        size = (self.right.record - (empty.record - empty.size)) // 4
        journal = Journal(path.parent, path.stem, (size,))
        return sum(journal.read(index) is not None for index in range(len(journal)))

    def _journal(self) -> Path:
        folder = self.base / "user" / "__joyhallo" / "journal"
        return next(folder.glob(f"*{ENDING}"), folder / f"none{ENDING}")

    def _steps(self, run: Run) -> list[int]:
        return [value for node, value, _ in run.progress if node == self._node(SAMPLER)]

    def _node(self, kind: str) -> str:
        return next(number for number, node in self.prompt.items() if node["class_type"] == kind)


def _never(*_: object) -> bool:
    return False


def _disconnected() -> Iterator[type[Exception]]:
    import aiohttp

    yield aiohttp.ClientError
    yield TimeoutError


def _prompt(client: Client) -> Prompt:
    workflow = json.loads((WORKFLOWS / "demo.json").read_text(encoding="utf-8"))
    prompt = as_prompt(workflow, client.nodes())
    for node in prompt.values():
        node["inputs"] |= CHANGES.get(node["class_type"], {})
    return prompt


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--seed", type=int, default=1, help="of the moments")
    parser.add_argument("--seconds", type=float, default=10.0, help="of speech; a chunk is 0.64 s")
    given = parser.parse_args()
    begun = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        base = Path(folder)
        install_pack(base)
        (base / "input").mkdir()
        speech_of(given.seconds, FOLDER / "speech.wav", base / "input" / CHANGES[SOUND]["audio"])
        trials = Trials(base, random.Random(given.seed))  # noqa: S311
        trials.run(given.kills)
    took = time.monotonic() - begun
    summary = {
        "kills": trials.kills.total(),
        "moments": trials.kills,
        "chunks": trials.right.chunks,
        "resumed runs by chunks made again": trials.again,
        "finished films": trials.films,
        "faults": trials.faults,
        "seconds": round(took),
        "seconds per kill": round(took / max(1, trials.kills.total()), 1),
    }
    print(json.dumps(summary, indent=1))
    sys.exit(bool(trials.faults))


if __name__ == "__main__":
    main()
