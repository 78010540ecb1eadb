"""`Showing`: what the measures of one clip share - its film, its face, what is heard - each made once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cached_property, lru_cache
from io import BytesIO
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from ..config import FPS, SAMPLE_RATE
from ..faces.boxes import Box, Picture, Points
from ..faces.find import FaceError, FaceMesh, InsightFace
from ..faces.finders import Detector, Finder, Landmarker
from ..faces.picture import as_picture
from ..faces.track import Track
from ..faces.tracking import Wishes, track
from ..files.digests import digest_of
from ..files.journal import key_of
from ..files.scratch import write_whole
from ..film.read import Film
from ..measures.sync import rotated
from ..sound.audio import Recording, load, prepare
from .clips import SOUNDS, Clip

SAMPLES = SAMPLE_RATE // FPS  # of a frame
RATE = Fraction(FPS)
OF_TRACK = ("boxes", "points", "scores")

T = TypeVar("T")


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

    @cached_property
    def digest(self) -> str:
        """Of what the files hold, wherever they lie."""
        files = [digest_of(Path(place)) for place in (self.landmarker, self.face_models) if place]
        return key_of(box=self.box, files=files)


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
        return digest_of(self.clip.film)

    def pictures(self) -> Iterator[Picture]:
        return self.film.pictures(RATE)

    @property
    def recording(self) -> Recording:
        return told_of(self._recording)

    @cached_property
    def _recording(self) -> Recording | Exception:
        own = self.clip.heard == self.clip.film
        return tried(lambda: _heard_in(self.film) if own else recording_of(self.clip.heard))

    @cached_property
    def shuffled(self) -> Tensor:
        """The control's sound, as long as its own: another clip's, or, where none can be heard, its own rotated."""
        own, other = self.recording.samples, self.clip.other
        found = None if other is None or other == self.clip.heard else tried(lambda: recording_of(other))
        if not isinstance(found, Recording):  # which costs the other clip, not this one
            return rotated(own)
        return found.samples.repeat(-(-len(own) // len(found.samples)))[: len(own)]

    @property
    def track(self) -> Track:
        """Every frame is looked at; nothing is guessed but short gaps."""
        return told_of(self._track)

    @cached_property
    def _track(self) -> Track | Exception:
        return tried(self._tracked)

    def _tracked(self) -> Track:
        if self.finding.box:
            return self._boxed(Box(*self.finding.box))
        path = self.kept / f"{key_of(film=self.digest, finding=self.finding.digest)[:32]}.npz"
        if path.exists():
            return _kept_track(path)
        found = track(self.pictures(), finder_of(self.finding), RATE, Wishes(every=1, whole=True)).track
        facts = {"size": np.array(found.size), "scheme": np.array(found.scheme), "cuts": np.array(found.cuts)}
        saved(path, {name: getattr(found, name) for name in OF_TRACK} | facts)
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

    @cached_property
    def truth(self) -> Showing:
        return self._with(self.clip.truth)

    @cached_property
    def source(self) -> Showing:
        return self._with(self.clip.source)

    def _with(self, film: Path | None) -> Showing:
        """Another film, with its own face and the same sound."""
        assert film is not None
        return Showing(replace(self.clip, film=film, sound=self.clip.heard), self.finding, self.kept)

    def face_in(self, picture: Picture) -> Box:
        """The largest in another picture."""
        if self.finding.box:
            raise FaceError("--box says nothing of the portrait: give --landmarker or --face-models")
        finder = finder_of(self.finding)
        with finder.at_work():
            found = [one.box for one in finder.seen(picture, thorough=True)]
        if not found:
            raise FaceError("no face is found in the portrait; choose another one")
        return max(found, key=lambda box: box.area)

    @property
    def meshes(self) -> Points:
        """(frames, points, 2): NaN where the face was not seen."""
        if self.track.scheme != "mesh":
            raise FaceError("it takes MediaPipe's landmarks: give --landmarker face_landmarker.task")
        return np.where((self.track.scores > 0)[:, None, None], self.track.points, np.nan).astype(float)


# ---- what several measures ask for, and none gets


def tried(make: Callable[[], T]) -> T | Exception:
    """What is made, or why it cannot be, so that it is tried once."""
    try:
        return make()
    except Exception as error:
        return error


def told_of(found: T | Exception) -> T:
    if isinstance(found, Exception):
        raise found
    return found


def _kept_track(path: Path) -> Track:
    with np.load(path, allow_pickle=False) as kept:
        width, height = kept["size"].tolist()
        arrays = {name: kept[name] for name in OF_TRACK}
        return Track(**arrays, scheme=str(kept["scheme"]), size=(width, height), rate=RATE,  # pyright: ignore
                     cuts=tuple(kept["cuts"].tolist()))  # fmt: skip


def saved(path: Path, arrays: Mapping[str, NDArray]) -> None:
    content = BytesIO()
    np.savez(content, allow_pickle=False, **arrays)
    write_whole(path, content.getvalue())


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
