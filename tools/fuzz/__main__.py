"""python -m tools.fuzz --prompts 2000 --seed 7: random prompts, and what became of them."""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from joyhallo.film.read import Film
from joyhallo.film.write import write

from ..comfyui.server import Client, Run, Server
from ..demo import prepare, speech_of
from ..demo_model.bundle import FOLDER
from ..demo_model.seeded import write_lips
from . import hands_out
from .outcomes import RAW, STOPPED, Outcome, outcome
from .prompts import BASES, LIPS, SMALL_MASK, Asked, asked, film

LONGEST = 60  # seconds that a prompt may take before it is interrupted
PATIENCE = 20  # seconds within which it must end then
HUNDRED = 100  # prompts between two looks at the server's health
SHORT = 0.6  # seconds of speech
FEW, ENOUGH = 6, 40  # frames of a film with a face, and of one whose lips can be judged


@dataclass
class Findings:
    outcomes: Counter[str] = field(default_factory=Counter)
    raw: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))  # by cause: the prompts
    sick: list[str] = field(default_factory=list)  # what was wrong with the server itself

    def note(self, number: int, prompt: Asked, found: Outcome) -> None:
        self.outcomes[found.kind] += 1
        if found.kind == RAW:
            self.raw[found.cause].append(f"{number}: {found.message:.200} <= {'; '.join(prompt.changes)}")

    @property
    def well(self) -> bool:
        return not self.raw and not self.sick


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tools.fuzz", description=__doc__)
    parser.add_argument("--prompts", type=int, default=1000, help="how many (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="another number gives other prompts (default: %(default)s)")
    parser.add_argument("--only", type=int, help="the number of one prompt, to see how it ends")
    parser.add_argument("--base", choices=sorted(BASES), action="append", help="workflows to change (default: all)")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, serving(Path(folder)) as server:
        if given.only is not None:
            show(server, given.seed, given.only, given.base or ())
            return
        found = fuzz(server, given.seed, range(given.prompts), given.base or ())
    print(json.dumps(vars(found), indent=2, ensure_ascii=False))
    sys.exit(0 if found.well else 1)


def serving(base: Path) -> Server:
    prepare(base)
    install_node(base)
    install_files(base)
    return Server(base)


def install_node(base: Path) -> None:
    """The one that hands out any value, before ComfyUI is started."""
    shutil.copy(hands_out.__file__, base / "custom_nodes" / "hands_out.py")


def install_files(base: Path) -> None:
    """What the workflows name, beside the pack's pictures."""
    write(base / "input" / "film.mp4", [torch.rand(5, 64, 64, 3)], 25)
    clip = next(Film(FOLDER / "clip.mp4").frames(at_once=ENOUGH))[:, ::2, ::2]
    write(base / "input" / "face.mp4", [clip[:FEW]], 25)
    write(base / "input" / "talk.mp4", [clip], 25)
    with Image.open(FOLDER / "face_mask.png") as mask:
        mask.resize(clip.shape[2:0:-1]).save(base / "input" / SMALL_MASK)
    write_lips(base / "models" / "joyhallo" / LIPS)
    speech_of(SHORT, base / "input" / "speech.wav", base / "input" / "short.wav")


def fuzz(server: Server, seed: int, numbers: Sequence[int], bases: Sequence[str] = ()) -> Findings:
    client, found = Client(server.url), Findings()
    nodes, health = client.nodes(), Health(server, client)
    for done, number in enumerate(numbers, 1):
        prompt = asked(seed, number, nodes, bases)
        found.note(number, prompt, tried(client, prompt, nodes))
        if done % HUNDRED == 0 or done == len(numbers):
            found.sick += health.problems(number)
    return found


def tried(client: Client, prompt: Asked, nodes: dict[str, Any]) -> Outcome:
    try:
        return outcome(client.run(prompt.prompt, timeout=LONGEST), nodes)
    except TimeoutError:
        return Outcome(STOPPED) if stopped(client) else Outcome(RAW, "it did not stop", "deaf to an interrupt")


def stopped(client: Client) -> bool:
    """Whether whatever runs ends when it is told to."""
    client.post("/interrupt", {})
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        if not json.loads(client.get("/queue"))["queue_running"]:
            return True
        time.sleep(0.2)
    return False


class Health:
    """The same prompt gives the same pixels, and no file has come to where none belongs."""

    def __init__(self, server: Server, client: Client):
        self.server, self.client = server, client
        self.files, self.pixels = set(self._foreign()), self._pixels()

    def problems(self, number: int) -> Iterator[str]:
        if self.server.process.poll() is not None:
            raise RuntimeError(f"ComfyUI ended after prompt {number}:\n{self.server.text()[-4000:]}")
        if new := set(self._foreign()) - self.files:
            yield f"after prompt {number} there are new files: {', '.join(sorted(map(str, new))[:5])}"
        if self._pixels() != self.pixels:
            yield f"after prompt {number} the same prompt gives other pixels"

    def _pixels(self) -> str:
        self.client.free()
        run = self.client.run(film())
        if run.status != "success":
            return run.message
        digest = hashlib.sha256()
        for batch in Film(self._saved(run)).frames():
            digest.update(batch.numpy().tobytes())
        return digest.hexdigest()

    def _saved(self, run: Run) -> Path:
        (file,) = (one for node in run.outputs for one in run.files(node) if one["type"] == "output")
        return self.server.base / "output" / file["subfolder"] / file["filename"]

    def _foreign(self) -> Iterator[Path]:
        """Files where prompts have nothing to write."""
        for folder in ("custom_nodes", "input", "models"):
            yield from (path for path in (self.server.base / folder).rglob("*") if "__pycache__" not in path.parts)


def show(server: Server, seed: int, number: int, bases: Sequence[str]) -> None:
    client = Client(server.url)
    nodes = client.nodes()
    prompt = asked(seed, number, nodes, bases)
    print(*prompt.changes, tried(client, prompt, nodes), server.text()[-3000:], sep="\n")


if __name__ == "__main__":
    main()
