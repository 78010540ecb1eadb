"""How the head moves: small turns, nods and shifts as smooth movements of the picture, added up.

The head is a dome over its background: in a turn the nose moves most and the outline least. All of it fades over the
hair, the neck and the background, and is nothing at the picture's border, so that nothing tears.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...faces.boxes import Box, whole
from .easing import smooth
from .face import Features

COARSE = 24  # cells across the face
AROUND, FADE = 1.12, 0.85  # of the face's half axes: where the head's movement is whole, and over what it fades
BORDER = 0.30  # face widths from the picture's border over which everything fades
MOST = 0.05  # face widths by which anything may move


@dataclass(frozen=True)
class Moves:
    """(n) each. Shifts are in face widths, turns in radians."""

    right: Tensor
    down: Tensor
    roll: Tensor
    yaw: Tensor
    pitch: Tensor
    brows: Tensor  # by which they rise, 1 for as far as they go
    breath: Tensor  # by which the chest rises, in face widths

    def stacked(self) -> Tensor:
        return torch.stack([getattr(self, field.name) for field in fields(self)], dim=1)


class Head:
    def __init__(self, face: Features, size: tuple[int, int], window: Box, device: torch.device | None = None):
        """size: height and width of the picture; window: the part of it whose places are told"""
        self.width, self._size = _width(face), size
        step = max(1.0, self.width / COARSE)
        rows, columns = (max(2, math.ceil(side / step)) for side in window.shape)
        y, x = torch.meshgrid(
            torch.linspace(window.top, window.bottom - 1, rows),
            torch.linspace(window.left, window.right - 1, columns),
            indexing="ij",
        )
        half = torch.tensor([max(side - 1, 1) / 2 for side in window.shape[::-1]])[:, None, None]
        self._farthest = (MOST * self.width / half).to(device)
        self.basis = (self._basis(face, x, y) / half).to(device)
        self._still = torch.stack(
            [torch.linspace(-1, 1, columns).expand(rows, -1), torch.linspace(-1, 1, rows)[:, None].expand(-1, columns)]
        ).to(device)
        self._down, self._across = (
            _between(few, many).to(device) for few, many in zip((rows, columns), window.shape, strict=True)
        )

    def places(self, moves: Moves) -> Tensor:
        """(n, 2, h, w): for each place of the window the one that is seen there"""
        moved = torch.tensordot(moves.stacked(), self.basis, 1)
        coarse = self._still - torch.minimum(torch.maximum(moved, -self._farthest), self._farthest)
        return self._down @ coarse @ self._across.mT

    def _basis(self, face: Features, x: Tensor, y: Tensor) -> Tensor:
        """(moves, 2, rows, columns) in pixels"""
        middle, turned, (across, tall) = _axes(face)
        u, v = _turned(x - middle[0], y - middle[1], turned)
        a, b = u / across, v / tall
        # Hair reaches further up than the chin does down, and the neck begins at once.
        b = torch.where(b < 0, b / 1.25, b)
        distance = torch.sqrt(a * a + b * b)
        whole = 1 - smooth((distance - AROUND) / FADE)
        height, width = self._size
        border = torch.stack([x, width - 1 - x, y, height - 1 - y]).amin(0) / (BORDER * self.width)
        edge = smooth(border)
        whole = whole * edge
        nose = turned @ (face.nose_tip - middle)
        dome = (1 - (distance / 1.3) ** 2).clamp(min=0) ** 1.5
        dome = dome + 0.35 * torch.exp(-(((u - nose[0]) / (0.28 * across)) ** 2 + ((v - nose[1]) / (0.3 * tall)) ** 2))
        none = torch.zeros_like(x)
        pivot_v = v - 1.1 * tall  # the head turns about the neck
        chest = smooth((v / tall - 1.1) / 0.5) * edge
        local = [
            (whole * self.width, none),
            (none, whole * self.width),
            (-pivot_v * whole, u * whole),
            (dome * whole * across, none),
            (none, dome * whole * tall),
            (none, -self._brows(face, x, y) * edge),
            (none, -chest * self.width),
        ]
        return torch.stack([torch.stack(_turned(du, dv, turned.T)) for du, dv in local])

    def _brows(self, face: Features, x: Tensor, y: Tensor) -> Tensor:
        """How far each place rises with the brows, in pixels."""
        risen = torch.zeros_like(x)
        for eye in face.eyes:
            matrix = eye.frame.matrix()
            u, v = (matrix[i, 0] * x + matrix[i, 1] * y + matrix[i, 2] for i in (0, 1))
            centre, level = eye.brow.mean(0)
            near = torch.exp(-(((u - centre) / 1.25) ** 4))
            up = torch.where(v < level, torch.exp(-(((v - level) / 1.1) ** 2)), torch.exp(-(((v - level) / 0.42) ** 2)))
            risen = torch.maximum(risen, near * up * 0.16 * eye.frame.unit)
        return risen


def around_head(face: Features, size: tuple[int, int]) -> Box:
    """What may move with the head, in a picture of this height and width."""
    middle, turned, axes = _axes(face)
    out = np.abs(turned.T) @ (np.array(axes) * (AROUND + FADE) * np.array([1.05, 1.25]))
    left, top = np.floor(middle - out).astype(int).tolist()
    right, bottom = (np.ceil(middle + out).astype(int) + 1).tolist()
    return Box(left, top, right, bottom).within(whole((size[1], size[0])))


def farthest(face: Features) -> float:
    """Pixels that the head may move a place."""
    return MOST * _width(face)


def _width(face: Features) -> float:
    return 2 * _axes(face)[2][0]


def _axes(face: Features) -> tuple[NDArray[np.float64], NDArray[np.float64], tuple[float, float]]:
    """The face's middle, the turn to its upright, and its half axes in pixels."""
    middle = (face.outline.min(0) + face.outline.max(0)) / 2
    along = face.mouth.along
    turned = np.array([along, [-along[1], along[0]]])
    across, tall = (np.ptp((face.outline - middle) @ turned.T, axis=0) / 2).tolist()
    return middle, turned, (across, tall)


def _between(few: int, many: int) -> Tensor:
    """(many, few): linear weights from a few values to many, the ends on the ends"""
    at = torch.linspace(0, few - 1, many)[:, None]
    return (1 - (at - torch.arange(few)).abs()).clamp(min=0)


def _turned(x: Tensor, y: Tensor, by: np.ndarray) -> tuple[Tensor, Tensor]:
    return float(by[0, 0]) * x + float(by[0, 1]) * y, float(by[1, 0]) * x + float(by[1, 1]) * y
