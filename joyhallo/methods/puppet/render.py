"""`Puppet`: a picture that is ready to move, and the frames of it in any pose.

A frame is the picture seen through maps: first the head's, a few smooth movements added up, then those of lids and
mouth, which go with the head. What none of them reaches stays as it is, to the last bit.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from .eyes import Lid
from .face import Features, Frame
from .head import Head, Moves
from .inside import Palette, inside
from .mouth import Mouth, Shapes, sampled

MIDPOINT = (3, -25, 150, 150, -25, 3)  # of 256: a half-band filter
EDGE = 1.1  # pixels over which one layer passes into the next
SEALED = 0.5  # darkness of the line where lips meet that were parted in the picture


@dataclass(frozen=True)
class Pose:
    """All that moves, for n frames."""

    mouth: Shapes
    blink: Tensor  # (n) 0..1: closed
    head: Moves

    def __len__(self) -> int:
        return len(self.mouth)


@dataclass(frozen=True)
class Window:
    """Rows and columns of the picture, whole pixels."""

    top: int
    bottom: int
    left: int
    right: int

    @property
    def size(self) -> tuple[int, int]:
        return self.bottom - self.top, self.right - self.left

    @property
    def slices(self) -> tuple[slice, slice]:
        return slice(self.top, self.bottom), slice(self.left, self.right)

    def within(self, other: Window) -> Window:
        return Window(
            max(self.top, other.top),
            min(self.bottom, other.bottom),
            max(self.left, other.left),
            min(self.right, other.right),
        )

    def seen_from(self, other: Window) -> Window:
        return Window(self.top - other.top, self.bottom - other.top, self.left - other.left, self.right - other.left)


class Puppet:
    """`window` is the part of the picture that may move."""

    def __init__(self, picture: Tensor, face: Features):
        """picture (3, height, width) in 0..1, on the device that computes"""
        height, width = picture.shape[1:]
        whole = Window(0, height, 0, width)
        device = picture.device
        self.face, self.mouth = face, Mouth(face, device)
        self.head = Head(face, (height, width), device)
        self.lids = tuple(Lid(eye, picture, face) for eye in face.eyes)
        slack = self.head.farthest
        mouth = _box(face.mouth, self.mouth.bounds, slack).within(whole)
        self.window = _around([Window(*self.head.box), mouth]).within(whole)
        self._mouth_window = mouth.seen_from(self.window)
        self._lid_windows = [
            _box(lid.eye.frame, lid.bounds, slack).within(self.window).seen_from(self.window) for lid in self.lids
        ]
        self.still = picture[(slice(None), *self.window.slices)]
        self.texture = finer(self.still)[None]
        self.palette = Palette.of(picture, face, self.mouth.lines)
        self._own = self.mouth.own_teeth() if self.mouth.lines.parted else None
        y, x = torch.meshgrid(*(torch.arange(side, device=device) for side in self.window.size), indexing="ij")
        self._places = torch.stack([x, y]).float()  # (2, h, w) of the window

    def frames(self, pose: Pose) -> Tensor:
        """(n, 3, height, width) of the window, in 0..1"""
        places = self._places - self.head.movement(pose.head, self.window.slices)
        frames = self._seen(places)
        self._speak(frames, places, pose.mouth)
        for lid, window in zip(self.lids, self._lid_windows, strict=True):
            self._blink(frames, places, pose.blink, lid, window)
        return frames

    def _blink(self, frames: Tensor, places: Tensor, blink: Tensor, lid: Lid, window: Window) -> None:
        here = (slice(None), slice(None), *window.slices)
        at = places[here]
        frame = lid.eye.frame
        found = sampled(lid.field(blink), self._coordinates(at, frame), lid.bounds)
        skin = self._seen(at - self._in_pixels(found[:, :2], frame))
        frames[here] = lid.covered(skin, frames[here], found[:, 2:3], found[:, 3:], frame.unit / EDGE)

    def _speak(self, frames: Tensor, places: Tensor, shapes: Shapes) -> None:
        here = (slice(None), slice(None), *self._mouth_window.slices)
        at, frame = places[here], self.face.mouth
        uv = self._coordinates(at, frame)
        field = self.mouth.field(shapes)
        upper, lower, depth = field.sampled(uv, self.mouth.bounds)
        sharp = frame.unit / EDGE
        above, below = (0.5 - depth[:, :1] * sharp).clamp(0, 1), (0.5 - depth[:, 1:] * sharp).clamp(0, 1)
        between = (1 - above - below).clamp(0, 1)
        seen = self._seen(at - self._in_pixels(torch.where(above > below, upper, lower), frame))
        mouth = self._inside(uv, at, depth, field.drop, field.rounding)
        frames[here] = torch.lerp(seen, mouth, between)

    def _inside(self, uv: Tensor, at: Tensor, depth: Tensor, drop: Tensor, rounding: Tensor) -> Tensor:
        u, v = uv.unbind(1)
        seen = inside(self.mouth.lines, self.palette, u, v, depth, drop, rounding)
        if self._own is None:
            return seen
        weight = sampled(self._own.expand(len(u), -1, -1, -1), uv, self.mouth.bounds)
        return torch.lerp(seen, self._seen(at), weight)

    # ---- places

    def _seen(self, places: Tensor) -> Tensor:
        """The picture at places (n, 2, h, w) in pixels of the window -> (n, 3, h, w)"""
        height, width = self.window.size
        scale = torch.tensor([2 / max(width - 1, 1), 2 / max(height - 1, 1)], device=places.device)
        grid = places.permute(0, 2, 3, 1) * scale - 1
        texture = self.texture.expand(len(places), -1, -1, -1)
        return F.grid_sample(texture, grid, padding_mode="border", align_corners=True)

    def _coordinates(self, places: Tensor, frame: Frame) -> Tensor:
        """Pixels of the window -> a part's own coordinates, both (n, 2, h, w)"""
        matrix = frame.matrix()
        matrix[:, 2] += matrix[:, :2] @ (self.window.left, self.window.top)
        (a, b, c), (d, e, f) = matrix.tolist()
        x, y = places.unbind(1)
        return torch.stack([a * x + b * y + c, d * x + e * y + f], dim=1)

    def _in_pixels(self, movement: Tensor, frame: Frame) -> Tensor:
        (right, down), unit = frame.along, frame.unit
        u, v = movement.unbind(1)
        return torch.stack([(u * right - v * down) * unit, (u * down + v * right) * unit], dim=1)


