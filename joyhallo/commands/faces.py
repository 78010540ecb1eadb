"""Whose face it is in a video: searched for, painted, or told."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from ..faces.boxes import Picture, Size
from ..faces.find import FaceError, FaceMesh, InsightFace
from ..faces.finders import Detector, Finder, Landmarker
from ..faces.known import KnownFaces
from ..faces.pursuit import Which
from ..faces.regions import Mask
from ..faces.tracking import EVERY, Tracked, Wishes, drawn, track
from .jobs import Progress
from .media import Source, picture_of
from .places import KNOWN_FACES

STEP = "Looking for the face"
NO_LANDMARKER = (
    "MediaPipe's face landmarker is missing, which finds faces: add --fetch to download it (4 MB, Apache 2.0), or give "
    "its file with --landmarker FILE"
)


def tracked(
    source: Source, options: Mapping[str, Any], mask: Mask | None, progress: Progress, every: int = EVERY
) -> Tracked:
    """options: those of TRACKING, and a box if there is one; mask: of the face; every: frames from look to look"""
    pictures = source.counted(STEP, progress)
    if (box := options.get("box")) is not None:
        return drawn(pictures, painted(box, source.size), source.rate)
    if mask is not None and options["detector"] == "auto":
        return drawn(pictures, mask, source.rate)
    reference = options["reference"]
    wishes = Wishes(
        which=_which(options["which_face"]),
        reference=None if reference is None else picture_of(reference, "reference"),
        gaps=options["gaps"],
        cuts=options["cuts"],
        every=every,
    )
    return track(pictures, finder(options), source.rate, wishes)


def finder(options: Mapping[str, Any]) -> Finder:
    size = options["detection_size"]
    if options["detector"] == "InsightFace":
        if options["face_models"] is None:
            raise FaceError(
                "InsightFace's models are missing: give their folder with --face-models FOLDER, add --fetch to "
                "download them (278 MB, for non-commercial research only), or choose --detector MediaPipe."
            )
        return Detector(_insightface(options["face_models"]), size)
    if options["landmarker"] is None:
        instead = ", or say where the face is with --box or --mask" if "box" in options else ""  # track has neither
        raise FaceError(f"{NO_LANDMARKER}{instead}.")
    return Landmarker(face_mesh(options["landmarker"]), size)


def known(picture: Picture) -> KnownFaces | None:
    """What knows the faces of pictures that come with the small model, if this is one of those."""
    faces = _known()
    return faces if faces is not None and faces.landmarker.knows(picture) else None


@cache
def _known() -> KnownFaces | None:
    return KnownFaces(KNOWN_FACES) if KNOWN_FACES.is_file() else None


@lru_cache(maxsize=1)
def face_mesh(task: Path) -> FaceMesh:
    return FaceMesh(task)


@lru_cache(maxsize=1)
def _insightface(folder: Path) -> InsightFace:
    return InsightFace(folder)


def _which(choice: str) -> Which:
    named: dict[str, Which] = {"largest": "largest", "most central": "central"}
    return named[choice] if choice in named else int(choice)


def painted(box: tuple[float, ...], size: Size) -> Mask:
    width, height = size
    left, top, right, bottom = (round(side) for side in box)
    mask = np.zeros((height, width), np.uint8)
    mask[max(0, top) : max(0, bottom), max(0, left) : max(0, right)] = 255
    if not mask.any():
        raise FaceError(
            f"The box {left},{top},{right},{bottom} lies outside the video's {width}x{height} pixels; expected left, "
            "top, right and bottom of the face, in pixels from the upper left corner."
        )
    return mask
