"""`sit`: the face that is to speak, from whatever tells where it is in the picture."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from ...faces.boxes import Picture, Points, Size, covered
from ...faces.find import TASK, Choice, FaceError, FaceMesh, Limits, as_meshes, check_face, choose, face_of
from ...faces.known import KnownMeshes
from ...faces.picture import as_mask
from ...faces.regions import Mask, resized
from ...notices import Notice
from . import doubts
from .face import Features

ALIKE = 0.02  # tolerance for aspect ratios of masks


@dataclass(frozen=True)
class Hints:
    """What the user gives; the rest is found."""

    mesh: Any = None  # points of one face or several, in the picture's pixels: see `as_meshes`
    lips: Any = None  # masks of any size that cover the whole picture
    face: Any = None  # with lips: in place of a mesh; alone: which face speaks


@dataclass(frozen=True)
class Sitter:
    features: Features
    source: str  # of its mesh, as a report says it
    notices: tuple[Notice, ...] = ()


def sit(
    picture: Picture,
    hints: Hints | None = None,
    known: KnownMeshes | None = None,
    landmarker: Callable[[], FaceMesh | None] = lambda: None,
) -> Sitter:
    """Given points come first, then masks, then pictures that are known, then MediaPipe.

    known: meshes of pictures; landmarker: called only if nothing else tells
    """
    hints = hints or Hints()
    size = picture.shape[1], picture.shape[0]
    lips, face = _painted(hints.lips, "lip", size), _painted(hints.face, "face", size)
    if hints.mesh is not None:
        return _of_meshes(as_meshes(hints.mesh, size), "given points", face, size)
    if lips is not None:
        return _of_masks(lips, face)
    if known is not None and known.knows(picture):
        return _of_meshes(known.meshes(picture), "the stored points of this picture", face, size)
    finder = landmarker()
    if finder is None:
        raise FaceError(
            "This picture's face cannot be found, as MediaPipe's face landmarker is missing: fetch it with the button "
            f"on Puppet Portrait (4 MB), put {TASK} into models/joyhallo, or connect face, landmarks, or both masks."
        )
    return _of_meshes(finder.anywhere(picture), "MediaPipe's face landmarker", face, size)


def _of_meshes(meshes: Sequence[Points], source: str, mask: Mask | None, size: Size) -> Sitter:
    if not meshes:
        raise FaceError(
            f"No face was found in this picture of {size[0]}x{size[1]}; use one that shows a face from the front, "
            "upright and sharp. For a drawing or a statue, paint lip_mask and face_mask."
        )
    faces = sorted(map(face_of, meshes), key=lambda face: face.box.center)
    where: Choice = "largest" if mask is None else mask
    face = choose(faces, where, size)
    check_face(face, size, Limits())
    assert face.mesh is not None
    features = Features.of_mesh(face.mesh)
    others = len(faces) - 1 if mask is None else 0
    return Sitter(features, source, (*doubts.of_features(features), *doubts.of_face(face, others)))


def _of_masks(lips: Mask, face: Mask | None) -> Sitter:
    if face is None:
        raise FaceError(
            "A lip_mask is connected, but no face_mask; paint the whole face, from forehead to chin, as face_mask, or "
            "disconnect the lip_mask."
        )
    if (face[lips >= 128] >= 128).mean() < 0.5:
        raise FaceError(
            f"The lips of lip_mask lie at {covered(lips)}, outside the face of face_mask at {covered(face)}; paint "
            "both over the same picture."
        )
    features = Features.of_masks(lips, face)
    return Sitter(features, "masks of lips and face", tuple(doubts.of_features(features)))


def _painted(mask: Any, name: str, size: Size) -> Mask | None:
    if mask is None:
        return None
    found = as_mask(mask)
    if found.max() < 128:
        raise FaceError(
            f"The {name}_mask is empty, as Load Image's is for a picture without transparency; paint the {name} in it, "
            "or disconnect it."
        )
    height, width = found.shape
    if abs(width * size[1] - height * size[0]) > ALIKE * height * size[0]:
        raise FaceError(
            f"The {name}_mask is {width}x{height} pixels, and its aspect ratio does not match the picture of "
            f"{size[0]}x{size[1]}; paint it over this picture."
        )
    return found if (width, height) == size else resized(found, size)
