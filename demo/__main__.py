"""Make a video on this machine's processor: a real ComfyUI, the example workflow, the small model that comes along."""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from .bundle import FOLDER
from .comfyui import ROOT, Client, Listener, Prompt, Run, Server, install_pack
from .workflow import as_prompt

WORKFLOW = ROOT / "example_workflows" / "demo.json"
RESULT = ROOT / "demo.mp4"
SAVING = "SaveTalkingVideo"
NAMES, WIDTH = 24, 40


def shown(prompt: Prompt) -> Listener:
    """A line for each node, and a bar for those that take their time."""

    def show(kind: str, data: dict[str, Any], run: Run) -> None:
        if kind == "executing" and data["node"] is not None:
            print(f"\n{prompt[data['node']]['class_type']:{NAMES}}", end="", flush=True)
        elif kind == "progress":
            name, done, total = prompt[data["node"]]["class_type"], data["value"], data["max"]
            bar = "#" * round(WIDTH * done / total)
            print(f"\r{name:{NAMES}} [{bar:.<{WIDTH}}] {done} of {total} ", end="", flush=True)

    return show


def main() -> None:
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        base = Path(folder)
        install_pack(base)
        (base / "input").mkdir()
        for asset in (*FOLDER.glob("*.png"), *FOLDER.glob("*.wav")):
            shutil.copy(asset, base / "input")
        print("Starting ComfyUI ...")
        with Server(base) as server:
            client, workflow = Client(server.url), json.loads(WORKFLOW.read_text(encoding="utf-8"))
            prompt = as_prompt(workflow, client.nodes())
            run = client.run(prompt, shown(prompt), workflow=workflow)
            print()
            if run.status != "success":
                sys.exit(f"It did not work: {run.message}\n{server.text()[-2000:]}")
            saving = next(node for node, entry in prompt.items() if entry["class_type"] == SAVING)
            (saved,) = run.files(saving)
            shutil.copy(base / "output" / saved["subfolder"] / saved["filename"], RESULT)
            notes = [line for line in server.text().splitlines() if "seeded" in line]
    print(*notes[:1], f"{RESULT.name} is ready after {time.monotonic() - began:.0f} s.", sep="\n")


if __name__ == "__main__":
    main()
