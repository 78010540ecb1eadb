"""A picture of someone -> what the sampler is fed, and the frame by which the result goes back into the picture."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from .boxes import Box, Picture, Size, covered
from .faces import (
    Choice,
    Face,
    FaceError,
    FaceMesh,
    InsightFace,
    Limits,
    as_mesh,
    check_face,
    choose,
    face_of,
    outline_box,
)
from .framing import Frame, as_mask, as_picture, cut, frame_face, frame_whole, in_window
from .libraries import LibraryError
from .masks import (
    BASE,
    FACE_EXPAND,
    Mask,
    SoftMasks,
    drawn,
    face_rectangle,
    lip_rectangle,
    locator,
    pixels,
    pyramid,
    resized,
    soft_masks,
)
from .sampling import Portrait

IDENTITY_WIDTH = 512


@dataclass(frozen=True)
class Finders:
    """What finds faces; either may be missing where its work is done by hand."""

    detector: InsightFace | None = None
    landmarker: FaceMesh | None = None


@dataclass(frozen=True)
class Wishes:
    """What the user settles; what is left open is found."""

    choice: Choice = "auto"
    mesh: Any = None  # (468 or 478, 2) points of the face, in the picture's pixels
    face_mask: Any = None  # of any size; it covers the whole picture
    lip_mask: Any = None
    identity: Tensor | Literal["neutral"] | None = None  # neutral: nobody in particular
    everywhere: bool = False  # no regions: all of the picture is face, lips and background at once

    @property
    def needs_mesh(self) -> bool:
        return self.mesh is None and not self.everywhere and (self.face_mask is None or self.lip_mask is None)


@dataclass(frozen=True)
class Framing:
    kind: Literal["face", "whole"] = "face"
    size: Size = (512, 512)
    expand: float = FACE_EXPAND  # of the face's outline, to the rectangle that stands for it


@dataclass(frozen=True)
class Prepared:
    portrait: Portrait
    picture: Picture
    frame: Frame
    face: Face | None  # None where masks tell all


@dataclass(frozen=True)
class _Regions:
    """Hard masks of the whole picture, where the user gave them."""

    face: Mask | None
    lips: Mask | None


def prepare(
    image: Any,
    finders: Finders | None = None,
    wishes: Wishes | None = None,
    framing: Framing | None = None,
    limits: Limits | None = None,
) -> Prepared:
    """From a PIL image, an array or a tensor: see `as_picture`.

    What does not fit raises a FaceError or another ValueError, what is missing a LibraryError, all with a remedy.
    """
    finders, wishes, framing = finders or Finders(), wishes or Wishes(), framing or Framing()
    picture = as_picture(image)
    given = _Regions(_drawn_by_hand(wishes.face_mask, "face"), _drawn_by_hand(wishes.lip_mask, "lip"))
    face = find_face(picture, finders, wishes, given.face)
    if face is not None:
        check_face(face, _size(picture), limits or Limits())
    frame = _frame(_size(picture), face, given.face, framing)
    hard, soft = _masks(face, given, wishes, frame, framing)
    portrait = Portrait(
        picture=pixels(cut(picture, frame), frame.size),
        identity=_identity(face, wishes),
        locator=locator(hard, frame.size),
        masks=pyramid(soft, frame.size),
    )
    return Prepared(portrait, picture, frame, face)


def find_face(picture: Picture, finders: Finders, wishes: Wishes, face_mask: Mask | None) -> Face | None:
    """The one face that is meant, with what of its identity and mesh is needed; None if nothing is."""
    size = _size(picture)
    known = None if wishes.mesh is None else face_of(as_mesh(wishes.mesh, size))
    if wishes.identity is not None and not wishes.needs_mesh:
        return known
    where: Choice = wishes.choice
    if known is not None or face_mask is not None:
        where = known.box if known is not None else face_mask  # pyright: ignore[reportAssignmentType]
    if finders.detector is None and wishes.identity is None:
        raise LibraryError(
            "The identity of the face is to be found, but no InsightFace models were given; load them, or ask for the "
            "neutral identity."
        )
    if finders.landmarker is None and wishes.needs_mesh:
        raise LibraryError(
            "The outline of face and lips is to be found, but no MediaPipe face landmarker was given; load its .task "
            "file, or give face landmarks, or masks for face and lips."
        )
    if finders.detector is not None:
        face = choose(finders.detector.faces(picture), where, size)
        mesh = None if known is None else known.mesh
        if wishes.needs_mesh and finders.landmarker is not None:
            mesh = finders.landmarker.mesh(picture, face.box)
        return replace(face, mesh=mesh)
    assert finders.landmarker is not None
    faces = sorted(map(face_of, finders.landmarker.meshes(picture)), key=lambda face: face.box.center)
    return choose(faces, where, size)


def _drawn_by_hand(mask: Any, name: str) -> Mask | None:
    if mask is None:
        return None
    found = as_mask(mask)
    if found.max() < 128:
        raise FaceError(f"The {name} mask is empty; draw over the {name}, or leave the mask away to have it found.")
    return found


def _frame(size: Size, face: Face | None, face_mask: Mask | None, framing: Framing) -> Frame:
    box = _extent(size, face, face_mask)
    if framing.kind == "whole" or box is None:
        return frame_whole(size, framing.size)
    return frame_face(size, box, framing.size)


def _extent(size: Size, face: Face | None, face_mask: Mask | None) -> Box | None:
    if face_mask is not None:
        return covered(_fitted(face_mask, size))
    if face is None:
        return None
    return face.box if face.mesh is None else outline_box(face.mesh)


def _masks(
    face: Face | None, given: _Regions, wishes: Wishes, frame: Frame, framing: Framing
) -> tuple[Mask, SoftMasks]:
    """The hard mask of the face, and the soft masks, both of the frame's window."""
    if wishes.everywhere:
        full = np.full((BASE, BASE), 255, np.uint8)
        return full, SoftMasks(full, full, full)
    size = (int(frame.window.width), int(frame.window.height))
    mesh = None if face is None or face.mesh is None else in_window(face.mesh, frame)
    if given.face is not None:
        face_region = cut(_fitted(given.face, frame.picture), frame)
    else:
        assert mesh is not None
        face_region = drawn(face_rectangle(mesh, size, framing.expand), size)
    if given.lips is not None:
        lip_region = cut(_fitted(given.lips, frame.picture), frame)
    else:
        assert mesh is not None
        lip_region = drawn(lip_rectangle(mesh, size), size)
    for name, region in (("face", face_region), ("lip", lip_region)):
        _check_region(name, region)
    return face_region, soft_masks(face_region, lip_region)


