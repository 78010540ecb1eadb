"""A linear probe: how well a speech encoder's features predict the mouth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...drawn.mouths import VISEMES, Motion
from ...sound.audio import Recording, levels
from ...sound.wav2vec2 import Encoder, encode

RIDGE = 1e-3


@dataclass(frozen=True)
class Heard:
    """Encoded recordings, all rows one after the other."""

    features: NDArray[np.float64]  # (rows, layers x channels)
    opening: NDArray[np.float64]
    viseme: NDArray[np.int64]
    loudness: NDArray[np.float64]  # (rows, 2): in dB and as it is


def hear(encoder: Encoder, sounds: Sequence[Tensor], motions: Sequence[Motion]) -> Heard:
    """Encode sounds in the same way as for videos."""
    rows = [encode(encoder, Recording(sound), multiple=1).features().flatten(1) for sound in sounds]
    decibels = torch.cat([levels(sound, len(each)) for sound, each in zip(sounds, rows, strict=True)]).double().numpy()
    return Heard(
        torch.cat(rows).double().numpy(),
        np.concatenate([np.zeros(0), *(motion.opening for motion in motions)]).astype(np.float64),
        np.concatenate([np.zeros(0), *(motion.viseme for motion in motions)]).astype(np.int64),
        np.stack([decibels, 10 ** (decibels / 20)], axis=1),
    )


@dataclass(frozen=True)
class Probe:
    """Ridge regression on the features of a single row."""

    mean: NDArray[np.float64]
    deviation: NDArray[np.float64]
    weights: NDArray[np.float64]  # (features + 1, 1 + visemes)

    @classmethod
    def fitted(cls, heard: Heard) -> Probe:
        mean, deviation = heard.features.mean(0), heard.features.std(0) + 1e-6
        x = _with_one((heard.features - mean) / deviation)
        wanted = np.column_stack([heard.opening, np.eye(len(VISEMES))[heard.viseme]])
        penalty = RIDGE * len(x) * np.eye(x.shape[1])
        penalty[-1, -1] = 0
        return cls(mean, deviation, np.linalg.solve(x.T @ x + penalty, x.T @ wanted))

    def __call__(self, features: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """Opening and viseme of each row."""
        told = _with_one((features - self.mean) / self.deviation) @ self.weights
        return told[:, 0], told[:, 1:].argmax(1)


def _with_one(x: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.column_stack([x, np.ones(len(x))])
