"""`Puppet`: a picture that is ready to move, and the frames of it in any pose.

A frame is the picture seen through maps: first the head's, a few smooth movements added up, then those of lids and
mouth, which go with the head. What none of them reaches stays as it is, to the last bit.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from ...faces.boxes import Box, around, joint, whole
from ...faces.warp import read_at
from .eyes import Lid
from .face import Features, Frame
from .head import Head, Moves, around_head, farthest
from .inside import Palette, contact, inside
from .mouth import Field, Mouth, Shapes, sampled

MIDPOINT = (12, -40, 156, 156, -40, 12)  # of 256: between two points, a little sharper than the picture
SMALL = 500_000  # pixels of a window that is read with the sharper, slower filter
RAMP = 3.45  # deviations of a blur over which one layer passes into the next


@dataclass(frozen=True)
class Pose:
    """All that moves, for n frames."""

    mouth: Shapes
    blink: Tensor  # (n) 0..1: closed
    head: Moves

    def __len__(self) -> int:
        return len(self.mouth)


@dataclass(frozen=True)
class Gap:
    """Places around the space between the lips, (n, 2, h, w) each."""

    place: Box  # in the mouth's part
    before: Tensor  # in the picture, as if the mouth did not move
    other: Tensor  # there, if they moved with the lip that is further away
    uv: Tensor  # in the mouth's coordinates
    depth: Tensor  # below the upper and above the lower lip, in half widths
    field: Field


class Puppet:
    """`window` is the part of the picture that may move.

    Places are in the window, as grid_sample counts them: -1 is the middle of the first pixel, 1 that of the last one.
    """

    def __init__(self, picture: Tensor, face: Features):
        """picture (3, height, width) in 0..1, on the device that computes"""
        height, width = picture.shape[1:]
        everything, device = whole((width, height)), picture.device
        self.face, self.mouth = face, Mouth(face, device)
        self.lids = tuple(Lid(eye, picture) for eye in face.eyes)
        head, slack = around_head(face, (height, width)), farthest(face)
        self._slack = slack
        mouth = _box(face.mouth, self.mouth.bounds, slack).within(everything)
        self.window = joint([head, mouth]).within(everything)
        self.head = Head(face, (height, width), self.window, device)
        self.palette = Palette.of(picture, face, self.mouth.lines)
        self._edge = RAMP * self.palette.blur * face.mouth.unit  # pixels
        self.still = picture[(slice(None), *self.window.slices)]
        self.is_small = self.still[0].numel() <= SMALL and _reads_bicubically(device)
        fine = self.still if self.is_small else finer(self.still)
        self.texture = fine[None].contiguous(memory_format=torch.channels_last)
        self._mouth_place = mouth
        self._mouth = Part(face.mouth, _seen_from(mouth, self.window), self.window)
        eyes = [_box(lid.eye.frame, lid.bounds, slack).within(self.window) for lid in self.lids]
        self._eyes = [
            Part(lid.eye.frame, _seen_from(eye, self.window), self.window)
            for lid, eye in zip(self.lids, eyes, strict=True)
        ]
        self._own = self.mouth.own_teeth() if self.mouth.lines.parted else None

    def frames(self, pose: Pose) -> Tensor:
        """(n, 3, height, width) of the window, in 0..1"""
        places = self.head.places(pose.head)
        (blinking,) = pose.blink.nonzero(as_tuple=True)
        eyes = [places[eye.here][blinking] for eye in self._eyes]
        gap = self._follow_mouth(places, pose.mouth)
        frames = self._seen(places)
        self._fill_gap(frames[self._mouth.here][_within(gap.place)], gap)
        if len(blinking):
            for lid, part, there in zip(self.lids, self._eyes, eyes, strict=True):
                self._blink(frames[part.here], blinking, there, pose.blink[blinking], lid, part)
        return frames

    def _follow_mouth(self, places: Tensor, shapes: Shapes) -> Gap:
        """Move places with lips and jaw."""
        part, field = self._mouth, self.mouth.field(shapes)
        at = places[part.here]
        uv = part.coordinates(at)
        place = self._around_gap(float(shapes.opening.max()))
        here = _within(place)
        before, found = at[here].clone(), sampled(field.values, uv, self.mouth.bounds)
        across, above, below, under, over = found.unbind(1)
        at -= part.movement(across, torch.where(under < over, above, below))
        across, above, below, under, over = found[here].unbind(1)
        other = before - part.movement(across, torch.where(under < over, below, above))
        return Gap(place, before, other, uv[here], found[here][:, 3:], field)

    def _around_gap(self, opening: float) -> Box:
        """What lies in the part of the mouth, between lips that are so far open at the most"""
        box = _box(self.face.mouth, self.mouth.gap_bounds(opening), self._slack)
        return _seen_from(box.within(self._mouth_place), self._mouth_place)

    def _fill_gap(self, frames: Tensor, gap: Gap) -> None:
        sharp = self.face.mouth.unit / self._edge
        above, below = ((0.5 - one * sharp).clamp(0, 1) for one in gap.depth.split(1, dim=1))
        field = gap.field
        seen = inside(self.mouth.lines, self.palette, gap.uv, gap.depth, field.drop, field.rounding)
        lips = frames
        if self._own is not None:
            own = sampled(self._own.expand(len(frames), -1, -1, -1), gap.uv, self.mouth.bounds)
            seen = torch.lerp(seen, self._seen(gap.before), own)
            # Lips that meet come from different places of the picture.
            shared = torch.minimum(above, below) / (above + below).clamp(min=1e-3)
            lips = torch.lerp(frames, self._seen(gap.other), shared)
            lips = torch.lerp(lips, self.palette.deep[None, :, None, None].expand_as(lips), contact(gap.uv, gap.depth))
        frames.copy_(torch.lerp(lips, seen, (1 - above - below).clamp(0, 1)))

    def _blink(self, frames: Tensor, some: Tensor, at: Tensor, blink: Tensor, lid: Lid, part: Part) -> None:
        """Cover the eye in some of the frames, which are those of the lid's part."""
        found = sampled(lid.field(blink), part.coordinates(at), lid.bounds)
        skin = self._seen(at - part.movement(torch.zeros_like(found[:, 0]), found[:, 0]))
        frames[some] = lid.covered(skin, frames[some], found, part.frame.unit / self._edge)

    def _seen(self, places: Tensor) -> Tensor:
        """The picture at places (n, 2, h, w) -> (n, 3, h, w)"""
        texture, grid = self.texture.expand(len(places), -1, -1, -1), places.permute(0, 2, 3, 1)
        if self.is_small:
            return F.grid_sample(texture, grid, "bicubic", padding_mode="border", align_corners=True).clamp_(0, 1)
        return read_at(texture, grid)