def _check_region(name: str, region: Mask) -> None:
    """A mask of one value would vanish when it is softened."""
    if region.max() < 128:
        raise FaceError(
            f"Nothing of the {name} region is in the frame; check that landmarks or masks belong to this picture."
        )
    if region.min() >= 128:
        raise FaceError(
            f"The {name} region fills the whole frame, and the model needs to see what is around it; let the face be "
            "framed automatically, or draw the mask tighter."
        )


def _identity(face: Face | None, wishes: Wishes) -> Tensor:
    if isinstance(wishes.identity, str):
        if wishes.identity != "neutral":
            raise ValueError(f"The identity {wishes.identity!r} is unknown; give numbers, neutral, or nothing.")
        return torch.zeros(IDENTITY_WIDTH)
    if wishes.identity is not None:
        found = torch.as_tensor(wishes.identity).detach().float().flatten()
    else:
        assert face is not None
        assert face.identity is not None
        found = torch.from_numpy(face.identity)
    if found.numel() != IDENTITY_WIDTH or not found.isfinite().all():
        raise ValueError(
            f"The face identity has {found.numel()} numbers, {int((~found.isfinite()).sum())} of them not finite; "
            f"expected {IDENTITY_WIDTH} finite ones, as the recogniser glintr100 gives them."
        )
    return found


def _fitted(mask: Mask, size: Size) -> Mask:
    return mask if mask.shape[::-1] == size else resized(mask, size)


def _size(picture: Picture) -> Size:
    return picture.shape[1], picture.shape[0]
