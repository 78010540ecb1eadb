"""What nodes show of their work: steps done, a face that moves, pictures that explain."""

from __future__ import annotations

import hashlib
import logging
import math
import os
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import comfy.latent_formats
import comfy.model_management
import comfy.utils
import folder_paths
import latent_preview
import torch
from comfy_api.latest import io, ui
from PIL import Image
from torch import Tensor

from ..joyhallo.faces.boxes import Box, Picture
from ..joyhallo.files.scratch import scratch
from ..joyhallo.film.write import as_floats
from ..joyhallo.methods.chunks import Chunk, Progress
from ..joyhallo.notices import Notice

log = logging.getLogger(__name__)

SELDOM = 0.25  # seconds between two pictures of what a graphics card makes
KEPT = 50  # pictures of a kind in the temporary folder, far more than a page shows
NOTICES = "joyhallo_notices"  # the key that web/notices.js reads
FACES = "joyhallo_faces"  # the key that web/joyhallo.js reads


class Pace:
    """How long it will still take, going by the steps since the first, before which the networks are loaded."""

    def __init__(self) -> None:
        self.first: tuple[float, float] | None = None
        self.done = self.total = 0.0

    def count(self, done: float, total: float) -> None:
        self.first = self.first or (done, time.monotonic())
        self.done, self.total = done, total

    def left(self) -> float | None:
        """Seconds; None while nobody can tell, 0 at the end."""
        if self.first is None or self.done == self.first[0]:
            return None
        done, since = self.first
        return (time.monotonic() - since) / (self.done - done) * (self.total - self.done)


Arrived = Callable[[], bool]
Paint = Callable[[Tensor], tuple]


class Late:
    """Pictures of what a device makes, for which it never waits: each is there a step later, and they are few."""

    def __init__(
        self,
        fetch: Callable[[Tensor], tuple[Tensor, Arrived]],
        every: float = SELDOM,
        clock: Callable[[], float] = time.monotonic,
    ):
        """fetch: begins to bring numbers to where pictures are made of them; every: seconds"""
        self.fetch, self.every, self.clock = fetch, every, clock
        self.coming: tuple[Tensor, Arrived, Paint] | None = None
        self.next = -math.inf

    def __call__(self, frame: Tensor, paint: Paint) -> Any:
        """What `paint` made of the last one, if that has come; None while there is nothing new."""
        shown = None
        if self.coming is not None and self.coming[1]():
            there, _, how = self.coming
            shown, self.coming = how(there), None
        if self.coming is None and self.clock() >= self.next:
            self.coming, self.next = (*self.fetch(frame), paint), self.clock() + self.every
        return shown


def at_once(frame: Tensor, paint: Paint) -> Any:
    """Of a CPU nothing is waited for."""
    return paint(frame)


def to_memory(frame: Tensor) -> tuple[Tensor, Arrived]:
    if frame.device.type != "cuda":
        return frame.cpu(), lambda: True
    copy, copied = torch.empty_like(frame, device="cpu", pin_memory=True), torch.cuda.Event()
    copy.copy_(frame, non_blocking=True)
    copied.record(torch.cuda.current_stream(frame.device))
    return copy, copied.query


def as_it_is(frame: Tensor) -> tuple[Tensor, Arrived]:
    return frame, lambda: True


