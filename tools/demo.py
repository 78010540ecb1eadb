"""Make videos on the CPU, with a real ComfyUI and two example workflows: the puppet's first, which takes seconds, then
the bundled small model's."""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
import time
import wave
from pathlib import Path
from typing import Any

from .comfyui.server import ROOT, Client, Run, Server, install_pack
from .comfyui.workflow import as_prompt
from .demo_model.bundle import ASSETS, FOLDER, note

WORKFLOWS = ROOT / "example_workflows"
PUPPET, MODEL = "puppet", "demo"
SAVING = "SaveTalkingVideo"
WIDTH = 40


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        base = Path(folder)
        install_pack(base)
        print("Starting ComfyUI ...", flush=True)
        with Server(base) as server:
            for name, words in ((PUPPET, "It moves the picture itself; no model draws it."), (MODEL, note())):
                began = time.monotonic()
                made = keep(server, base, name)
                print(f"\n{made} is ready after {time.monotonic() - began:.0f} s.", words, sep="\n", flush=True)


def result(name: str) -> Path:
    return ROOT / f"{name}.mp4"


def keep(server: Server, base: Path, name: str) -> Path:
    """Make a film and copy it into the repository."""
    run, saving = film(server, name, show)
    if run.status != "success":
        sys.exit(f"\nIt did not work: {run.message}\n{server.text()[-4000:]}")
    (saved,) = run.files(saving)
    return Path(shutil.copy(base / "output" / saved["subfolder"] / saved["filename"], result(name)))


def prepare(base: Path) -> None:
    """Put the pack, and its pictures and speech under their own names, where ComfyUI looks for them."""
    install_pack(base)
    (base / "input").mkdir()
    for asset in ASSETS:
        shutil.copy(FOLDER / asset, base / "input")


def speech_of(seconds: float, source: Path, target: Path) -> None:
    """A recording cut off at a length, or repeated up to it."""
    with wave.open(str(source)) as once, wave.open(str(target), "wb") as made:
        made.setparams(once.getparams())
        sound, wanted = once.readframes(once.getnframes()), round(seconds * once.getframerate())
        size = wanted * once.getsampwidth() * once.getnchannels()
        made.writeframes((sound * -(-size // len(sound)))[:size])


def film(server: Server, name: str = MODEL, listener: Any = None) -> tuple[Run, str]:
    """Run an example workflow; returns the run and the id of the saving node."""
    file = WORKFLOWS / f"{name}.json"
    client, workflow = Client(server.url), json.loads(file.read_text(encoding="utf-8"))
    prompt = as_prompt(workflow, client.nodes())
    saving = next(number for number, node in prompt.items() if node["class_type"] == SAVING)
    return client.run(prompt, listener, workflow=workflow), saving


def show(kind: str, data: dict[str, Any], run: Run) -> None:
    if kind == "progress":
        done, total = data["value"], data["max"]
        filled = WIDTH * done // total
        print(f"\r[{'#' * filled}{'.' * (WIDTH - filled)}] {done} of {total}", end="", flush=True)


if __name__ == "__main__":
    main()
