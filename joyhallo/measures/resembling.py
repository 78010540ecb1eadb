"""Likeness of the person in a film to a portrait (CSIM): the cosine of what a face recogniser says of both.

The recogniser is the user's own, InsightFace's, whose models are for non-commercial research only.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from ..faces.boxes import Picture
from ..faces.find import Face, FaceError, InsightFace, choose

EVERY = 5  # frames from one look to the next
LOW = 0.05  # the share of frames that are less like it than the lowest value that is told


class Likeness:
    """Of a film whose frames come piece after piece. In each frame that is looked at, the largest face counts."""

    def __init__(self, recogniser: InsightFace, portrait: Picture):
        self._recogniser = recogniser
        size = portrait.shape[1], portrait.shape[0]
        self._wanted = _direction(choose(recogniser.faces(portrait), "largest", size))
        self._seen, self._found = 0, list[float]()

    def see(self, frames: Tensor) -> None:
        """frames uint8 (n, height, width, 3): the film's next."""
        start = -self._seen % EVERY
        self._seen += len(frames)
        for frame in frames[start::EVERY]:
            faces = self._recogniser.faces(frame.numpy())
            face = max(faces, key=lambda face: face.box.area, default=None)
            self._found.append(np.nan if face is None else float(_direction(face) @ self._wanted))

    @property
    def series(self) -> NDArray[np.float64]:
        """(frames looked at): from -1 to 1, NaN where no face was found."""
        return np.array(self._found)


def mean_and_low(series: NDArray[np.float64]) -> tuple[float, float]:
    known = series[np.isfinite(series)]
    if not len(known):
        raise FaceError(
            f"No face was found in any of the {len(series)} frames that were looked at; choose a video that shows one "
            "larger and from the front."
        )
    return float(known.mean()), float(np.quantile(known, LOW))


def _direction(face: Face) -> NDArray[np.float32]:
    assert face.identity is not None
    return face.identity / max(float(np.linalg.norm(face.identity)), 1e-9)
