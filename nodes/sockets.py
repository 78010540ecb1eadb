"""Our own socket types, and helpers for the nodes' schemas and inputs."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import fields
from numbers import Real
from typing import Any, TypeVar

from comfy_api.latest import io

from .aliases import aliases

CATEGORY = "JoyHallo"

T = TypeVar("T")

Model = io.Custom("JOYHALLO_MODEL")
FaceAnalysis = io.Custom("JOYHALLO_FACE_ANALYSIS")
Face = io.Custom("JOYHALLO_FACE")
Speech = io.Custom("JOYHALLO_SPEECH")
Steady = io.Custom("JOYHALLO_STEADINESS")
Redub = io.Custom("REDUB_MODEL")
FaceTrack = io.Custom("FACE_TRACK")
FaceCrops = io.Custom("FACE_CROPS")
Scored = io.Custom("JOYHALLO_SCORES")
Landmarks = io.Custom("FACE_LANDMARKS")  # from the face nodes of newer ComfyUI


class OverTime(io.Float.Input):
    """A number, or a list with one for each frame."""


def rate_of_images() -> io.Float.Input:
    return io.Float.Input(
        "fps",
        default=25.0,
        min=0.01,
        max=1000.0,
        step=0.001,
        tooltip="Frames per second of images. Ignored for a video, which has its own rate.",
    )


def schema(
    node_id: str, *, newer: Mapping[str, Any] | None = None, advanced: Collection[str] = (), **facts: Any
) -> io.Schema:
    """The schema of one of our nodes, with its name, category and search aliases.

    newer: facts that only newer versions of ComfyUI know; advanced: inputs that these fold away on the canvas.
    """
    known = {field.name for field in fields(io.Schema)}
    wanted = {"search_aliases": aliases(node_id), **(newer or {})}
    for found in facts.get("inputs", ()):
        if found.id in advanced:
            found.advanced = True  # which older versions do not look at
    return io.Schema(
        node_id, category=CATEGORY, **facts, **{name: fact for name, fact in wanted.items() if name in known}
    )


def chosen(meanings: Mapping[str, T], choice: str, name: str) -> T:
    """The meaning of a combo's choice, or an error: ComfyUI does not check that it is in the list."""
    if choice not in meanings:
        raise ValueError(f"`{name}` is {choice!r}; choose one of: {', '.join(meanings)}.")
    return meanings[choice]


def described(value: Any) -> str:
    """As an error says what was found."""
    if value is None:
        return "empty"
    if isinstance(value, Real):
        return f"{value!s:.40}"
    if isinstance(value, str):
        return f"the text {value!r:.80}"
    shape = getattr(value, "shape", None)
    kind = type(value).__name__
    return (
        f"{'an' if kind[0] in 'aeiouAEIOU' else 'a'} {kind}{f' of shape {tuple(shape)}' if shape is not None else ''}"
    )
