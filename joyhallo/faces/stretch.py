"""`follow` finds the longest stretch of a video that shows one face, for a dataset: what lies beside it is left out."""

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
    """The interface of `find.FaceMesh`."""

    def anywhere(self, picture: Picture) -> list[Points]: ...

    def mesh(self, picture: Picture, box: Box) -> Points:
        """The mesh of the face near the box, or a FaceError."""
        ...


@dataclass(frozen=True)
class Stretch:
    start: int  # the video's frame of the first mesh
    meshes: np.ndarray  # (frames, points, 2), in the video's pixels
    looks: int  # frames searched, from start to end
    missed: int  # those without a face

    def __len__(self) -> int:
        return len(self.meshes)

    @property
    def boxes(self) -> list[Box]:
        return [outline_box(mesh) for mesh in self.meshes]


def follow(pictures: Iterable[Picture], landmarker: Landmarker, every: int = 2, most_missed: int = 3) -> Stretch | None:
    """Find the longest stretch of one face, with at most `most_missed` failed searches in a row; None if there is none.

    The largest face is followed, then whichever is at its place.
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
    """Split rising numbers into groups whose steps are at most `longest_step`."""
    groups = [[places[0]]]
    for before, place in pairwise(places):
        if place - before > longest_step:
            groups.append([])
        groups[-1].append(place)
    return groups


def _filled(found: dict[int, Points], stretch: list[int], count: int, every: int) -> Stretch:
    """Interpolate meshes for all frames; the last one is repeated if the video ends before the next search."""
    first, last = stretch[0], stretch[-1]
    stop = count if last + every >= count else last + 1
    known = np.stack([found[place] for place in stretch]).astype(np.float32)
    at = np.interp(np.arange(first, stop), stretch, np.arange(len(stretch)))
    before = at.astype(int)
    after, share = np.minimum(before + 1, len(stretch) - 1), (at - before)[:, None, None]
    meshes = known[before] * (1 - share) + known[after] * share
    looks = (last - first) // every + 1
    return Stretch(first, meshes.astype(np.float32), looks, looks - len(stretch))
