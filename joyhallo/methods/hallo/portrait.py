"""`prepare` makes the sampler's portrait from a picture, with the crop by which frames go back into the picture."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from ...faces.boxes import Box, Picture, Size, covered
from ...faces.crops import Crop, crop_face, crop_whole, cut, in_crop
from ...faces.find import (
    SURE,
    TASK,
    Choice,
    Face,
    FaceError,
    FaceMesh,
    FaceModels,
    Finders,
    InsightFace,
    Limits,
    Undecided,
    as_meshes,
    check_face,
    choose,
    face_of,
    lying,
    outline_box,
    tilt,
)
from ...faces.picture import as_mask, as_picture
from ...faces.regions import FACE_EXPAND, LIP_EXPAND, Mask, drawn, face_rectangle, lip_rectangle, resized
from ...libraries import LibraryError
from ...notices import Notice
from . import doubts
from .config import REGIONS
from .masks import BASE, SoftMasks, locator, pixels, pyramid, soft_masks
from .sampling import Portrait

IDENTITY_WIDTH = 512
ALIKE = 0.02  # tolerance for aspect ratios of masks
WHITE = 254  # which is what newer versions of ComfyUI read from the 255 of a grey picture

# As users choose them
CHOICES: dict[str, Choice] = {"auto": "auto", "largest": "largest", **{str(number): number for number in range(10)}}
FRAMINGS: dict[str, Literal["face", "whole"]] = {"face": "face", "whole picture": "whole"}
IDENTITIES: dict[str, Literal["neutral"] | None] = {"from the picture": None, "neutral": "neutral"}

FROM_NODE = "in ComfyUI connect face_analysis from Load JoyHallo Models"


@dataclass(frozen=True)
class Wishes:
    """The user's choices; whatever is left open is detected."""

    choice: Choice = "auto"
    mesh: Any = None  # (468 or 478, 2) points of a face, in the picture's pixels, or of several: see `as_meshes`
    face_mask: Any = None  # of any size, covering the whole picture; chooses the face if `choice` is auto
    lip_mask: Any = None
    identity: Tensor | Literal["neutral"] | None = None  # neutral: no identity
    everywhere: bool = False  # no regions: the whole picture counts as face, lips and background at once

    @property
    def needs_mesh(self) -> bool:
        return self.mesh is None and not self.everywhere and (self.face_mask is None or self.lip_mask is None)


@dataclass(frozen=True)
class Framing:
    kind: Literal["face", "whole"] = "face"
    size: Size = (512, 512)
    expand: float = FACE_EXPAND  # the face's rectangle over the face's outline
    lip_expand: float = LIP_EXPAND


@dataclass(frozen=True)
class Found:
    """The chosen face."""

    face: Face
    number: int  # among all faces, from left to right
    boxes: Sequence[Box]  # of all
    unsure: int = 0  # how many more there may be


@dataclass(frozen=True)
class Prepared:
    """A portrait, its window and its regions, independent of the frames' size."""

    picture: Picture
    crop: Crop
    found: Found | None  # None if masks suffice
    identity: Tensor
    face_region: Mask  # the window's hard mask
    regions: SoftMasks
    notices: tuple[Notice, ...] = ()

    @property
    def face(self) -> Face | None:
        return None if self.found is None else self.found.face

    @property
    def window(self) -> Picture:
        return cut(self.picture, self.crop)

    @cached_property
    def portrait(self) -> Portrait:
        """The sampler's portrait, at the frames' size."""
        return Portrait(
            picture=pixels(self.window, self.crop.size),
            identity=self.identity,
            locator=locator(self.face_region, self.crop.size),
            masks=pyramid(self.regions, self.crop.size),
        )

    def at(self, size: Size, *, pose: Any = None, expression: Any = None, lip: Any = None) -> Prepared:
        """A copy for frames of another size, with edited regions: masks of any size that cover the window."""
        given = {"pose": pose, "expression": expression, "lip": lip}
        edited = {name: self._edited(name, mask) for name, mask in given.items() if mask is not None}
        regions = self.regions.replaced(**edited)
        others = (notice for notice in self.notices if notice.values.get("region") not in edited)
        notices = (*others, *doubts.of_regions(regions, edited))
        return replace(self, crop=self.crop.at(size), regions=regions, notices=notices)

    def _edited(self, name: str, mask: Any) -> Mask:
        found, (width, height) = as_mask(mask), self.crop.seen
        if abs(found.shape[1] * height - found.shape[0] * width) > ALIKE * found.shape[0] * width:
            raise FaceError(
                f"The edited {name} mask is {found.shape[1]}x{found.shape[0]} pixels, and its aspect ratio does not "
                f"match the crop of {width}x{height}; edit this portrait's own {name} mask."
            )
        return found