def finer(picture: Tensor) -> Tensor:
    """Twice as fine, (3, 2 height - 1, 2 width - 1): between its points linear reading loses no sharpness.

    The picture's own points stay as they are, so that what has not moved is not changed.
    """
    return _finer(_finer(picture).mT).mT.contiguous().clamp(0, 1)


def _finer(picture: Tensor) -> Tensor:
    """Twice as many columns."""
    weights = torch.tensor(MIDPOINT, dtype=picture.dtype, device=picture.device) / 256
    padded = F.pad(picture[None], (2, 2, 0, 0), "replicate")[0]
    between = sum(weight * padded[..., start : start + picture.shape[-1] - 1] for start, weight in enumerate(weights))
    made = picture.new_empty(*picture.shape[:-1], 2 * picture.shape[-1] - 1)
    made[..., ::2], made[..., 1::2] = picture, between
    return made


def _box(frame: Frame, bounds: tuple[float, float, float, float], slack: float) -> Window:
    left, right, top, bottom = bounds
    places = frame.in_pixels(np.array([[u, v] for u in (left, right) for v in (top, bottom)]))
    low, high = np.floor(places.min(0) - slack).astype(int), np.ceil(places.max(0) + slack).astype(int) + 1
    return Window(int(low[1]), int(high[1]), int(low[0]), int(high[0]))


def _around(windows: list[Window]) -> Window:
    return Window(
        min(one.top for one in windows),
        max(one.bottom for one in windows),
        min(one.left for one in windows),
        max(one.right for one in windows),
    )
