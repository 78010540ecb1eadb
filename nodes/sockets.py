"""The types of sockets that are not ComfyUI's own, and what the nodes' schemas have in common."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
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
Landmarks = io.Custom("FACE_LANDMARKS")  # of newer ComfyUI's own face nodes


def schema(node_id: str, **facts: Any) -> io.Schema:
    """Of a node of ours."""
    if any(field.name == "search_aliases" for field in fields(io.Schema)):  # of newer versions of ComfyUI
        facts["search_aliases"] = aliases(node_id)
    return io.Schema(node_id, category=CATEGORY, **facts)


def expect(value: Any, kind: type, name: str, source: str) -> None:
    """ComfyUI compares the names of types alone, and lets anything through that comes without a link."""
    if not isinstance(value, kind):
        raise TypeError(f"`{name}` is a {type(value).__name__}; connect the output of {source} to it.")


def chosen(meanings: Mapping[str, T], choice: str, name: str) -> T:
    """What a combo's choice means; ComfyUI does not check whether it is one of the list."""
    if choice not in meanings:
        raise ValueError(f"`{name}` is {choice!r}; choose one of: {', '.join(meanings)}.")
    return meanings[choice]
