"""Wav2Lip as a redub method: a box of each frame goes through the network, with 200 ms of sound."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from fractions import Fraction
from typing import cast

import numpy as np
import torch
from torch import Tensor

from ...faces.rescale import rescale
from ...faces.steady import stretches
from ...faces.track import Track
from ...sound import mel
from ...sound.audio import Recording
from ...sound.mel import MelWindows
from ..boxed import Boxed
from ..redub import Engine, OnStep, Wishes
from .boxes import Pads, Smoothing, padded, smoothed
from .network import Generator
from .pixels import as_crops, inputs

KNOWN = frozenset({"strength", "sync_offset", "cover_tail", "smoothing", "pads"})  # of the wishes
AT_ONCE = {96: 32, 256: 8}  # frames that go through the network together, by the side of a face
WORKED = 380  # numbers for each pixel of a crop that are held at the same time: a third more than was measured

Network = Callable[..., Tensor]  # network.Generator: what is heard, faces, strength of the sound -> faces


@dataclass(frozen=True)
class Wav2Lip:
    network: Network
    size: int
    at_once: int
    device: torch.device | str = "cpu"
    dtype: torch.dtype = torch.float32
    wishes: Wishes = field(default_factory=Wishes)
    stored: torch.dtype = torch.uint8
    known: frozenset[str] = KNOWN

    @property
    def memory(self) -> int:
        return self.at_once * WORKED * self.size**2 * self.dtype.itemsize

    def crops(self, track: Track) -> Boxed:
        """Boxes are smoothed within a shot, from gap to gap."""
        known = np.where(np.isfinite(track.boxes), track.boxes, 0)
        boxes = torch.from_numpy(known.clip(min=0).astype(np.int64))  # as the original takes a detector's
        boxes = padded(boxes, Pads(*self.wishes.pads), track.size)
        for stretch in stretches(track):
            boxes[stretch] = smoothed(boxes[stretch], cast(Smoothing, self.wishes.smoothing))
        boxes[torch.from_numpy(~track.found)] = 0
        return Boxed(boxes, self.size, rescale)

    def listen(self, recording: Recording, rate: Fraction) -> MelWindows:
        samples, wishes = recording.samples, self.wishes
        return mel.listen(samples, rate, cover_tail=wishes.cover_tail, offset=wishes.sync_offset)

    def speak(self, crops: Tensor, heard: Tensor, on_step: OnStep) -> Tensor:
        faces = inputs(crops.permute(0, 2, 3, 1)).to(self.device, self.dtype)
        sound = heard[:, None].to(self.device, self.dtype)
        made = as_crops(self.network(sound, faces, self.wishes.strength)).permute(0, 3, 1, 2)
        on_step(1, 1, None)
        return made


def redubber(engine: Engine, most: int, wishes: Wishes) -> Wav2Lip:
    """most: frames at once, for which there is room."""
    network: Generator = engine.network
    return Wav2Lip(network, network.size, min(most, AT_ONCE[network.size]), engine.device, engine.dtype, wishes)
