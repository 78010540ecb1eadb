"""The squares around a speaking face that SyncNet sees, as its own pipeline cuts them; and what others show it instead.

`stretches` follows faces through a film by their boxes, `SpeakingCrops` cuts one of them out of the frames.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..faces.boxes import Box, whole
from ..faces.regions import CHIN, OUTLINE
from ..faces.rescale import rescale
from ..faces.track import Scheme
from .lipsync import SyncError
from .medians import medians

SIDE = 224  # pixels
LONGEST_GAP = 25  # frames from one that shows the face to the next
LEAST_OVERLAP = 0.5  # of the two; intersection over union
LEAST_SEEN = 100  # frames; a stretch must have more
LEAST_SIDE = 100  # pixels; a face must be wider or higher in the mean
SMOOTHED = 13  # frames
FEWEST = SMOOTHED // 2 + 1  # frames, below which the medians are those of zeros
BELOW, BESIDE = 1.8, 1.4  # how far a crop reaches from the face's centre, in halves of its longer side; above it, 1
GREY = 110  # of what lies beyond the picture
HAIRLINE = OUTLINE[0]
WIDTH, HEIGHT, ABOVE_THE_NOSE = 2.0, 2.6, 0.15  # of a box around five points, in distances from the eyes to the mouth


# ---- faces through a film


@dataclass(frozen=True)
class Stretch:
    """A face in frames that follow each other."""

    start: int  # in the film
    boxes: NDArray[np.float64]  # (frames, 4): left, top, right, bottom; between two that show the face in even steps
    seen: int  # of these frames, those that show the face

    def __len__(self) -> int:
        return len(self.boxes)

    @property
    def stop(self) -> int:
        return self.start + len(self)

    @property
    def is_long_enough(self) -> bool:
        """For the original to measure it."""
        return self.seen > LEAST_SEEN

    @property
    def is_large_enough(self) -> bool:
        """For the original to measure it."""
        return float((self.boxes[:, 2:] - self.boxes[:, :2]).mean(0).max()) > LEAST_SIDE

    @property
    def counts(self) -> bool:
        return self.is_long_enough and self.is_large_enough


def stretches(boxes: NDArray[np.floating], cuts: Iterable[int] = ()) -> list[Stretch]:
    """boxes (frames, 4), such as those of a track, or (frames, faces, 4) in any order; NaN where there is no face.

    cuts: frames that begin another shot. All stretches, those that the original leaves out as well.
    """
    faces = np.asarray(boxes, np.float64)
    faces = faces[:, None] if faces.ndim == 2 else faces
    free = np.asarray(np.isfinite(faces).all(2))
    borders = sorted({0, len(faces), *(cut for cut in cuts if 0 < cut < len(faces))})
    return [found for start, stop in pairwise(borders) for found in _of_shot(faces, free, start, stop)]


def longest(found: Sequence[Stretch]) -> Stretch:
    """Of those that the original would measure, if there are any."""
    if not found:
        raise SyncError("The face is in no frame of the film, so there are no lips to measure. Use another film.")
    return max(found, key=lambda stretch: (stretch.counts, len(stretch)))


def _of_shot(faces: NDArray[np.float64], free: NDArray[np.bool_], start: int, stop: int) -> Iterator[Stretch]:
    for frame in range(start, stop):
        while free[frame].any():
            yield _followed(faces, free, frame, stop)


def _followed(faces: NDArray[np.float64], free: NDArray[np.bool_], start: int, stop: int) -> Stretch:
    """The first face that is free, and those that go on from it, which are free no longer."""
    frames, boxes = list[int](), list[Box]()
    for frame in range(start, stop):
        if frames and frame - frames[-1] > LONGEST_GAP:
            break
        for face in np.flatnonzero(free[frame]):
            box = Box(*faces[frame, face].tolist())
            if not boxes or box.overlap(boxes[-1]) > LEAST_OVERLAP:
                free[frame, face] = False
                frames.append(frame)
                boxes.append(box)
                break
    sides = np.array([(box.left, box.top, box.right, box.bottom) for box in boxes])
    every = np.arange(frames[0], frames[-1] + 1)
    return Stretch(start, np.stack([np.interp(every, frames, side) for side in sides.T], axis=1), len(frames))


# ---- crops


class SpeakingCrops:
    """Crops of one stretch of a film whose frames come piece after piece."""

    def __init__(self, stretch: Stretch):
        if len(stretch) < FEWEST:
            raise SyncError(
                f"The face is in {len(stretch)} frames in a row; lips are measured in at least {FEWEST}. Use a film "
                "that shows it for longer."
            )
        self.stretch, self._seen = stretch, 0

    @cached_property
    def places(self) -> Tensor:
        """(3, frames): half the longer side of each box, and its centre, x and y; smoothed."""
        left, top, right, bottom = torch.from_numpy(self.stretch.boxes.T)
        half = torch.maximum(right - left, bottom - top) / 2
        return medians(torch.stack([half, (left + right) / 2, (top + bottom) / 2]), SMOOTHED)

    def cut(self, frames: Tensor) -> Tensor:
        """frames uint8 (n, height, width, 3): the film's next -> (m, 224, 224, 3), of those in the stretch."""
        first, self._seen = self._seen, self._seen + len(frames)
        start, stop = max(first, self.stretch.start), min(self._seen, self.stretch.stop)
        places = self.places[:, max(0, start - self.stretch.start) : max(0, stop - self.stretch.start)].T.tolist()
        crops = [_crop(picture, *place) for picture, place in zip(frames[start - first :], places, strict=False)]
        return torch.cat(crops) if crops else frames.new_empty(0, SIDE, SIDE, 3)