@dataclass(frozen=True)
class _Regions:
    """The user's hard masks of the whole picture, if any."""

    face: Mask | None
    lips: Mask | None


def prepare(
    image: Any,
    finders: Finders | FaceModels | None = None,
    wishes: Wishes | None = None,
    framing: Framing | None = None,
    limits: Limits | None = None,
) -> Prepared:
    """Prepare a portrait from a PIL image, an array or a tensor; see `as_picture`.

    Unsuitable input raises a FaceError or another ValueError, a missing library a LibraryError, each with a remedy.
    """
    finders, wishes, framing = finders or Finders(), wishes or Wishes(), framing or Framing()
    picture = as_picture(image)
    given = _Regions(_drawn_by_hand(wishes.face_mask, "face"), _drawn_by_hand(wishes.lip_mask, "lip"))
    found = find_face(picture, finders, wishes, given.face)
    face = None if found is None else found.face
    if face is not None:
        check_face(face, _size(picture), limits or Limits())
    crop = _crop(_size(picture), face, given.face, framing)
    face_region, regions = _masks(face, given, wishes, crop, framing)
    notices = (*_doubts(found, wishes), *doubts.of_regions(regions, REGIONS))
    return Prepared(picture, crop, found, _identity(face, wishes), face_region, regions, notices)


def _doubts(found: Found | None, wishes: Wishes) -> Iterator[Notice]:
    if found is None:
        return
    yield from doubts.of_face(found.face)
    yield from doubts.of_unsure(found.unsure)
    if isinstance(wishes.choice, str) and wishes.choice == "auto" and wishes.face_mask is None:
        yield from doubts.of_others(len(found.boxes), found.number)


def find_face(picture: Picture, finders: Finders | FaceModels, wishes: Wishes, face_mask: Mask | None) -> Found | None:
    """Find the chosen face, with its identity and mesh as far as needed; None if neither is."""
    size, where, laid = _size(picture), wishes.choice, None
    if face_mask is not None and isinstance(where, str) and where == "auto":
        where = face_mask
    if wishes.mesh is not None:
        laid = _one_of(map(face_of, as_meshes(wishes.mesh, size)), where, size)
        where = laid.face.box
    found, mesh = laid, None if laid is None else laid.face.mesh
    if wishes.identity is None:
        seen = _upright(_detector(finders).seen, picture)
        sure = [face for face in seen if face.score >= SURE]
        found = replace(_one_of(sure, where, size), unsure=len(seen) - len(sure))
    elif wishes.needs_mesh:
        finder = _landmarker(finders)
        found = _one_of(_upright(lambda seen: list(map(face_of, finder.anywhere(seen))), picture), where, size)
    if found is None:
        return None
    if wishes.needs_mesh:
        mesh = _landmarker(finders).mesh(picture, found.face.box)
    return replace(laid or found, face=replace(found.face, mesh=mesh), unsure=found.unsure)


def _upright(look: Callable[[Picture], list[Face]], picture: Picture) -> list[Face]:
    """All faces, or an error if there are some only when the picture is turned."""
    found = look(picture)
    if not any(face.score >= SURE for face in found):
        for quarters, angle in ((1, 90), (3, -90), (2, 180)):
            if any(map(_stands, look(np.ascontiguousarray(np.rot90(picture, quarters))))):
                raise lying(angle)
    return found


