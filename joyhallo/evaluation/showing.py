"""`Showing`: what the measures of one clip share - its film, its face, what is heard - each made once."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from ..config import FPS, SAMPLE_RATE
from ..faces.boxes import Box, Picture, whole
from ..faces.find import FaceError, FaceMesh, InsightFace
from ..faces.finders import Detector, Finder, Landmarker
from ..faces.picture import as_picture
from ..faces.track import Track
from ..faces.tracking import Wishes, track
from ..files.fingerprint import sha256
from ..files.journal import key_of
from ..files.scratch import scratch
from ..film.read import Film
from ..sound.audio import Recording, load, prepare
from .clips import SOUNDS, Clip

SAMPLES = SAMPLE_RATE // FPS  # of a frame
RATE = Fraction(FPS)


@dataclass(frozen=True)
class Finding:
    """Who finds faces, by paths alone, so that it can travel; a box says where the face is, and nobody is asked."""

    landmarker: str = ""
    face_models: str = ""
    box: tuple[float, float, float, float] | None = None

    @property
    def backend(self) -> str:
        """As the report names it."""
        if self.box:
            return "the given box"
        return "MediaPipe's mesh" if self.landmarker else "InsightFace" if self.face_models else ""


@lru_cache(maxsize=1)
def mesh_of(task: str) -> FaceMesh:
    return FaceMesh(task)


@lru_cache(maxsize=1)
def recogniser_of(folder: str) -> InsightFace:
    return InsightFace(folder)


def finder_of(finding: Finding) -> Finder:
    if finding.landmarker:
        return Landmarker(mesh_of(finding.landmarker))
    if finding.face_models:
        return Detector(recogniser_of(finding.face_models))
    raise FaceError(
        "nobody finds the face: give --landmarker face_landmarker.task (4 MB), --face-models FOLDER, or --box"
    )


class Showing:
    """A film with a sound. Frames for faces and lips are those at 25 a second."""

    def __init__(self, clip: Clip, finding: Finding, kept: Path):
        """kept: the folder of what is kept of films, by their contents"""
        self.clip, self.finding, self.kept = clip, finding, kept
        self.film = Film(clip.film, threads=1)

    @cached_property
    def digest(self) -> str:
        return sha256(self.clip.film)

    def pictures(self) -> Iterator[Picture]:
        return self.film.pictures(RATE)

    @cached_property
    def recording(self) -> Recording:
        return _heard_in(self.film) if self.clip.heard == self.clip.film else recording_of(self.clip.heard)

    @cached_property
    def other(self) -> Recording | None:
        """Whose sound the shuffled control takes; None where there is no other clip, or it cannot be heard."""
        other = self.clip.other
        if other is None or other == self.clip.heard:
            return None
        try:
            return recording_of(other)
        except (ValueError, OSError):  # which costs the other clip, not this one
            return None

    @cached_property
    def track(self) -> Track:
        """Every frame is looked at; nothing is guessed but short gaps."""
        names = ("boxes", "points", "scores")
        path = self.kept / f"{key_of(film=self.digest, finding=self.finding)[:32]}.npz"
        if self.finding.box:
            return self._boxed(Box(*self.finding.box))
        if path.exists():
            with np.load(path, allow_pickle=False) as kept:
                arrays = {name: kept[name] for name in names}
                width, height = kept["size"].tolist()
                return Track(**arrays, scheme=str(kept["scheme"]), size=(width, height), rate=RATE,  # type: ignore[arg-type]
                             cuts=tuple(kept["cuts"].tolist()))  # fmt: skip
        found = track(self.pictures(), finder_of(self.finding), RATE, Wishes(every=1)).track
        arrays = {name: getattr(found, name) for name in names}
        saved(
            path,
            arrays | {"size": np.array(found.size), "scheme": np.array(found.scheme), "cuts": np.array(found.cuts)},
        )
        return found

    def _boxed(self, box: Box) -> Track:
        count, size = 0, (0, 0)
        for picture in self.pictures():
            count, size = count + 1, (picture.shape[1], picture.shape[0])
        boxes = np.tile(np.array([box.left, box.top, box.right, box.bottom], np.float32), (count, 1))
        return Track(boxes, np.empty((count, 0, 2), np.float32), np.ones(count, np.float32), "none", size, RATE)

    @property
    def frames(self) -> int:
        """As near as the file's own length tells."""
        return self.film.facts.count

    @property
    def strip(self) -> Path:
        """Where some frames of it are kept, side by side."""
        return self.kept / f"{self.digest[:32]}.jpg"

    def beside(self, what: Literal["truth", "source"]) -> Showing:
        """The film that belongs to it, with its own face."""
        film = getattr(self.clip, what)
        return Showing(replace(self.clip, film=film), self.finding, self.kept)

    def faces_of(self, picture: Picture) -> list[Box]:
        """In another picture, from the largest on."""
        if self.finding.box:
            return [whole((picture.shape[1], picture.shape[0]))]
        finder = finder_of(self.finding)
        with finder.at_work():
            found = sorted((one.box for one in finder.seen(picture, thorough=True)), key=lambda box: -box.area)
        if not found:
            raise FaceError("no face is found in the portrait; choose another one")
        return found

    @property
    def meshes(self) -> NDArray[np.float32]:
        """(frames, points, 2)"""
        if self.track.scheme != "mesh":
            raise FaceError("it takes MediaPipe's landmarks: give --landmarker face_landmarker.task")
        return self.track.points


def saved(path: Path, arrays: Mapping[str, NDArray]) -> None:
    """Whole or not at all, whoever else writes the same."""
    with scratch(path.parent) as place:
        part = place / "part.npz"
        np.savez(part, allow_pickle=False, **arrays)
        os.replace(part, path)


def recording_of(path: Path) -> Recording:
    if path.suffix.lower() in SOUNDS:
        return load(path)
    return _heard_in(Film(path, threads=1))


def _heard_in(film: Film) -> Recording:
    sound = film.sound()
    if sound is None:
        raise FaceError("the film has no sound; give it with --sound")
    return prepare(*sound)


def portrait(path: Path) -> Picture:
    with Image.open(path) as image:
        return as_picture(image)


# ---- sounds of the controls


def shuffled(own: Tensor, other: Tensor | None) -> Tensor:
    """Another clip's sound at this one's length, or, where there is none, its own from the middle on."""
    if other is None:
        return own.roll(len(own) // 2)
    return other.repeat(-(-len(own) // len(other)))[: len(own)]
