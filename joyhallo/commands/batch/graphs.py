"""Rows of talk and redub as workflows of our nodes, so that a ComfyUI makes what this machine would make."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from ...film.label import CHINESE, ENGLISH, SECONDS
from ..jobs import Job
from ..media import is_still
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
MOTION = ("rest_in_pauses", "sensitivity", "attack", "release")
STEADINESS = ("hold_colours", "overlap", "fade", "anchor_every")
SPEECH = ("separate_vocals", "loudness", "normalize")
PREPARING = ("which_face", "framing", "face_expand", "lip_expand", "identity")
SAMPLING = ("seed", "preset", "steps", "cfg", "size")
PARTS = ("vae", "audio_encoder", "face_models")  # of JoyHallo, found on the server as the model is
REGIONS = ("pose", "expression", "lip")


def known_of(job: Job) -> set[str]:
    """Options that a row on servers can have; those of the puppet say nothing of a model, and the other way round."""
    if job.kind == "redub":
        return {*REDUBBING, "version", "box", "mask", *FACE, *FILM}
    weights = (f"{region}_weight" for region in REGIONS)
    portrait = {*SAMPLING, "square", *weights, *MOTION, *STEADINESS, *SPEECH, *PREPARING, "background"}
    return {*MOVING, *portrait, "model", *PARTS, "lip_mask", "face_mask", *FILM}


Link = list[Any]  # a node and the number of its output
Material = Callable[[str, Path], Path]  # a kind (picture, mask, sound, video) and a file -> the file to be uploaded


class Graph(dict[str, dict[str, Any]]):
    def add(self, kind: str, /, **inputs: Any) -> Link:
        """A node; returns the link to its first output. Inputs of None are left out."""
        number = str(len(self) + 1)
        self[number] = {"class_type": kind, "inputs": {name: put for name, put in inputs.items() if put is not None}}
        return [number, 0]


def graph_of(
    job: Job, material: Material, name: str, models: Mapping[str, str] | None = None, box: Path | None = None
) -> Prompt:
    """name: of what is saved; models: the choices of the node that loads them; box: a mask of the row's box"""
    graph = Graph()
    audio = graph.add("LoadAudio", audio=material("sound", job.inputs["sound"]))
    if job.kind == "redub":
        film = _redubbed(graph, job, material, audio, models or {}, box)
    elif models:
        film = _portrayed(graph, job, material, audio, models)
    else:
        film = _talking(graph, job, material, audio)
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
    return graph.add("PuppetPortrait", image=image, audio=audio, **_some(job.options, MOVING), **masks)


def _portrayed(graph: Graph, job: Job, material: Material, audio: Link, models: Mapping[str, str]) -> Link:
    options = job.options
    masks = {name: _mask(graph, options[name], material) for name in ("lip_mask", "face_mask")}
    image = _picture(graph, job.inputs["picture"], material)
    dtype = job.compute.precision
    model, encoder, faces, vae = _outputs(
        graph.add("LoadJoyHalloModels", weight_dtype=dtype, download=False, **models), 4
    )
    speech = graph.add("ChineseWav2Vec2Encode", audio_encoder=encoder, audio=audio, **_some(options, SPEECH))
    face = graph.add("FaceMaskPrep", image=image, face_analysis=faces, **_some(options, PREPARING), **masks)
    behind = options["background"]
    return graph.add(
        "JoyHalloSampler",
        model=model,
        vae=vae,
        face=face,
        speech=speech,
        **_some(options, SAMPLING),
        **_weights(graph, options, speech),
        picture="square" if options["square"] else "whole picture",
        resume=job.resuming,
        steadiness=graph.add("JoyHalloSteadiness", **_some(options, STEADINESS)),
        background=None if behind is None else graph.add("LoadVideo", file=material("video", behind)),
    )


def _weights(graph: Graph, options: Mapping[str, Any], speech: Link) -> dict[str, Any]:
    """Numbers, or what Motion over Time makes of keyframes and pauses."""
    given = {region: options[f"{region}_weight"] for region in REGIONS}
    if not options["rest_in_pauses"] and not any(":" in text or "：" in text for text in given.values()):
        return {f"{region}_weight": float(text) for region, text in given.items()}
    motion = graph.add("JoyHalloMotion", speech=speech, expressiveness="natural", **given, **_some(options, MOTION))
    return {f"{region}_weight": link for region, link in zip(REGIONS, _outputs(motion, len(REGIONS)), strict=True)}


def _outputs(link: Link, count: int) -> list[Link]:
    """The first so many outputs of the node that a link comes from."""
    return [[link[0], number] for number in range(count)]


def _some(options: Mapping[str, Any], names: Iterable[str]) -> dict[str, Any]:
    return {name: options[name] for name in names}


def _redubbed(
    graph: Graph, job: Job, material: Material, audio: Link, models: Mapping[str, str], box: Path | None
) -> Link:
    options, still = job.options, is_still(job.inputs["video"])
    loaded = graph.add(
        "LoadRedubModel",
        weight_dtype=job.compute.precision,
        download=False,
        version=options["version"],
        **models,
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
        **_some(options, REDUBBING),
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
