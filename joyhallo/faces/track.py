"""The one face of a video: looked for in every few frames, and assumed to move evenly in between."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol

import numpy as np

from .boxes import Box, Picture, Points
from .find import FaceError, FaceMesh, outline_box


class Landmarker(Protocol):
    """As `faces.FaceMesh`."""

    def anywhere(self, picture: Picture) -> list[Points]: ...

    def mesh(self, picture: Picture, box: Box) -> Points:
        """Of the face near the box; a FaceError if there is none."""
        ...


@dataclass(frozen=True)
class Track:
    start: int  # frame of the video that the first mesh belongs to
    meshes: np.ndarray  # (frames, points, 2), in the video's pixels
    looks: int  # frames that were looked at, from start to end
    missed: int  # of these, where no face was found

    def __len__(self) -> int:
        return len(self.meshes)

    @property
    def boxes(self) -> list[Box]:
        return [outline_box(mesh) for mesh in self.meshes]


def follow(pictures: Iterable[Picture], landmarker: Landmarker, every: int = 2, most_missed: int = 3) -> Track | None:
    """The longest stretch that shows one face, with up to `most_missed` looks in a row that failed; None without one.

    The largest face is followed, then whichever is where it was.
    """
    found: dict[int, Points] = {}
    count, near = 0, None
    with landmarker.at_work() if isinstance(landmarker, FaceMesh) else nullcontext():
        for count, picture in enumerate(pictures, 1):
            if (count - 1) % every == 0 and (mesh := _look(picture, landmarker, near)) is not None:
                found[count - 1], near = mesh, outline_box(mesh)
    if not found:
        return None
    stretch = max(stretches(sorted(found), every * (most_missed + 1)), key=lambda some: some[-1] - some[0])
    return _filled(found, stretch, count, every)


def _look(picture: Picture, landmarker: Landmarker, near: Box | None) -> Points | None:
    if near is None:
        return max(landmarker.anywhere(picture), key=lambda mesh: outline_box(mesh).area, default=None)
    try:
        return landmarker.mesh(picture, near)
    except FaceError:
        return None


def stretches(places: Sequence[int], longest_step: int) -> list[list[int]]:
    """Rising numbers in groups, of which no two neighbours are further apart."""
    groups = [[places[0]]]
    for before, place in pairwise(places):
        if place - before > longest_step:
            groups.append([])
        groups[-1].append(place)
    return groups


def _filled(found: dict[int, Points], stretch: list[int], count: int, every: int) -> Track:
    """Meshes of all frames; the last one stays to the end of the video if that comes before the next look."""
    first, last = stretch[0], stretch[-1]
    stop = count if last + every >= count else last + 1
    known = np.stack([found[place] for place in stretch]).astype(np.float32)
    at = np.interp(np.arange(first, stop), stretch, np.arange(len(stretch)))
    before = at.astype(int)
    after, share = np.minimum(before + 1, len(stretch) - 1), (at - before)[:, None, None]
    meshes = known[before] * (1 - share) + known[after] * share
    looks = (last - first) // every + 1
    return Track(first, meshes.astype(np.float32), looks, looks - len(stretch))