def _crop(picture: Tensor, half: float, x: float, y: float) -> Tensor:
    """(1, 224, 224, 3); with the truncations of the original, which first puts a margin around the picture."""
    size, margin = (picture.shape[1], picture.shape[0]), int(half * BELOW)
    x, y = x + margin, y + margin
    sides = x - half * BESIDE, y - half, x + half * BESIDE, y + half * BELOW
    wide = whole((size[0] + 2 * margin, size[1] + 2 * margin))
    region = Box(*map(int, sides)).within(wide).moved(-margin, -margin)
    if not region.area:
        raise SyncError(
            f"The face has no area inside the picture of {size[0]}x{size[1]} pixels: it is {2 * half:.0f} pixels wide, "
            f"around ({x - margin:.0f}, {y - margin:.0f}). Track it again."
        )
    crop = picture.new_full((*region.shape, 3), GREY)
    shown = region.within(whole(size))
    if shown.area:
        crop[shown.moved(-region.left, -region.top).slices] = picture[shown.slices]
    return rescale(crop[None], (SIDE, SIDE))


def whole_frames(frames: Tensor) -> Tensor:
    """What Wav2Lip's evaluation shows of films that show little but a face: (n, 224, 224, 3), stretched."""
    return rescale(frames, (SIDE, SIDE))


# ---- boxes of other finders


def boxes_of(points: NDArray[np.floating], scheme: Scheme) -> NDArray[np.float32]:
    """points (frames, points, 2) -> boxes (frames, 4) such as S3FD finds: from the hairline to the chin, ear to ear."""
    if scheme == "mesh":
        across, down = points[:, list(OUTLINE), 0], points[:, [HAIRLINE, CHIN], 1]
        sides = across.min(1), down.min(1), across.max(1), down.max(1)
    elif scheme == "marks":
        eyes, nose, mouth = points[:, :2].mean(1), points[:, 2], points[:, 3:5].mean(1)
        unit = np.linalg.norm(mouth - eyes, axis=1)
        x, y = nose[:, 0], nose[:, 1] - ABOVE_THE_NOSE * unit
        sides = x - WIDTH * unit / 2, y - HEIGHT * unit / 2, x + WIDTH * unit / 2, y + HEIGHT * unit / 2
    else:
        raise ValueError("A face without points has no box but its own; give the points of a mesh, or five marks.")
    return np.stack(sides, axis=1).astype(np.float32)