def _stands(face: Face) -> bool:
    return face.score >= SURE and (face.marks is None or abs(tilt(face.marks)) <= Limits.tilted)


def _one_of(faces: Iterable[Face], where: Choice, size: Size) -> Found:
    ordered = sorted(faces, key=lambda face: face.box.center)
    boxes = [face.box for face in ordered]
    try:
        face = choose(ordered, where, size)
    except FaceError as error:
        raise Undecided(str(error), boxes) if boxes else error from None
    return Found(face, next(i for i, other in enumerate(ordered) if other is face), boxes)


def _detector(finders: Finders | FaceModels) -> InsightFace:
    if finders.detector is None:
        raise LibraryError(
            f"Finding the identity of the face takes InsightFace models, but there are none: give them ({FROM_NODE}, "
            "where face_models must not be none), or choose the neutral identity."
        )
    return finders.detector


def _landmarker(finders: Finders | FaceModels) -> FaceMesh:
    if finders.landmarker is None:
        raise LibraryError(
            f"Finding the outline of face and lips takes MediaPipe's face landmarker, but there is none: give {TASK} "
            f"({FROM_NODE}, with that file in models/joyhallo/face_analysis/models), face landmarks, or masks for "
            "face and lips."
        )
    return finders.landmarker


def _drawn_by_hand(mask: Any, name: str) -> Mask | None:
    if mask is None:
        return None
    found = as_mask(mask)
    if found.max() < 128:
        raise FaceError(
            f"The {name} mask is empty, as LoadImage's is for a picture without transparency; paint the {name} "
            "region, or disconnect the mask to have the region detected."
        )
    return np.where(found >= WHITE, np.uint8(255), found)


def _crop(size: Size, face: Face | None, face_mask: Mask | None, framing: Framing) -> Crop:
    box = _extent(size, face, face_mask)
    if framing.kind == "whole" or box is None:
        return crop_whole(size, framing.size)
    return crop_face(size, box, framing.size)


def _extent(size: Size, face: Face | None, face_mask: Mask | None) -> Box | None:
    if face_mask is not None:
        return covered(_fitted(face_mask, size))
    if face is None:
        return None
    return face.box if face.mesh is None else outline_box(face.mesh)


def _masks(face: Face | None, given: _Regions, wishes: Wishes, crop: Crop, framing: Framing) -> tuple[Mask, SoftMasks]:
    """The hard mask of the face, and the soft masks, both of the frame's window."""
    if wishes.everywhere:
        full = np.full((BASE, BASE), 255, np.uint8)
        return full, SoftMasks(full, full, full)
    size = crop.seen
    mesh = None if face is None or face.mesh is None else in_crop(face.mesh, crop)
    if given.face is not None:
        face_region = cut(_fitted(given.face, crop.picture), crop)
    else:
        assert mesh is not None
        face_region = drawn(face_rectangle(mesh, size, framing.expand), size)
    if given.lips is not None:
        lip_region = cut(_fitted(given.lips, crop.picture), crop)
    else:
        assert mesh is not None
        lip_region = drawn(lip_rectangle(mesh, size, framing.lip_expand), size)
    for name, region in (("face", face_region), ("lip", lip_region)):
        _check_region(name, region)
    return face_region, soft_masks(face_region, lip_region)


def _check_region(name: str, region: Mask) -> None:
    """A mask of one value would vanish when it is softened."""
    if region.max() < 128:
        raise FaceError(
            f"The {name} region lies outside the frame; check that landmarks or masks belong to this picture."
        )
    if region.min() >= 128:
        raise FaceError(
            f"The {name} region fills the whole frame, but the model needs to see what is around it; expand it less, "
            "draw its mask tighter, or frame the face instead."
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
            f"expected {IDENTITY_WIDTH} finite ones from the recogniser glintr100."
        )
    return found


def _fitted(mask: Mask, size: Size) -> Mask:
    return mask if mask.shape[::-1] == size else resized(mask, size)


def _size(picture: Picture) -> Size:
    return picture.shape[1], picture.shape[0]
