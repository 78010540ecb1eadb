"""Make a video on the CPU, with a real ComfyUI, the example workflow and the bundled small model."""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from .comfyui.server import ROOT, Client, Run, Server, install_pack
from .comfyui.workflow import as_prompt
from .demo_model.bundle import ASSETS, FOLDER, note

WORKFLOW = ROOT / "example_workflows" / "demo.json"
RESULT = ROOT / "demo.mp4"
SAVING = "SaveTalkingVideo"
WIDTH = 40


def main() -> None:
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        base = Path(folder)
        install_pack(base)
        print("Starting ComfyUI ...", flush=True)
        with Server(base) as server:
            run, saving = film(server, show)
            print()
            if run.status != "success":
                sys.exit(f"It did not work: {run.message}\n{server.text()[-4000:]}")
            (saved,) = run.files(saving)
            shutil.copy(base / "output" / saved["subfolder"] / saved["filename"], RESULT)
    print(f"{RESULT} is ready after {time.monotonic() - began:.0f} s.", note(), sep="\n")


def prepare(base: Path) -> None:
    """Put the pack, and its pictures and speech under their own names, where ComfyUI looks for them."""
    install_pack(base)
    (base / "input").mkdir()
    for asset in ASSETS:
        shutil.copy(FOLDER / asset, base / "input")


def film(server: Server, listener: Any = None) -> tuple[Run, str]:
    """Run the example workflow; returns the run and the id of the saving node."""
    client, workflow = Client(server.url), json.loads(WORKFLOW.read_text(encoding="utf-8"))
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
