"""Who is looking for faces in a film: InsightFace (`Detector`) or MediaPipe (`Landmarker`), both as a `Finder`.

Pictures are looked at shrunk, and where a face was just before, only around that place.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional as F

from .boxes import Box, Picture, Points, around, joint, whole
from .find import DETECTION_SIZE, Face, FaceMesh, InsightFace, face_of, outline_box, turn
from .regions import CHIN, FOREHEAD
from .track import Scheme

LONGEST = 1000  # pixels of a picture's longest side that MediaPipe looks at
WINDOW = 320  # the same of what InsightFace sees of the surroundings of a face; a multiple of its largest stride
STRIDE = 32
HAIRLINE = 0.13  # how far the hairline lies above the mesh, over the mesh's height
TURNED = 0.9  # most offset of the nose from the middle of the eyes, over their distance, where lips can be seen


@dataclass(frozen=True)
class Seen:
    box: Box  # from the hairline to the chin, across both cheeks
    points: Points  # in the order of the finder's scheme
    score: float = 1.0
    turned: float = 0.0  # see find.turn

    @property
    def is_turned_away(self) -> bool:
        return self.turned > TURNED


class Finder(Protocol):
    @property
    def scheme(self) -> Scheme: ...

    @property
    def recognises(self) -> bool:
        """Whether it knows identities."""
        ...

    def at_work(self) -> AbstractContextManager[object]:
        """Whatever is kept for many pictures in a row."""
        ...

    def seen(self, picture: Picture, near: Box | None = None, thorough: bool = False) -> list[Seen]:
        """From left to right. near: where to look, a face that is expected there; thorough: for small ones, too"""
        ...

    def identity(self, picture: Picture, face: Seen) -> NDArray[np.float32] | None:
        """Costly."""
        ...


class Landmarker:
    """MediaPipe's meshes, and boxes of them."""

    scheme: Scheme = "mesh"
    recognises = False

    def __init__(self, landmarker: FaceMesh, longest: int = 0):
        """longest: pixels of a picture's longest side that is looked at; 0: as is usual"""
        self.landmarker, self.longest = landmarker, longest or LONGEST

    def at_work(self) -> AbstractContextManager[object]:
        return self.landmarker.at_work()

    def seen(self, picture: Picture, near: Box | None = None, thorough: bool = False) -> list[Seen]:
        window = whole(picture.shape[1::-1]) if near is None else surroundings(near, picture)
        part, scale = shrunk(picture[window.slices], self.longest)
        meshes = self.landmarker.anywhere(part) if thorough else self.landmarker.meshes(part)
        return _ordered([_of_mesh(mesh * scale + (window.left, window.top)) for mesh in meshes])

    def identity(self, picture: Picture, face: Seen) -> None:
        return None


class Detector:
    """InsightFace's boxes and marks, and identities where they are asked for."""

    scheme: Scheme = "marks"
    recognises = True

    def __init__(self, detector: InsightFace, longest: int = 0):
        """longest: as above, rounded up to what the network takes"""
        self.detector, self.side = detector, -(-(longest or DETECTION_SIZE[0]) // STRIDE) * STRIDE

    def at_work(self) -> AbstractContextManager[object]:
        return nullcontext()

    def seen(self, picture: Picture, near: Box | None = None, thorough: bool = False) -> list[Seen]:
        window = whole(picture.shape[1::-1]) if near is None else surroundings(near, picture)
        found = self.detector.located(picture[window.slices], self.side if near is None else WINDOW)
        return _ordered([_of_marks(face, (window.left, window.top)) for face in found])

    def identity(self, picture: Picture, face: Seen) -> NDArray[np.float32]:
        return self.detector.identity(picture, face.points)


def surroundings(box: Box, picture: Picture) -> Box:
    """Twice as large as the face, in whole pixels, in which both finders see it best."""
    (x, y), half = box.center, max(16, round(box.longest))
    x, y = (min(max(round(at), 0), side) for at, side in zip((x, y), picture.shape[1::-1], strict=True))
    return Box(x - half, y - half, x + half, y + half).within(whole(picture.shape[1::-1]))


def shrunk(picture: Picture, longest: int) -> tuple[Picture, NDArray[np.float64]]:
    """A picture no larger than that, and by how much the given one is wider and higher."""
    height, width = picture.shape[:2]
    scale = max(width, height) / longest
    if scale <= 1:
        return picture, np.ones(2)
    size = max(1, round(width / scale)), max(1, round(height / scale))
    pixels = torch.from_numpy(np.require(picture, None, ["C", "W"])).permute(2, 0, 1)[None]
    small = F.interpolate(pixels, size[::-1], mode="bilinear", antialias=True)  # Pillow takes three times as long
    return np.ascontiguousarray(small[0].permute(1, 2, 0).numpy()), np.array([width, height]) / size


def mesh_box(mesh: Points) -> Box:
    """With the forehead up to the hairline, which no mesh reaches, whichever way is up."""
    hairline = mesh[list(FOREHEAD)] + HAIRLINE * (mesh[FOREHEAD[0]] - mesh[CHIN])
    return joint([outline_box(mesh), around(hairline)])


def _of_mesh(mesh: Points) -> Seen:
    marks = face_of(mesh).marks
    assert marks is not None
    return Seen(mesh_box(mesh), mesh, 1.0, turn(marks))


def _of_marks(face: Face, corner: tuple[float, float]) -> Seen:
    assert face.marks is not None
    return Seen(face.box.moved(*corner), face.marks + corner, face.score, turn(face.marks))


def _ordered(faces: list[Seen]) -> list[Seen]:
    return sorted(faces, key=lambda face: face.box.center)
