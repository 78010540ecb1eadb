"""Square pictures of one face through a film, for whatever else improves faces, and the way back: `Cutouts`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from .blend import Patch
from .boxes import Box, whole
from .find import FaceError
from .steady import averaged, stretches
from .track import Track


@dataclass(frozen=True)
class Cutouts:
    track: Track
    boxes: NDArray[np.int64]  # (n, 4): squares of whole pixels, which may reach beyond the picture
    frames: NDArray[np.int64]  # (n), rising: the film's numbers of their pictures
    side: int  # of what is cut out, in pixels

    @classmethod
    def of(cls, track: Track, side: int, room: float, frames: range) -> Cutouts:
        """room: around the face, as a part of its longer side; frames: among these, those with a face."""
        squares = _squares(track, room)
        there = np.array([frame for frame in frames if _meets(squares[frame], track)], np.int64)
        if not len(there):
            raise FaceError(
                f"None of the frames {frames.start} to {frames.stop - 1} shows the face; look at the contact sheet of "
                "Track Face, or choose other frames."
            )
        return cls(track, squares[there].astype(np.int64), there, side)

    def __len__(self) -> int:
        return len(self.frames)

    @property
    def usable(self) -> NDArray[np.bool_]:
        return np.isin(np.arange(len(self.track)), self.frames)

    def cut(self, pictures: Tensor, frames: Sequence[int]) -> Tensor:
        """pictures (n, height, width, 3) of bytes -> (n, 3, side, side) in 0..1"""
        cut = [resized(self.seen(*one), self.side) for one in zip(pictures, frames, strict=True)]
        return torch.stack(cut) if cut else torch.zeros(0, 3, self.side, self.side, device=pictures.device)

    def seen(self, picture: Tensor, frame: int) -> Tensor:
        """What a square shows, (3, side, side) in 0..1; beyond the picture its border goes on."""
        box = self.box(frame)
        rows, columns = self._inside(frame).slices
        part = picture[rows, columns].permute(2, 0, 1)[None].float() / 255
        beyond = columns.start - box.left, box.right - columns.stop, rows.start - box.top, box.bottom - rows.stop
        return F.pad(part, [int(side) for side in beyond], mode="replicate")[0]

    def patch(self, crop: Tensor, frame: int) -> Patch | None:
        """crop (3, height, width) in 0..1, of any size."""
        return self.patch_of(resized(crop.float(), int(self.box(frame).width)), frame)

    def patch_of(self, square: Tensor, frame: int) -> Patch:
        box, inside = self.box(frame), self._inside(frame)
        rows, columns = inside.moved(-box.left, -box.top).slices
        return Patch(inside, square[:, rows, columns].permute(1, 2, 0) * 255)

    def observing(self, pictures: Tensor, frames: Sequence[int]) -> Observed:
        return Observed(self, dict(zip(frames, pictures, strict=True)))

    def box(self, frame: int) -> Box:
        return Box(*self.boxes[np.searchsorted(self.frames, frame)].tolist())

    def _inside(self, frame: int) -> Box:
        return self.box(frame).within(whole(self.track.size))


@dataclass(frozen=True)
class Observed:
    """Knows the pictures that it goes back into, so that what came back as it was changes nothing."""

    cutouts: Cutouts
    pictures: Mapping[int, Tensor]

    @property
    def usable(self) -> NDArray[np.bool_]:
        return self.cutouts.usable

    def cut(self, pictures: Tensor, frames: Sequence[int]) -> Tensor:
        return self.cutouts.cut(pictures, frames)

    def patch(self, crop: Tensor, frame: int) -> Patch | None:
        """Where a face was enlarged, only what became of it counts; to make it smaller had already cost it detail."""
        cutouts = self.cutouts
        side = int(cutouts.box(frame).width)
        made = resized(crop.float(), side)
        if side <= cutouts.side:
            seen = cutouts.seen(self.pictures[frame], frame)
            made = made - resized(resized(seen, cutouts.side), side) + seen
        return cutouts.patch_of(made, frame)


def resized(picture: Tensor, side: int) -> Tensor:
    """(3, height, width) -> (3, side, side) in 0..1"""
    if picture.shape[1:] == (side, side):
        return picture
    made = F.interpolate(picture[None], (side, side), mode="bicubic", antialias=True, align_corners=False)
    return made[0].clamp_(0, 1)


def _squares(track: Track, room: float) -> NDArray[np.float64]:
    """(frames, 4): steadied within each stretch, in whole pixels; NaN where no face is known."""
    boxes = track.boxes.astype(np.float64)
    found = np.full((len(track), 3), np.nan)  # the middle, and half of the side
    found[:, :2] = (boxes[:, :2] + boxes[:, 2:]) / 2
    found[:, 2] = (boxes[:, 2:] - boxes[:, :2]).max(1) / 2 * (1 + room)
    for part in stretches(track):
        found[part] = averaged(torch.from_numpy(found[part])).numpy()
    corner = np.floor(found[:, :2] - found[:, 2:] + 0.5)
    return np.concatenate([corner, corner + np.maximum(1, np.ceil(2 * found[:, 2:]))], axis=1)


def _meets(square: NDArray[np.float64], track: Track) -> bool:
    return bool(np.isfinite(square).all()) and Box(*square.tolist()).within(whole(track.size)).area > 0
