"""Ultralight-Digital-Human as a redub method: the mouth of one person is made anew, with 320 ms of sound."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...faces.area import area
from ...faces.blend import Patch
from ...faces.boxes import Box
from ...faces.rescale import rescale
from ...faces.track import Track
from ...sound.audio import Recording
from ...sound.heard import Heard, HeardWindows, Joints, windows
from ...sound.hubert import Hubert, frames_of, hear
from ..redub import Engine, OnStep, Ready, RedubError, Wishes, as_it_is, check_numbers
from .boxes import boxes_of
from .network import HUBERT, Ear, Generator
from .pixels import SIDE, as_crops, inputs

KNOWN = frozenset({"strength", "sync_offset", "cover_tail", "smoothing", "shift", "joints"})  # of the wishes
AT_ONCE = 16  # frames that go through the network together
WORKED = 480 * 160**2  # numbers for each of them that are held at the same time: a third more than was counted
LEAST = 2  # pixels of a box: of fewer there would be nothing to see
BEFORE, AFTER = 4, 3  # 25ths of a second that a frame hears before and after its own

Network = Callable[..., Tensor]  # network.Generator: what is heard, faces, strength of the sound -> faces
Hear = Callable[[Tensor, Joints], Heard]  # samples, how parts of long sound are joined


@dataclass(frozen=True)
class Faces:
    """The part of each frame that the network sees, and replaces."""

    boxes: Tensor  # (frames, 4), whole numbers: left, top, right, bottom

    @property
    def usable(self) -> NDArray[np.bool_]:
        left, top, right, bottom = self.boxes.unbind(1)
        return ((right - left >= LEAST) & (bottom - top >= LEAST)).numpy()

    def cut(self, pictures: Tensor, frames: Sequence[int]) -> Tensor:
        """-> (n, 3, 168, 168), of bytes"""
        boxes = [Box(*box).slices for box in self.boxes[list(frames)].tolist()]
        crops = [
            area(picture[rows, columns][None], (SIDE, SIDE))
            for picture, (rows, columns) in zip(pictures, boxes, strict=True)
        ]
        return torch.cat(crops).permute(0, 3, 1, 2) if crops else pictures.new_zeros(0, 3, SIDE, SIDE)

    def patch(self, crop: Tensor, frame: int) -> Patch | None:
        """All of a crop, its rim included, which the original lays over its box as it is, too."""
        box = Box(*self.boxes[frame].tolist())
        if not box.area:
            return None
        pixels = rescale(crop.byte().permute(1, 2, 0)[None], (int(box.width), int(box.height)))
        return Patch(box, pixels[0])


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

    def crops(self, track: Track) -> Faces:
        return Faces(boxes_of(track, self.wishes.smoothing, self.wishes.shift))

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
