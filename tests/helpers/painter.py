"""A redub method without weights: it paints the lower half of a face as bright as the sound is loud."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import torch
from torch import Tensor
from warps import Warps

from joyhallo.config import SAMPLE_RATE
from joyhallo.faces.track import Track
from joyhallo.methods.redub import Crops, OnStep
from joyhallo.sound.audio import Recording

CORNERS = np.array([[8.0, 8.0], [55.0, 8.0], [8.0, 55.0], [55.0, 55.0]])  # of the mesh, in the crop


class Painter:
    size = 64
    memory = 0
    stored = torch.float32
    known = frozenset[str]()

    def __init__(self, at_once: int = 5):
        self.at_once = at_once
        self.spoken: list[int] = []  # frames of each call

    def crops(self, track: Track) -> Crops:
        mask = torch.zeros(self.size, self.size)
        mask[self.size // 2 :] = 1
        return Warps.of(list(track.points), CORNERS, self.size, mask, track.size)

    def listen(self, recording: Recording, rate: Fraction) -> Tensor:
        """(frames): how loud each is, in 0..1"""
        each = SAMPLE_RATE / rate
        count = int(len(recording.samples) / each)
        parts = [recording.samples[round(i * each) : round((i + 1) * each)] for i in range(count)]
        return torch.stack([part.abs().mean() for part in parts]).clamp(0, 1)

    def speak(self, crops: Tensor, heard: Tensor, on_step: OnStep) -> Tensor:
        self.spoken.append(len(crops))
        painted = crops.clone()
        painted[:, :, self.size // 2 :] = heard[:, None, None, None]
        on_step(1, 1, None)
        return painted
