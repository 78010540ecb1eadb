"""`Track`: where one face is in each frame of a film. `tracking.py` makes one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from fractions import Fraction
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from .boxes import Box, Size, covered
from .find import FaceError
from .sights import Sights

# What the points of a face are. mesh: MediaPipe's, 468 or 478; marks: two eyes, nose and two corners of the mouth.
Scheme = Literal["none", "marks", "mesh"]


@dataclass(frozen=True)
class Track:
    """One face through a whole film. Where it is not, and no gap was bridged, boxes and points are NaN.

    Boxes reach from the hairline to the chin and across both cheeks, whatever finder they come from.
    """

    boxes: NDArray[np.float32]  # (frames, 4): left, top, right, bottom, in pixels of the film
    points: NDArray[np.float32] | Sights  # (frames, points, 2), by their numbers in the scheme
    scores: NDArray[np.float32]  # (frames): how sure the finder was, in 0..1; 0 where nobody was seen
    scheme: Scheme
    size: Size  # of the film's pictures
    rate: Fraction  # at which its frames are numbered
    cuts: tuple[int, ...] = ()  # frames that begin another shot

    def __len__(self) -> int:
        return len(self.boxes)

    @property
    def found(self) -> NDArray[np.bool_]:
        """(frames): where the face is known, seen or bridged."""
        return np.asarray(np.isfinite(self.boxes).all(1))

    def box(self, frame: int) -> Box:
        return Box(*self.boxes[frame].tolist())

    @classmethod
    def of_mask(cls, mask: NDArray[np.uint8], count: int, size: Size, rate: Fraction) -> Track:
        """A face drawn by hand: one mask (height, width) for the whole film, or one for each frame, of any size."""
        masks = mask if mask.ndim == 3 else mask[None]
        if len(masks) not in (1, count):
            raise FaceError(
                f"There are {len(masks)} masks for the film's {count} frames; give one for all, or one for each."
            )
        boxes = np.array([_sides(covered(one)) for one in masks], np.float32)
        if not np.isfinite(boxes).any():
            raise FaceError(
                "The mask is empty, so it does not say where the face is; paint the face, or disconnect it."
            )
        boxes *= np.tile(np.divide(size, masks.shape[:0:-1]), 2).astype(np.float32)
        boxes = boxes.repeat(count, 0) if len(masks) == 1 else boxes
        scores = np.asarray(np.isfinite(boxes[:, 0]), np.float32)
        return cls(boxes, np.empty((count, 0, 2), np.float32), scores, "none", size, rate)

    def along(self, places: NDArray[np.integer]) -> Track:
        """In a film that shows these frames in this order."""
        low, high = (pick(places[:-1], places[1:]) for pick in (np.minimum, np.maximum))
        jumps = high - low > 1
        for cut in self.cuts:
            jumps |= (low < cut) & (cut <= high)
        return self._of(places, tuple((np.flatnonzero(jumps) + 1).tolist()))

    def until(self, count: int) -> Track:
        """Its first frames alone."""
        return self._of(slice(count), tuple(cut for cut in self.cuts if cut < count))

    def _of(self, frames: NDArray[np.integer] | slice, cuts: tuple[int, ...]) -> Track:
        points = self.points.at(frames) if isinstance(self.points, Sights) else self.points[frames]
        return replace(self, boxes=self.boxes[frames], points=points, scores=self.scores[frames], cuts=cuts)

    def numbers(self) -> dict[str, NDArray[Any]]:
        """All that it knows of its frames, by names, to be kept; see `of_numbers`."""
        points = vars(self.points) if isinstance(self.points, Sights) else {"points": self.points}
        return {"boxes": self.boxes, "scores": self.scores, **points}

    @classmethod
    def of_numbers(
        cls, numbers: Mapping[str, NDArray[Any]], scheme: Scheme, size: Size, rate: Fraction, cuts: tuple[int, ...]
    ) -> Track:
        if "points" in numbers:
            points = numbers["points"]
        else:
            points = Sights(**{field.name: numbers[field.name] for field in fields(Sights)})
        return cls(numbers["boxes"], points, numbers["scores"], scheme, size, rate, cuts)


def _sides(box: Box | None) -> tuple[float, float, float, float]:
    box = box or Box(np.nan, np.nan, np.nan, np.nan)
    return box.left, box.top, box.right, box.bottom


def gaps(found: NDArray[np.bool_]) -> list[range]:
    """The stretches of frames without the face."""
    steps = np.flatnonzero(np.diff(np.concatenate([[True], found, [True]]).astype(np.int8)))
    return [range(start, stop) for start, stop in steps.reshape(-1, 2).tolist()]
