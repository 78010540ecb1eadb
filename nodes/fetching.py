"""For panels on the nodes: which files are missing, and fetching them when a button says so.

Load JoyHallo Models asks with its four choices, Load Redub Model with its one and its name, nodes that need the face
landmarker alone with their names.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from ..joyhallo.files.download import Published, fetch
from . import model_folders

EVENT = "joyhallo.fetch"
PAUSE = 0.25  # seconds between two reports of progress
CHOICES = ("checkpoint", "audio_encoder", "face_models", "vae")
NODE, MODEL = "node", "model"
SEARCHING = ("PuppetPortrait", "TrackFace", "RedubLips", "CutFaces", "ScoreLipSync", "CompareVideos")  # for faces
REDUBBING = "LoadRedubModel"


class Cancelled(Exception):
    pass


@dataclass
class Status:
    state: Literal["idle", "running", "done", "cancelled", "failed"] = "idle"
    done: int = 0  # bytes
    total: int = 0
    message: str = ""
    names: Sequence[str] | None = None  # of the files; None while they are not known


@dataclass
class Fetching:
    """At most one download at a time; `tell` gets every change."""

    tell: Callable[[Status], None]
    status: Status = field(default_factory=Status)
    _stop: threading.Event = field(default_factory=threading.Event)
    _told: float = 0.0

    def start(self, choices: Mapping[str, str]) -> bool:
        """False if another download is running."""
        if self.status.state == "running":
            return False
        self._stop.clear()
        self.status = Status("running")
        threading.Thread(target=self._work, args=(dict(choices),), name="JoyHallo download", daemon=True).start()
        return True

    def cancel(self) -> None:
        self._stop.set()

    def _work(self, choices: dict[str, str]) -> None:
        try:
            files = wanted(choices)
            self.status = replace(self.status, names=[file.place for file in files.values()])
            fetch(files, self._progress)
            self._end("done")
        except Exception as error:  # told on the node: nobody else waits for this thread
            if self._stop.is_set():  # or the connection broke before the stop was noticed
                self._end("cancelled")
            else:
                self._end("failed", str(error))

    def _progress(self, done: int, total: int) -> None:
        if self._stop.is_set():
            raise Cancelled
        self.status = replace(self.status, done=done, total=total)
        if time.monotonic() - self._told >= PAUSE:
            self._told = time.monotonic()
            self.tell(self.status)

    def _end(self, state: Literal["done", "cancelled", "failed"], message: str = "") -> None:
        self.status = replace(self.status, state=state, message=message)
        self.tell(self.status)


def wanted(choices: Mapping[str, str]) -> dict[Path, Published]:
    if choices.get(NODE) in SEARCHING:
        return model_folders.wanted_to_find_faces()
    if choices.get(NODE) == REDUBBING:
        return model_folders.wanted_to_redub(choices.get(MODEL, ""))
    return model_folders.wanted(model_folders.choices(**{name: choices.get(name, "") for name in CHOICES}))


def missing(choices: Mapping[str, str]) -> list[dict[str, Any]]:
    """The files that would be fetched, as the page shows them."""
    return [
        {
            "name": file.place,
            "size": file.size,
            "licence": file.licence,
            "page": file.page,
            "folder": str(path.parents[file.place.count("/")]),
            "needed": file.needed and file.place != model_folders.SEPARATOR,
        }
        for path, file in wanted(choices).items()
    ]


def unreadable(choices: Mapping[str, str]) -> list[str]:
    """A sentence for each file that was left out of the lists of the node."""
    if choices.get(NODE) in SEARCHING:
        return []
    return model_folders.unreadable_to_redub() if choices.get(NODE) == REDUBBING else model_folders.unreadable()


def register(server: Any) -> None:
    """The routes that web/missing.js asks."""
    from aiohttp import web  # ComfyUI's own

    fetching = Fetching(lambda status: server.send_sync(EVENT, asdict(status), None))

    def chosen(given: Any) -> dict[str, str]:
        if not isinstance(given, Mapping):
            raise web.HTTPBadRequest(text=f"Expected an object with {', '.join(CHOICES)}.")
        return {name: str(given.get(name, "")) for name in (*CHOICES, NODE, MODEL)}

    @server.routes.get("/joyhallo/models")
    async def models(request: web.Request) -> web.Response:
        choices = chosen(request.query)
        found = {"files": missing(choices), "unreadable": unreadable(choices), "fetching": asdict(fetching.status)}
        return web.json_response(found)

    @server.routes.post("/joyhallo/models/fetch")
    async def begin(request: web.Request) -> web.Response:
        try:
            given = await request.json()
        except ValueError as error:
            raise web.HTTPBadRequest(text=f"This is no JSON: {error}") from error
        begun = fetching.start(chosen(given))
        return web.json_response(asdict(fetching.status), status=200 if begun else 409)

    @server.routes.post("/joyhallo/models/cancel")
    async def cancel(request: web.Request) -> web.Response:
        fetching.cancel()
        return web.json_response(asdict(fetching.status))
