"""Rows of talk and redub on ComfyUI servers: what can be said before any work, what is uploaded, what is kept."""

from __future__ import annotations

import os
import threading
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from PIL import Image

from ...files.digests import digest_of
from ...film.marks import read_marks
from ...film.tags import retag
from ...libraries import library
from ..faces import painted
from ..jobs import OPTIONS, Job
from ..media import Source, mask_of, picture_of, sound_of, with_ours
from ..options import by_name
from .comfyui import ComfyUI, Prompt, RefusedError
from .graphs import KNOWN, graph_of
from .table import Problems, TableError, Task

MODEL_FOLDERS = ("joyhallo", "wav2lip", "latentsync", "musetalk", "ultralight")  # of ComfyUI, for networks that redub
INNER = "pretrained_models/"  # in the first of them, which our nodes leave out of names
NEEDED = {  # nodes, by kind of row
    "talk": ("LoadImage", "LoadImageMask", "LoadAudio", "PuppetPortrait", "SaveTalkingVideo"),
    "redub": ("LoadImage", "LoadImageMask", "LoadVideo", "LoadAudio", "LoadRedubModel", "TrackFace", "RedubLips",
              "SaveTalkingVideo"),
}  # fmt: skip
OWN = ("landmarker", "face_models", "vae", "whisper", "hubert", "parser")  # files that every server has of its own
EXACT = {".wav": ("PCM_16", "PCM_24", "FLOAT"), ".flac": ("PCM_16", "PCM_24")}  # which ComfyUI reads as we do


@dataclass
class PlainRows:
    """Files are uploaded as this machine reads them, so that the server sees the same pictures and hears the same."""

    folder: Path  # for files that are made to be uploaded
    needed: Collection[str]  # kinds of nodes
    _there: dict[str, Mapping[str, int]] = field(default_factory=dict)  # by server
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def prompt(self, job: Job, name: str, server: ComfyUI) -> Prompt:
        if job.kind == "talk":
            return graph_of(job, self.material, name)
        model = name_of(job.inputs["model"], self._models(server), server)
        return graph_of(job, self.material, name, model, self._box(job))

    def _models(self, server: ComfyUI) -> Mapping[str, int]:
        if server.url not in self._there:
            self._there[server.url] = on_server(server)
        return self._there[server.url]

    def keep(self, job: Job, key: str, file: Path) -> Path:
        """The film as this machine would have written it: with its labels, without ComfyUI's own tags."""
        source = job.inputs["picture" if job.kind == "talk" else "video"]
        kept = file.with_name(f"kept-{file.name}")
        retag(file, kept, with_ours(read_marks(source), key[:32]).tags())
        file.unlink()
        return kept

    # ---- what is uploaded

    def material(self, kind: str, path: Path) -> Path:
        if kind == "video" or (kind == "sound" and _is_exact(path)):
            return path
        with self._lock:
            made = self.folder / f"{digest_of(path)[:32]}-{kind}{'.wav' if kind == 'sound' else '.png'}"
            if not made.exists():
                part = made.with_name(f"part-{made.name}")
                MAKERS[kind](path, part)
                os.replace(part, made)
        return made

    def _box(self, job: Job) -> Path | None:
        box = job.options["box"]
        if box is None:
            return None
        size = Source.of(job.inputs["video"]).size
        made = self.folder / f"box-{'-'.join(map(str, (*box, *size)))}.png"
        with self._lock:
            if not made.exists():
                Image.fromarray(painted(box, size)).save(made)
        return made


def _is_exact(path: Path) -> bool:
    kinds = EXACT.get(path.suffix.lower(), ())
    return bool(kinds) and library("soundfile", "Reading sound files").info(str(path)).subtype in kinds


def _as_picture(path: Path, target: Path) -> None:
    Image.fromarray(picture_of(path)).save(target)


def _as_mask(path: Path, target: Path) -> None:
    Image.fromarray(mask_of(path, "mask")).save(target)


def _as_sound(path: Path, target: Path) -> None:
    waveform, rate = sound_of(path)
    library("soundfile", "Writing sound files").write(str(target), waveform.T.numpy(), rate, "FLOAT")


MAKERS = {"picture": _as_picture, "mask": _as_mask, "sound": _as_sound}


# ---- before any work


def check_tasks(table: Path, tasks: Sequence[Task]) -> None:
    """A TableError lists what servers cannot do of what rows ask for."""
    problems = Problems(table)
    usual = {kind: by_name(options) for kind, options in OPTIONS.items()}
    for task in tasks:
        kind, options = task.job.kind, task.job.options
        if options.get("model") is not None:
            problems.add(task.row, "model", f"found {options['model']}, but a picture talks through a model on servers "
                         "only as a workflow; give --workflow, or leave it empty for the puppet")  # fmt: skip
            continue
        for name in options.keys() - KNOWN[kind]:
            if options[name] != usual[kind][name].default:
                own = "a ComfyUI server takes its own" if name in OWN else "rows on servers do not have it"
                problems.add(task.row, name, f"found {options[name]}, but {own}; leave it empty")
        if options.get("detector") == "InsightFace":
            problems.add(task.row, "detector", "found InsightFace, which rows on servers cannot use; expected auto or "
                         "MediaPipe, or a workflow with --workflow")  # fmt: skip
    problems.raise_if_any()


def needed(tasks: Sequence[Task]) -> set[str]:
    """The kinds of nodes that rows take."""
    return {node for kind in {task.job.kind for task in tasks} for node in NEEDED.get(kind, ())}


def check_models(server: ComfyUI, tasks: Sequence[Task]) -> None:
    models = {task.job.inputs["model"]: task.row for task in reversed(tasks) if task.job.kind == "redub"}
    there = on_server(server) if models else {}
    for path, row in models.items():
        try:
            name_of(path, there, server)
        except RefusedError as error:
            raise TableError(f"Row {row}, column model: {error}") from error


def on_server(server: ComfyUI) -> dict[str, int]:
    """Bytes of the networks that redub, by their names in our nodes."""
    found = dict[str, int]()
    for folder in MODEL_FOLDERS:
        for name, size in server.models(folder).items():
            found.setdefault(name.removeprefix(INNER), size)
    return found


def name_of(path: Path, there: Mapping[str, int], server: ComfyUI) -> str:
    """Of a network on a server: of the same name and size, which is all that can be seen from here."""
    size = path.stat().st_size
    same = [name for name in there if PurePosixPath(name).name == path.name]
    fitting = [name for name in same if there[name] == size]
    if fitting:
        return max(fitting, key=lambda name: _shared(name, path))
    if same:
        raise RefusedError(
            f"{server.url} has {same[0]} with {there[same[0]]} bytes, but {path} has {size}; put the same file there, "
            "or leave that server out."
        )
    raise RefusedError(
        f"{server.url} has no {path.name}; put it into models/joyhallo there, or leave that server out. Found "
        f"{', '.join(sorted(there)[:8]) or 'nothing'}."
    )


def _shared(name: str, path: Path) -> int:
    """How many of the last parts of two paths are the same."""
    pairs = zip(reversed(PurePosixPath(name).parts), reversed(path.parts), strict=False)
    count = 0
    for one, other in pairs:
        if one != other:
            break
        count += 1
    return count
