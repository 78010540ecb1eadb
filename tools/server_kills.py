"""Kill ComfyUI servers, and the command that gives them rows, again and again while they work off a table:

python -m tools.server_kills --rows 100 --seed 1
python -m tools.server_kills --rows 100 --seed 1 --workflow

Two servers on this machine make films of a drawn person. At random moments one of them is killed and started again, at
others the command is killed and given again. In the end every row must have been made exactly once, and each film
must equal that of a run which nobody disturbed: to the last bit, or in pictures and sound where a workflow's own nodes
write the file, since they give each a number of its own.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from joyhallo.files.lines import read
from joyhallo.files.scratch import GRACE, sweep
from joyhallo.film.read import Film

from .comfyui.server import ROOT, Client, Server, install_pack
from .comfyui.workflow import Graph
from .short_rows import SOUNDS, draw

# Between two kills, at least and at most, in shares of what the quiet run took, but no less than so many seconds.
BETWEEN_SERVERS, BETWEEN_COMMANDS, LEAST = (0.1, 0.4), (0.15, 0.6), 1.0
DOWN = (0.0, 6.0)  # seconds until a killed server is started again
NOTHING = 2  # the exit code of a command that could not begin
ALLOWED = ("index.html", "manifest.jsonl", ".thumbnails")  # beside the films


@dataclass
class Trials:
    base: Path
    rows: int
    chance: random.Random
    filled: bool  # whether rows fill a workflow
    kills: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)
    took: dict[str, float] = field(default_factory=dict)

    def run(self) -> None:
        servers = [Server(self.base / name, patience=900) for name in ("one", "two")]
        for server in servers:
            server.base.mkdir()
            install_pack(server.base)
        with contextlib.ExitStack() as stack, ThreadPoolExecutor(len(servers)) as pool:
            list(pool.map(stack.enter_context, servers))
            self.table = self._written()
            self._timed("quiet", self._undisturbed, servers)
            for server in servers:  # which would have all films in their memory
                Client(server.url).post("/history", {"clear": True})
                Client(server.url).free()
            self._timed("disturbed", self._disturbed, servers)
        self._judge()

    def _timed(self, name: str, run: Any, servers: list[Server]) -> None:
        begun = time.monotonic()
        run(servers)
        self.took[name] = round(time.monotonic() - begun, 1)
        _say(f"{name}: {self.took[name]:.0f} s, {dict(self.kills)}")

    def _undisturbed(self, servers: list[Server]) -> None:
        done = self._command("quiet", servers)
        if done.wait() != 0:
            sys.exit("The undisturbed run failed.")

    # ---- killing

    def _disturbed(self, servers: list[Server]) -> None:
        over = threading.Event()
        killer = threading.Thread(target=self._kill, args=(servers, over, random.Random(self.chance.random())))  # noqa: S311
        killer.start()
        try:
            while True:
                command = self._command("films", servers)
                try:
                    code = command.wait(self._pause(self.chance, BETWEEN_COMMANDS))
                except subprocess.TimeoutExpired:
                    command.send_signal(signal.SIGKILL)
                    command.wait()
                    self.kills["command"] += 1
                    continue
                if code == NOTHING:  # as the undisturbed run was begun, no server was up
                    self.kills["command, while no server was up"] += 1
                    time.sleep(1)
                    continue
                if code:
                    self.faults.append(f"The command ended with {code}, though nobody had killed it.")
                break
        finally:
            over.set()
            killer.join()

    def _pause(self, chance: random.Random, between: tuple[float, float]) -> float:
        return max(LEAST, self.took["quiet"] * chance.uniform(*between))

    def _kill(self, servers: list[Server], over: threading.Event, chance: random.Random) -> None:
        """One at a time, so that there is always another."""
        while not over.wait(self._pause(chance, BETWEEN_SERVERS)):
            server = chance.choice(servers)
            self._restart(server, chance.uniform(*DOWN))
            self.kills[f"server {server.base.name}"] += 1

    @staticmethod
    def _restart(server: Server, down: float) -> None:
        server.process.kill()
        server.process.wait()
        time.sleep(down)
        server.__enter__()

    def _command(self, folder: str, servers: list[Server]) -> subprocess.Popen[bytes]:
        where = ("--servers", ",".join(server.url for server in servers))
        more = ("--workflow", str(self.base / "workflow.json")) if self.filled else ()
        command = [sys.executable, "-m", "joyhallo", "batch", str(self.table), "-o", str(self.base / folder)]
        with (self.base / f"{folder}.log").open("ab") as log:
            return subprocess.Popen([*command, *where, *more], cwd=ROOT, stdout=log, stderr=log)

    # ---- what is made

    def _written(self) -> Path:
        """The table, beside all that it names."""
        draw(self.base)
        if self.filled:
            (self.base / "workflow.json").write_text(json.dumps(_workflow()), encoding="utf-8")
        table = self.base / "table.jsonl"
        table.write_text("\n".join(map(json.dumps, self._rows())), encoding="utf-8")
        return table

    def _rows(self) -> Iterator[dict[str, Any]]:
        for seed in range(self.rows):
            sound, film = f"{list(SOUNDS)[seed % len(SOUNDS)]}.wav", f"film-{seed}.mp4"
            if self.filled:
                yield {"Sound.audio": sound, "Puppet.seed": seed, "output": film} | {
                    f"{name}.image": f"{file}.png" for name, file in PICTURES.items()
                }
            else:
                masks = {"lip_mask": "lips.png", "face_mask": "face.png"}
                yield {"picture": "anna.png", "sound": sound, "seed": seed, "output": film, **masks}

    # ---- checks

    def _judge(self) -> None:
        quiet, films = self.base / "quiet", self.base / "films"
        if not self.kills["command"] or not any(name.startswith("server") for name in self.kills):
            self.faults.append("Too little was killed for this to show anything; give more --rows, or another --seed.")
        lines = list(read(films / "manifest.jsonl"))
        done = Counter(line["file"] for line in lines if line["state"] == "done")
        names = {f"film-{seed}.mp4" for seed in range(self.rows)}
        self.faults += [f"{name} was made {done[name]} times." for name in sorted(names) if done[name] != 1]
        self.faults += [
            f"Row {line['row']} failed: {line['error']}" for line in lines if line["state"] not in ("done", "arriving")
        ]
        for name in sorted(names):
            if not (films / name).exists():
                self.faults.append(f"{name} is missing.")
            elif not self._equal(films / name, quiet / name):
                self.faults.append(f"{name} is not that of the undisturbed run.")
        time.sleep(GRACE + 1)  # a command that is killed just before the end leaves a folder to the next
        sweep(films)
        left = {path.name for path in films.iterdir()} - names - set(ALLOWED)
        self.faults += [f"{name} was left behind." for name in sorted(left)]

    def _equal(self, one: Path, other: Path) -> bool:
        if not self.filled:
            return one.read_bytes() == other.read_bytes()
        (pictures, sound), (others, heard) = (
            (np.stack(list(film.pictures())), film.sound()) for film in (Film(one), Film(other))
        )
        same = sound is not None and heard is not None and sound[0].equal(heard[0])
        return same and np.array_equal(pictures, others)


PICTURES = {"Picture": "anna", "Lips": "lips", "Face": "face"}


def _workflow() -> dict[str, Any]:
    graph = Graph()
    masks = {f"{name}_mask": graph.add("LoadImageMask", image="none.png", channel="red")[0] for name in ("lip", "face")}
    still = dict.fromkeys(("strength", "expressiveness", "blinks", "sway"), 1.0)
    sound = graph.add("LoadAudio", audio="none.wav")[0]
    picture = graph.add("LoadImage", image="none.png")[0]
    video = graph.add("PuppetPortrait", image=picture, audio=sound, seed=0, **still, **masks)[0]
    graph.add("SaveVideo", video=video, filename_prefix="film", format="mp4", codec="h264")
    for node, title in zip(graph.values(), ("Lips", "Face", "Sound", "Picture", "Puppet", "Save"), strict=True):
        node["_meta"] = {"title": title}
    return graph


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=30)
    parser.add_argument("--seed", type=int, default=1, help="of the moments")
    parser.add_argument("--workflow", action="store_true", help="rows fill a workflow")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        trials = Trials(Path(folder), given.rows, random.Random(given.seed), given.workflow)  # noqa: S311
        trials.run()
        said = (Path(folder) / "films.log").read_text(encoding="utf-8")
    summary = {"rows": given.rows, "kills": trials.kills, "seconds": trials.took, "faults": trials.faults}
    print(json.dumps(summary, indent=1))
    if trials.faults:
        _say(said[-4000:])
    sys.exit(bool(trials.faults))


if __name__ == "__main__":
    main()