class Preview:
    """Counts the steps of the whole clip and shows one frame after another, so that the face is seen to move.

    With previews switched on in ComfyUI these are the frames that the current step points at, else those that were
    last finished.
    """

    def __init__(
        self,
        picture: Tensor,
        latents: comfy.latent_formats.LatentFormat | None,
        device: torch.device,
        node: str | None = None,
    ):
        """picture (3, height, width) in -1..1 is shown until there is more; latents: their kind, if the method has any;
        node: where words are shown."""
        self.previewer = None if latents is None else latent_preview.get_previewer(device, latents)
        # A network that decodes them works where they are.
        decoded = self.previewer is not None and not isinstance(self.previewer, latent_preview.Latent2RGBPreviewer)
        self.show = at_once if device.type == "cpu" else Late(as_it_is if decoded else to_memory)
        self.finished = picture[None] / 2 + 0.5
        self.node, self.pace, self.told = node, Pace(), False
        self.bar = comfy.utils.ProgressBar(1)  # the first step tells how many there are

    def after_step(self, progress: Progress) -> None:
        comfy.model_management.throw_exception_if_processing_interrupted()
        self.pace.count(progress.done, progress.total)
        self.bar.update_absolute(progress.done, progress.total, self._shown(progress))

    def after_chunk(self, chunk: Chunk) -> None:
        if len(chunk.frames):
            self.finished = as_floats(chunk.frames)
        left, known = self.pace.left(), self.told
        if left:
            self.tell(f"About {lasting(left)} left.", logged=not known)
            self.told = True

    def tell(self, text: str, logged: bool = True) -> None:
        if logged:
            log.info(text)
        tell(text, self.node)

    def _shown(self, progress: Progress) -> tuple | None:
        latents = progress.estimate if self.previewer is not None else None
        frames, paint = (self.finished, _of_frame) if latents is None else (latents, self._of_latents)
        return self.show(frames[progress.done % len(frames)], paint)

    def _of_latents(self, frame: Tensor) -> tuple:
        assert self.previewer is not None
        return self.previewer.decode_latent_to_preview_image("JPEG", frame[None])


def _of_frame(frame: Tensor) -> tuple:
    return "JPEG", as_image(frame), latent_preview.MAX_PREVIEW_RESOLUTION


def as_image(frame: Tensor) -> Image.Image:
    """(3, height, width) in 0..1"""
    return Image.fromarray((frame.clamp(0, 1) * 255).byte().movedim(0, -1).cpu().numpy())


def stop(*_: object) -> None:
    """If the user cancelled: a watch for work that shows no progress."""
    comfy.model_management.throw_exception_if_processing_interrupted()


def lasting(seconds: float) -> str:
    """In words, no finer than anybody needs."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    return f"{round(seconds / 60)} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def listed(notices: Iterable[Notice]) -> dict[str, Any]:
    """For the node's `ui`. An empty list, too: it makes the page take down older ones."""
    return {NOTICES: [{"key": one.key, "text": str(one), "values": dict(one.values)} for one in notices]}


def temporary_folder() -> Path:
    return Path(folder_paths.get_temp_directory())


def shown(picture: Picture, kind: str) -> ui.SavedResult:
    """In ComfyUI's temporary folder, from where the page fetches it; the newest of each kind are kept."""
    digest = hashlib.sha256(f"{picture.shape}".encode() + picture.tobytes()).hexdigest()[:32]
    path = temporary_folder() / f"JoyHallo_{kind}_{digest}.png"
    try:
        os.utime(path)
    except OSError:  # it is new
        with scratch(path.parent) as unfinished:
            Image.fromarray(picture).save(unfinished / path.name, compress_level=1)
            (unfinished / path.name).replace(path)
    _keep_newest(path.parent, f"JoyHallo_{kind}_*.png")
    return ui.SavedResult(path.name, "", io.FolderType.temp)


def faces_shown(picture: Picture, marked: Picture, boxes: Sequence[Box], chosen: int | None) -> dict[str, Any]:
    """The data for web/faces.js: the picture to show, and faces in fractions of its width and height."""
    height, width = picture.shape[:2]
    return {
        "image": shown(marked, "faces"),
        "faces": [[box.left / width, box.top / height, box.right / width, box.bottom / height] for box in boxes],
        "chosen": chosen,
    }


def offer_faces(hidden: Any, picture: Picture, marked: Picture, boxes: Sequence[Box]) -> None:
    """Send the faces to the node at once: after an error ComfyUI shows no output."""
    if hidden and hidden.unique_id:
        server = page()
        event = faces_shown(picture, marked, boxes, None)
        server.send_sync("joyhallo.faces", {"node": hidden.unique_id, **event}, server.client_id)


def _keep_newest(folder: Path, pattern: str) -> None:
    with suppress(OSError):  # another server empties the folder, or on Windows one is being read
        for path in sorted(folder.glob(pattern), key=lambda path: path.stat().st_mtime, reverse=True)[KEPT:]:
            path.unlink()


def tell(text: str, node: str | None) -> None:
    """Below a node, if there is one."""
    if node:
        page().send_progress_text(text, node)


def page() -> Any:
    """ComfyUI's server, which talks to the page; None where nodes are used without one."""
    return getattr(getattr(sys.modules.get("server"), "PromptServer", None), "instance", None)
