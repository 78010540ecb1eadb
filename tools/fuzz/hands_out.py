"""A custom node for ComfyUI that hands out any value, to whatever input it is linked to: a link of any type may."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

Spec = Mapping[str, Any]  # what a value is, as JSON

NAME = "HandsOut"
FILLS = {
    "zeros": lambda shape: torch.zeros(shape),
    "ones": lambda shape: torch.ones(shape),
    "noise": lambda shape: torch.rand(shape, generator=torch.Generator().manual_seed(0)),
    "negative": lambda shape: -torch.ones(shape),
    "huge": lambda shape: torch.full(shape, 1e30),
    "nan": lambda shape: torch.full(shape, torch.nan),
    "inf": lambda shape: torch.full(shape, torch.inf),
}


def value_of(spec: Spec) -> Any:
    return MAKERS[spec["is"]](spec)


def _number(spec: Spec) -> Any:
    number = float(spec["value"]) if spec.get("real") else int(spec["value"])
    return np.float32(number) if spec.get("numpy") else number


def _tensor(spec: Spec) -> Any:
    made = FILLS[spec["fill"]](tuple(spec["shape"])).to(getattr(torch, spec["dtype"]))
    return made.numpy() if spec.get("numpy") else made


def _audio(spec: Spec) -> dict[str, Any]:
    made = {"waveform": value_of(spec["waveform"]), "sample_rate": value_of(spec["rate"])}
    return {name: part for name, part in made.items() if name not in spec.get("without", ())}


def _video(spec: Spec) -> Any:
    from comfy_api.latest import InputImpl, Types  # pyright: ignore[reportMissingImports]

    audio = value_of(spec["audio"]) if "audio" in spec else None
    parts = Types.VideoComponents(value_of(spec["images"]), frame_rate=value_of(spec["rate"]), audio=audio)
    return InputImpl.VideoFromComponents(parts)


MAKERS = {
    "nothing": lambda spec: None,
    "number": _number,
    "switch": lambda spec: bool(spec["value"]),
    "text": lambda spec: spec["value"],
    "list": lambda spec: [value_of(one) for one in spec["of"]],
    "dict": lambda spec: {name: value_of(one) for name, one in spec["of"].items()},
    "object": lambda spec: object(),
    "tensor": _tensor,
    "audio": _audio,
    "video": _video,
}


class AnyType(str):
    """Fits every input."""

    def __ne__(self, other: object) -> bool:
        return False

    __hash__ = str.__hash__


class HandsOut:
    RETURN_TYPES = (AnyType("*"),)
    FUNCTION = "hand_out"
    CATEGORY = "testing"

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        return {"required": {"spec": ("STRING", {"default": ""})}}

    def hand_out(self, spec: str) -> tuple[Any]:
        return (value_of(json.loads(spec)),)


NODE_CLASS_MAPPINGS = {NAME: HandsOut}
