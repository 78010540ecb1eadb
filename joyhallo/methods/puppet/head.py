"""How the head moves: small turns, nods and shifts as smooth movements of the picture, added up.

The head is a dome over its background: in a turn the nose moves most and the outline least. All of it fades over the
hair, the neck and the background, and is nothing at the picture's border, so that nothing tears.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from .face import Features

COARSE = 40  # cells across the face
AROUND, FADE = 1.12, 0.85  # of the face's half axes: where the head's movement is whole, and over what it fades
BORDER = 0.30  # face widths from the picture's border over which everything fades
MOST = 0.08  # face widths by which anything may move


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
    def __init__(self, face: Features, size: tuple[int, int], device: torch.device | None = None):
        """size: height and width of the picture"""
        middle = (face.outline.min(0) + face.outline.max(0)) / 2
        along = face.mouth.along
        turned = np.array([along, [-along[1], along[0]]])
        across, tall = np.ptp((face.outline - middle) @ turned.T, axis=0) / 2
        self.width = float(2 * across)
        self.farthest = MOST * self.width
        reach = AROUND + FADE
        out = np.abs(turned.T) @ (across * reach * 1.05, tall * reach * 1.25)
        height, width = size
        low = np.maximum(0, np.floor(middle - out)).astype(int)
        high = np.minimum([width, height], np.ceil(middle + out) + 1).astype(int)
        self.box = (int(low[1]), int(high[1]), int(low[0]), int(high[0]))  # top, bottom, left, right
        self._size = size
        step = max(1.0, self.width / COARSE)
        rows, columns = (
            max(2, int(np.ceil((end - start) / step))) for start, end in zip(low[::-1], high[::-1], strict=True)
        )
        y, x = torch.meshgrid(
            torch.linspace(self.box[0], self.box[1] - 1, rows), torch.linspace(self.box[2], self.box[3] - 1, columns),
            indexing="ij",
        )  # fmt: skip
        self.basis = self._basis(face, x, y, middle, turned, (float(across), float(tall))).to(device)

    def movement(self, moves: Moves, window: tuple[slice, slice]) -> Tensor:
        """(n, 2, h, w) in pixels, over a window that holds `box`; what lies outside of the box does not move"""
        count = self.basis.shape[0]
        coarse = (moves.stacked() @ self.basis.reshape(count, -1)).reshape(-1, *self.basis.shape[1:])
        coarse = coarse.clamp(-self.farthest, self.farthest)
        top, bottom, left, right = self.box
        here = F.interpolate(coarse, (bottom - top, right - left), mode="bilinear", align_corners=True)
        rows, columns = window
        around = (left - columns.start, columns.stop - right, top - rows.start, rows.stop - bottom)
        return F.pad(here, around) if any(around) else here

    def _basis(
        self, face: Features, x: Tensor, y: Tensor, middle: np.ndarray, turned: np.ndarray, axes: tuple[float, float]
    ) -> Tensor:
        """(moves, 2, rows, columns) in pixels"""
        across, tall = axes
        u, v = _turned(x - middle[0], y - middle[1], turned)
        a, b = u / across, v / tall
        # Hair reaches further up than the chin does down, and the neck begins at once.
        b = torch.where(b < 0, b / 1.25, b)
        distance = torch.sqrt(a * a + b * b)
        whole = 1 - _smooth((distance - AROUND) / FADE)
        height, width = self._size
        border = torch.stack([x, width - 1 - x, y, height - 1 - y]).amin(0) / (BORDER * self.width)
        edge = _smooth(border)
        # At the lower border there is mostly the chest, cut off: it may move along.
        whole = whole * edge
        nose = _turned(*torch.from_numpy(face.nose_tip - middle).float(), turned)
        dome = (1 - (distance / 1.3) ** 2).clamp(min=0) ** 1.5
        dome = dome + 0.35 * torch.exp(-(((u - nose[0]) / (0.28 * across)) ** 2 + ((v - nose[1]) / (0.3 * tall)) ** 2))
        none = torch.zeros_like(x)
        pivot_v = v - 1.1 * tall  # the head turns about the neck
        chest = _smooth((v / tall - 1.1) / 0.5) * edge
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


def _turned(x: Tensor, y: Tensor, by: np.ndarray) -> tuple[Tensor, Tensor]:
    return float(by[0, 0]) * x + float(by[0, 1]) * y, float(by[1, 0]) * x + float(by[1, 1]) * y


def _smooth(share: Tensor) -> Tensor:
    share = share.clamp(0, 1)
    return share * share * (3 - 2 * share)
