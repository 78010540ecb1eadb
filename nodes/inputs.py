"""Values of inputs, checked against the node's schema.

ComfyUI checks what is typed into a node. Of what is linked it compares the names of the types alone, and a link of any
type may bring anything.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import wraps
from inspect import signature
from numbers import Integral, Real
from typing import Any, TypeGuard, TypeVar

import numpy as np
from comfy_api.latest import io
from torch import Tensor

from ..joyhallo.faces.cutouts import Cutouts
from ..joyhallo.faces.find import FaceModels
from ..joyhallo.faces.track import Track
from ..joyhallo.measures.scores import Scores
from ..joyhallo.methods.hallo.portrait import Prepared
from ..joyhallo.methods.hallo.steadiness import Steadiness
from ..joyhallo.sound.wav2vec2 import Speech as SpeechFeatures
from .comfy_adapter import JoyHalloModel, RedubModel
from .sockets import Face, FaceAnalysis, FaceCrops, FaceTrack, Model, OverTime, Redub, Scored, Speech, Steady, described
from .video import sound_of

R = TypeVar("R")


class InputError(ValueError):
    """An input holds something else than it takes; the message is for the user."""


def checked(work: Callable[..., R]) -> Callable[..., R]:
    """For methods of nodes that receive inputs: these are what the schema says, or an InputError is raised."""
    parameters = signature(work)

    @wraps(work)
    def wrapper(cls: type[io.ComfyNode], *args: Any, **given: Any) -> R:
        bound = parameters.bind(cls, *args, **given)
        schema = cls.SCHEMA or cls.define_schema()  # the former is ComfyUI's, made once: the loader's lists folders
        for wanted in schema.inputs:
            if wanted.id in bound.arguments:
                bound.arguments[wanted.id] = _checked(bound.arguments[wanted.id], wanted)
        return work(*bound.args, **bound.kwargs)

    return wrapper


def _checked(value: Any, wanted: io.Input) -> Any:
    check = CHECKS.get(str(wanted.get_io_type()))
    if check is None or (value is None and wanted.optional):
        return value
    return check(value, wanted)


# ---- a check for each type: the value as the node gets it, or an InputError


def _whole(value: Any, wanted: Any) -> int:
    step = wanted.step or 1
    fits = _is_number(value) and value == int(value) and wanted.min <= value <= wanted.max
    if not fits or (int(value) - wanted.min) % step:
        steps = f" in steps of {step}" if step > 1 else ""
        raise _unfit(value, wanted, f"a whole number from {wanted.min} to {wanted.max}{steps}")
    return int(value)


def _real(value: Any, wanted: Any) -> Any:
    if isinstance(wanted, OverTime) and not isinstance(value, Real | str | None):
        return value  # a number for each frame, which `curve` checks
    if not _is_number(value) or not wanted.min <= value <= wanted.max:
        raise _unfit(value, wanted, f"a number from {wanted.min:g} to {wanted.max:g}")
    return float(value)


def _is_number(value: Any) -> TypeGuard[float]:
    if isinstance(value, Integral):  # which may be larger than any float
        return not isinstance(value, bool)
    return isinstance(value, Real) and math.isfinite(value)


def _switch(value: Any, wanted: io.Input) -> bool:
    if not isinstance(value, Integral | np.bool_) or value not in (0, 1):
        raise _unfit(value, wanted, "yes or no")
    return bool(value)


def _text(value: Any, wanted: io.Input) -> str:
    if not isinstance(value, str):
        raise _unfit(value, wanted, "text")
    return value


def _picture(value: Any, wanted: io.Input) -> Tensor:
    if not isinstance(value, Tensor) or value.ndim not in (3, 4) or not value.numel():
        raise _unfit(value, wanted, "pictures (number, height, width, channels)")
    return value


def _mask(value: Any, wanted: io.Input) -> Tensor:
    if not isinstance(value, Tensor) or value.ndim not in (2, 3) or not value.numel():
        raise _unfit(value, wanted, "a mask (number, height, width)")
    return value


def _sound(value: Any, wanted: io.Input) -> Mapping[str, Any]:
    sound_of(value, f"`{wanted.id}`")
    return value


def _video(value: Any, wanted: io.Input) -> Any:
    if not hasattr(value, "get_components"):
        raise _unfit(value, wanted, "a video, as Load Video gives it")
    return value


def _sound_or_video(value: Any, wanted: io.Input) -> Any:
    return value if hasattr(value, "get_components") else _sound(value, wanted)


def _video_or_pictures(value: Any, wanted: io.Input) -> Any:
    return _picture(value, wanted) if isinstance(value, Tensor) else _video(value, wanted)


def _of(kind: type, source: str) -> Callable[[Any, io.Input], Any]:
    def check(value: Any, wanted: io.Input) -> Any:
        if not isinstance(value, kind):
            raise InputError(f"`{wanted.id}` is {described(value)}; connect the output of {source} to it.")
        return value

    return check


CHECKS: Mapping[str, Callable[[Any, Any], Any]] = {
    "INT": _whole,
    "FLOAT": _real,
    "BOOLEAN": _switch,
    "STRING": _text,
    "COMBO": _text,
    "IMAGE": _picture,
    "MASK": _mask,
    "AUDIO": _sound,
    "AUDIO,VIDEO": _sound_or_video,
    "VIDEO": _video,
    "VIDEO,IMAGE": _video_or_pictures,
    Model.io_type: _of(JoyHalloModel, "Load JoyHallo Models"),
    FaceAnalysis.io_type: _of(FaceModels, "Load JoyHallo Models"),
    FaceTrack.io_type: _of(Track, "Track Face"),
    Face.io_type: _of(Prepared, "Face & Mask Prep"),
    Speech.io_type: _of(SpeechFeatures, "Chinese Wav2Vec2 Encode"),
    Steady.io_type: _of(Steadiness, "Steadiness"),
    Redub.io_type: _of(RedubModel, "Load Redub Model"),
    FaceCrops.io_type: _of(Cutouts, "Cut Out Faces"),
    Scored.io_type: _of(Scores, "Score Lip Sync, or another node that scores,"),
}


def _unfit(value: Any, wanted: io.Input, expected: str) -> InputError:
    remedy = "Connect that, or set it on the node" if isinstance(wanted, io.WidgetInput) else "Connect that"
    return InputError(f"`{wanted.id}` is {described(value)}; expected {expected}. {remedy}.")
