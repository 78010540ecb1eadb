"""Ultralight-Digital-Human as a redub method: the mouth of one person is made anew, with 320 ms of sound."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from fractions import Fraction
from typing import cast

import numpy as np
import torch
from torch import Tensor

from ...faces.area import area
from ...faces.track import Track
from ...sound.audio import Recording
from ...sound.heard import Heard, HeardWindows, Joints, windows
from ...sound.hubert import Hubert, frames_of, hear
from ..boxed import Boxed
from ..redub import Engine, OnStep, Ready, RedubError, Wishes, as_it_is, check_numbers
from .boxes import boxes_of
from .network import HUBERT, Ear, Generator
from .pixels import SIDE, as_crops, inputs

KNOWN = frozenset({"strength", "sync_offset", "cover_tail", "smoothing", "shift", "joints"})  # of the wishes
AT_ONCE = 16  # frames that go through the network together
WORKED = 480 * 160**2  # numbers for each of them that are held at the same time: a third more than was counted
BEFORE, AFTER = 4, 3  # 25ths of a second that a frame hears before and after its own

Network = Callable[..., Tensor]  # network.Generator: what is heard, faces, strength of the sound -> faces
Hear = Callable[[Tensor, Joints], Heard]  # samples, how parts of long sound are joined


def boxed(boxes: Tensor) -> Boxed:
    return Boxed(boxes, SIDE, area)


@dataclass(frozen=True)
class Ultralight:
    network: Network
    hear: Hear
    ear: Ear = HUBERT
    at_once: int = AT_ONCE
    device: torch.device | str = "cpu"
    dtype: torch.dtype = torch.float32
    wishes: Wishes = field(default_factory=Wishes)
    ready: Ready = as_it_is
    size: int = SIDE
    stored: torch.dtype = torch.uint8
    known: frozenset[str] = KNOWN

    @property
    def memory(self) -> int:
        return self.at_once * WORKED * self.dtype.itemsize

    def crops(self, track: Track) -> Boxed:
        return boxed(boxes_of(track, self.wishes.smoothing, self.wishes.shift))

    def listen(self, recording: Recording, rate: Fraction) -> HeardWindows:
        """At 25 frames a second as in the original, at other rates by time, so that nothing drifts."""
        samples, wishes = recording.samples, self.wishes
        heard = self.hear(samples, cast(Joints, wishes.joints))
        count = frames_of(len(samples), rate, wishes.cover_tail)
        return windows(heard, "zero", rate, count, offset=wishes.sync_offset, before=BEFORE, after=AFTER)

    def speak(self, crops: Tensor, heard: Tensor, on_step: OnStep) -> Tensor:
        faces = inputs(crops).to(self.device, self.dtype)
        sound = heard.reshape(-1, *self.ear.shape).to(self.device, self.dtype)
        made = self.ready(self.network, self.memory)(sound, faces, self.wishes.strength)
        check_numbers(made, self.dtype, "speech encoder")
        on_step(1, 1, None)
        return as_crops(made, crops.to(self.device))


def redubber(engine: Engine, most: int, wishes: Wishes) -> Ultralight:
    """most: frames at once, for which there is room."""
    network: Generator = engine.network
    hubert: Hubert = engine.parts["hubert"]
    each = 2 * (BEFORE + AFTER + 1)
    if each * hubert.sizes.width != np.prod(network.sizes.ear.shape):
        raise RedubError(
            f"The speech encoder gives {hubert.sizes.width} numbers at a time, but this model was trained with "
            f"{int(np.prod(network.sizes.ear.shape)) // each}: take hubert-large-ls960-ft."
        )

    def heard(samples: Tensor, joints: Joints) -> Heard:
        return hear(hubert, samples, joints, engine.device, engine.ready)

    return Ultralight(
        network,
        heard,
        network.sizes.ear,
        min(most, AT_ONCE),
        engine.device,
        engine.dtype,
        wishes,
        engine.ready,
    )
