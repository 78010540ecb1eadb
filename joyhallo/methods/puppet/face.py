"""Where a picture's mouth, eyes and head are: from a face mesh, or from the masks of lips and face."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...faces.boxes import Points
from ...faces.find import FaceError
from ...faces.regions import (
    BROWS,
    CHIN,
    INNER_LOWER,
    INNER_UPPER,
    LOWER_LIDS,
    NOSE_TIP,
    OUTER_LOWER,
    OUTER_UPPER,
    OUTLINE,
    UNDER_NOSE,
    UPPER_LIDS,
    Mask,
)

SMALLEST_MOUTH = 6.0  # pixels from corner to corner
NOSE_ABOVE = 0.8  # of the lips' half width, where no mesh tells


@dataclass(frozen=True)
class Frame:
    """Upright coordinates of a part of the face: its middle, its axis to the right, and pixels for one unit."""

    middle: NDArray[np.float64]
    along: NDArray[np.float64]
    unit: float

    @classmethod
    def between(cls, left: NDArray[np.float64], right: NDArray[np.float64]) -> Frame:
        half = (right - left) / 2
        unit = float(np.hypot(*half))
        return cls((left + right) / 2, half / unit, unit)

    def matrix(self) -> NDArray[np.float64]:
        """(2, 3): pixels -> coordinates (u to the right, v down)"""
        turn = np.array([self.along, [-self.along[1], self.along[0]]]) / self.unit
        return np.concatenate([turn, -(turn @ self.middle)[:, None]], axis=1)

    def of(self, points: Points) -> NDArray[np.float64]:
        matrix = self.matrix()
        return points @ matrix[:, :2].T + matrix[:, 2]

    def in_pixels(self, points: Points) -> NDArray[np.float64]:
        turned = np.array([self.along, [-self.along[1], self.along[0]]])
        return (points * self.unit) @ turned + self.middle

    def colours(self, picture: Tensor, points: Points) -> Tensor:
        """(3, n): of a picture (3, height, width), at points in these coordinates"""
        height, width = picture.shape[1:]
        x, y = self.in_pixels(points).round().T
        rows, columns = (
            torch.from_numpy(at.clip(0, size - 1).astype(np.int64)) for at, size in ((y, height), (x, width))
        )
        return picture[:, rows, columns]


@dataclass(frozen=True)
class Eye:
    frame: Frame
    upper: Points  # lines (n, 2) in the frame's coordinates, from left to right
    lower: Points
    brow: Points


@dataclass(frozen=True)
class Features:
    """All that the puppet knows of a face. Lines of the mouth are (n, 2) in its own coordinates."""

    mouth: Frame
    inner_upper: Points
    inner_lower: Points
    outer_upper: Points
    outer_lower: Points
    nose: float  # where the upper lip ends, in the mouth's coordinates: above, so negative
    chin: float
    side: float  # from the mouth's middle to the cheek's edge
    eyes: tuple[Eye, ...]
    outline: Points  # of the face, in pixels
    nose_tip: NDArray[np.float64]  # in pixels

    @classmethod
    def of_mesh(cls, mesh: Points) -> Features:
        """mesh (468 or 478, 2) of MediaPipe, in the picture's pixels"""
        mouth = _mouth(mesh[INNER_UPPER[0]], mesh[INNER_UPPER[-1]])
        here = mouth.of(mesh)
        return cls(
            mouth,
            *(here[list(line)] for line in (INNER_UPPER, INNER_LOWER, OUTER_UPPER, OUTER_LOWER)),
            nose=float(here[UNDER_NOSE, 1]),
            chin=float(here[CHIN, 1]),
            side=_side(here[list(OUTLINE)]),
            eyes=tuple(_eye(mesh, *lines) for lines in zip(UPPER_LIDS, LOWER_LIDS, BROWS, strict=True)),
            outline=mesh[list(OUTLINE)],
            nose_tip=mesh[NOSE_TIP],
        )

    @classmethod
    def of_masks(cls, lips: Mask, face: Mask) -> Features:
        """Masks of closed lips and of the face, 0..255: a mouth that speaks, and eyes that stay open."""
        corners = _corners(lips)
        mouth = _mouth(*corners)
        upper, lower = _borders(lips, mouth)
        line = np.stack([upper[:, 0], (upper[:, 1] + lower[:, 1]) / 2], axis=1)
        outline = _outline(face)
        here = mouth.of(outline)
        below = here[np.abs(here[:, 0]) < 1, 1].max(initial=0.0)
        if below <= lower[:, 1].max():
            raise FaceError("The mask of the face ends above the lower lip; paint the whole face, down to the chin.")
        return cls(
            mouth, line, line, upper, lower, -NOSE_ABOVE, float(below), _side(here), (), outline, outline.mean(0)
        )


def _mouth(left: NDArray[np.float64], right: NDArray[np.float64]) -> Frame:
    frame = Frame.between(left, right)
    if not 2 * frame.unit >= SMALLEST_MOUTH:
        raise FaceError(
            f"The mouth is {2 * frame.unit:.0f} pixels wide, which is too small to speak; use a picture where the "
            "face is larger."
        )
    return frame


def _side(outline: NDArray[np.float64]) -> float:
    """Half the face's width at the height of the mouth, in its units."""
    level = outline[np.abs(outline[:, 1]) < 1]
    return float(np.clip(np.ptp(level[:, 0]) / 2 if len(level) > 1 else 2.2, 1.4, 3.2))


def _eye(mesh: Points, upper: Sequence[int], lower: Sequence[int], brow: Sequence[int]) -> Eye:
    frame = Frame.between(mesh[upper[0]], mesh[upper[-1]])
    here = frame.of(mesh)
    return Eye(frame, *(here[list(line)] for line in (upper, lower, brow)))


# ---- masks


def _corners(lips: Mask) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The middles of the first and the last columns of the mask: lips may be tilted."""
    rows, columns = np.nonzero(lips >= 128)
    if not len(columns):
        raise FaceError("The mask of the lips is empty; paint the lips of the picture in white.")
    ends = columns.min(), columns.max()
    left, right = (np.array([end, rows[columns == end].mean()], np.float64) for end in ends)
    return left, right


def _borders(lips: Mask, mouth: Frame) -> tuple[Points, Points]:
    """The mask's upper and lower border, in the mouth's coordinates."""
    rows, columns = np.nonzero(lips >= 128)
    here = mouth.of(np.stack([columns, rows], axis=1).astype(np.float64))
    places = np.linspace(-1, 1, 11)
    near = np.abs(here[:, 0][:, None] - places) < max(0.12, 1.5 / mouth.unit)
    upper = [here[some, 1].min(initial=0.0) for some in near.T]
    lower = [here[some, 1].max(initial=0.0) for some in near.T]
    upper[0] = upper[-1] = lower[0] = lower[-1] = 0.0
    return np.stack([places, upper], axis=1), np.stack([places, lower], axis=1)


def _outline(face: Mask) -> Points:
    """Points around a mask, a pair for each row of some 40."""
    rows, columns = np.nonzero(face >= 128)
    if not len(rows):
        raise FaceError("The mask of the face is empty; paint the face of the picture in white.")
    levels = np.unique(np.linspace(rows.min(), rows.max(), 40).round().astype(int))
    ends = [(columns[rows == level], level) for level in levels]
    points = [(end, level) for there, level in ends if len(there) for end in (there.min(), there.max())]
    return np.array(points, np.float64)