class Part:
    """A part of the window with coordinates of its own."""

    def __init__(self, frame: Frame, place: Box, window: Box):
        self.frame = frame
        self.here = _within(place)
        height, width = window.shape
        half = np.array([max(width - 1, 1), max(height - 1, 1)]) / 2
        turn, shift = frame.matrix()[:, :2], frame.matrix()[:, 2]
        self._turn = (turn * half).tolist()
        self._shift = (turn @ (half + np.array([window.left, window.top])) + shift).tolist()
        self._back = (np.linalg.inv(turn) / half[:, None]).tolist()

    def coordinates(self, places: Tensor) -> Tensor:
        """Places of the window -> this part's coordinates, both (n, 2, h, w)"""
        (a, b), (c, d) = self._turn
        (e, f), (x, y) = self._shift, places.unbind(1)
        return torch.stack([a * x + (b * y + e), c * x + (d * y + f)], dim=1)

    def movement(self, u: Tensor, v: Tensor) -> Tensor:
        """How far something moved in this part's coordinates, (n, h, w) each -> by how much its place is another"""
        (a, b), (c, d) = self._back
        return torch.stack([a * u + b * v, c * u + d * v], dim=1)


def _reads_bicubically(device: torch.device) -> bool:
    """Not every kind of device can, in every version of torch."""
    try:
        nothing = torch.zeros(1, 1, 2, 2, device=device)
        F.grid_sample(nothing, nothing.reshape(1, 1, 2, 2), "bicubic", padding_mode="border", align_corners=True)
    except (NotImplementedError, RuntimeError):
        return False
    return True


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


def _box(frame: Frame, bounds: tuple[float, float, float, float], slack: float) -> Box:
    """The whole pixels around a part of the face, with some more on all sides."""
    left, right, top, bottom = bounds
    places = around(frame.in_pixels(np.array([[u, v] for u in (left, right) for v in (top, bottom)]))).inset(-slack)
    first, last = (math.floor(places.left), math.floor(places.top)), (math.ceil(places.right), math.ceil(places.bottom))
    return Box(*first, last[0] + 1, last[1] + 1)


def _within(place: Box) -> tuple[slice, slice, slice, slice]:
    """Where it is in all channels of all frames"""
    return slice(None), slice(None), *place.slices


def _seen_from(box: Box, window: Box) -> Box:
    return box.moved(-window.left, -window.top)
