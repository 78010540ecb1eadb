"""Rows of talk and redub on ComfyUI servers: what can be said before any work, what is uploaded, what is kept."""

from __future__ import annotations

import os
import threading
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from PIL import Image

from ...files.digests import digest_of
from ...film.marks import read_marks
from ...film.tags import retag
from ...libraries import library
from ..faces import painted
from ..jobs import OPTIONS, Job
from ..media import Source, mask_of, picture_of, sound_of, with_ours
from ..option import by_name
from .comfyui import ComfyUI, Prompt, RefusedError
from .counterparts import Files
from .graphs import graph_of, known_of
from .table import Problems, TableError, Task

NEEDED = {  # nodes, by kind of row
    "talk": ("LoadImage", "LoadImageMask", "LoadAudio", "PuppetPortrait", "SaveTalkingVideo"),
    "talk --model": ("LoadImage", "LoadImageMask", "LoadVideo", "LoadAudio", "LoadJoyHalloModels", "FaceMaskPrep",
                     "ChineseWav2Vec2Encode", "JoyHalloMotion", "JoyHalloSteadiness", "JoyHalloSampler",
                     "SaveTalkingVideo"),
    "redub": ("LoadImage", "LoadImageMask", "LoadVideo", "LoadAudio", "LoadRedubModel", "TrackFace", "RedubLips",
              "SaveTalkingVideo"),
}  # fmt: skip
OWN = ("landmarker", "face_models", "vae", "whisper", "hubert", "parser", "separator")  # which servers have themselves
MODELS = ("model", "vae", "audio_encoder", "face_models", "identity")  # what the choice of files depends on
EXACT = {".wav": ("PCM_16", "PCM_24", "FLOAT"), ".flac": ("PCM_16", "PCM_24")}  # which ComfyUI reads as we do


@dataclass
class PlainRows:
    """Files are uploaded as this machine reads them, so that the server sees the same pictures and hears the same."""

    folder: Path  # for files that are made to be uploaded
    needed: Collection[str]  # kinds of nodes
    _there: dict[str, Files] = field(default_factory=dict)  # by server
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def prompt(self, job: Job, name: str, server: ComfyUI) -> Prompt:
        models = self._there.setdefault(server.url, Files(server)).choices(job)
        return graph_of(job, self.material, name, models, self._box(job))

    def keep(self, job: Job, key: str, file: Path) -> Path:
        """The film as this machine would have written it: with its labels, without ComfyUI's own tags."""
        source = job.options.get("background") or job.inputs["picture" if job.kind == "talk" else "video"]
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
        box = job.options.get("box")
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
        for name in options.keys() - known_of(task.job):
            if options[name] != usual[kind][name].default:
                own = "a ComfyUI server takes its own" if name in OWN else "rows on servers do not have it"
                problems.add(task.row, name, f"found {options[name]}, but {own}; leave it empty")
        if options.get("detector") == "InsightFace":
            problems.add(task.row, "detector", "found InsightFace, which rows on servers cannot use; expected auto or "
                         "MediaPipe, or a workflow with --workflow")  # fmt: skip
    problems.raise_if_any()


def needed(tasks: Sequence[Task]) -> set[str]:
    """The kinds of nodes that rows take."""
    kinds = {"talk --model" if task.job.options.get("model") is not None else task.job.kind for task in tasks}
    return {node for kind in kinds for node in NEEDED.get(kind, ())}


def check_models(server: ComfyUI, tasks: Sequence[Task]) -> None:
    """A TableError if a server lacks a model that rows take."""
    files, known = Files(server), set[tuple[Path | str | None, ...]]()
    for task in tasks:
        job = task.job
        models = job.inputs.get("model"), *map(job.options.get, MODELS)
        if models in known:
            continue
        known.add(models)
        try:
            files.choices(job)
        except RefusedError as error:
            raise TableError(f"Row {task.row}, column model: {error}") from error
