"""Rows of talk and redub as workflows of our nodes, so that a ComfyUI makes what this machine would make."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ...film.label import CHINESE, ENGLISH, SECONDS
from ..jobs import Job
from ..media import PICTURES
from .comfyui import Prompt

FOLDER = "joyhallo_batch"  # of what servers save
LABELS = {  # the choices of Save Talking Video
    "off": "off",
    "zh": f"{CHINESE}, first {SECONDS} s",
    "zh-whole": f"{CHINESE}, whole video",
    "en": f"{ENGLISH}, first {SECONDS} s",
    "en-whole": f"{ENGLISH}, whole video",
}
MOVING = ("strength", "expressiveness", "blinks", "sway", "seed")
REDUBBING = (
    "seed", "steps", "guidance", "when_video_is_short", "when_video_is_long", "sync_offset", "blend", "silence",
    "strength", "cover_tail", "level_loudness", "smoothing", "pad_top", "pad_bottom", "pad_left", "pad_right", "area",
    "shift", "reuse", "solver", "long_sound",
)  # fmt: skip
FILM, FACE = ("quality", "label"), ("which_face", "reference", "detector", "detection_size", "gaps", "cuts")
KNOWN = {  # options that rows on servers can have
    "talk": {*MOVING, "lip_mask", "face_mask", *FILM},
    "redub": {*REDUBBING, "version", "box", "mask", *FACE, *FILM},
}

Link = list[Any]  # a node and the number of its output
Material = Callable[[str, Path], Path]  # a kind (picture, mask, sound, video) and a file -> the file to be uploaded


class Graph(dict[str, dict[str, Any]]):
    def add(self, kind: str, **inputs: Any) -> Link:
        """A node; returns the link to its first output. Inputs of None are left out."""
        number = str(len(self) + 1)
        self[number] = {"class_type": kind, "inputs": {name: put for name, put in inputs.items() if put is not None}}
        return [number, 0]


def graph_of(job: Job, material: Material, name: str, model: str = "", box: Path | None = None) -> Prompt:
    """name: of what is saved; model: its name on the server; box: a mask of the row's box"""
    graph = Graph()
    audio = graph.add("LoadAudio", audio=material("sound", job.inputs["sound"]))
    if job.kind == "talk":
        film = _talking(graph, job, material, audio)
    else:
        film = _redubbed(graph, job, material, audio, model, box)
    options = job.options
    graph.add(
        "SaveTalkingVideo",
        video=film,
        audio=audio,  # as it was loaded: what the video brings is kept with 24 bits
        fps=25.0,
        filename_prefix=f"{FOLDER}/{name}",
        format=job.output.suffix.lower().removeprefix("."),
        quality=options["quality"],
        label=LABELS[options["label"]],
    )
    return graph


def _talking(graph: Graph, job: Job, material: Material, audio: Link) -> Link:
    masks = {name: _mask(graph, job.options[name], material) for name in ("lip_mask", "face_mask")}
    image = _picture(graph, job.inputs["picture"], material)
    return graph.add(
        "PuppetPortrait", image=image, audio=audio, **{name: job.options[name] for name in MOVING}, **masks
    )


def _redubbed(graph: Graph, job: Job, material: Material, audio: Link, model: str, box: Path | None) -> Link:
    options, still = job.options, job.inputs["video"].suffix.lower() in PICTURES
    loaded = graph.add(
        "LoadRedubModel",
        model=model,
        weight_dtype=job.compute.precision,
        download=False,
        version=options["version"],
    )
    video = (
        _picture(graph, job.inputs["video"], material)
        if still
        else graph.add("LoadVideo", file=material("video", job.inputs["video"]))
    )
    mask = _mask(graph, options["mask"], material)
    painted = _mask(graph, box, material) if box else mask if options["detector"] == "auto" else None
    return graph.add(
        "RedubLips",
        redub_model=loaded,
        video=video,
        audio=audio,
        fps=25.0,
        resume=True,
        face_track=_tracked(graph, options, video, painted, material),
        mask=mask,
        **{name: options[name] for name in REDUBBING},
    )


def _tracked(graph: Graph, options: Mapping[str, Any], video: Link, painted: Link | None, material: Material) -> Link:
    reference = options["reference"]
    return graph.add(
        "TrackFace",
        video=video,
        which_face=options["which_face"],
        detector="MediaPipe" if painted is None else "painted mask",
        detection_size=options["detection_size"],
        gaps=options["gaps"],
        cuts=options["cuts"],
        fps=25.0,
        reference=None if reference is None else _picture(graph, reference, material),
        mask=painted,
    )


def _picture(graph: Graph, path: Path, material: Material) -> Link:
    return graph.add("LoadImage", image=material("picture", path))


def _mask(graph: Graph, path: Path | None, material: Material) -> Link | None:
    return None if path is None else graph.add("LoadImageMask", image=material("mask", path), channel="red")
