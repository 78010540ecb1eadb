"""`Pursuit` stays on one person from one look at a film to the next: by place, or by looks where that is not clear."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ..libraries import LibraryError, brief
from .boxes import Box, Picture
from .find import SURE, Face, FaceError, Undecided, choose
from .finders import Finder, Seen, surroundings
from .regions import Mask
from .resemblance import Gallery, Portrait

log = logging.getLogger(__name__)

# central: nearest to the picture's middle; a number counts from the left, from 0; two numbers are a point in it.
Which = Literal["largest", "central"] | int | tuple[float, float] | Mask

THERE = 0.5  # overlap with the expected box of a face that is where it should be
APART = 0.05  # most overlap with that of one that is not meant
LENIENT = 0.15  # by how much less a face that is there must look the same
WARY = 8  # looks, after others were near or the face was gone, in which the place alone does not tell who it is
PATIENT = 6  # looks without the face, after which small ones are searched for
MOVED = 6  # most frames for which a face is expected to go on as it moved


class Unclear(Undecided):
    """The choice does not fit the faces of the first picture that has some."""

    def __init__(self, message: str, boxes: list[Box], picture: Picture):
        super().__init__(message, boxes)
        self.picture = picture


@dataclass(frozen=True)
class First:
    """The first picture with faces, or with the person that was wanted."""

    frame: int
    picture: Picture
    boxes: list[Box]  # from left to right
    chosen: int


@dataclass(frozen=True)
class Sighting:
    frame: int
    meant: Portrait | None = None
    others: list[Portrait] = field(default_factory=list)
    verified: bool = False

    @property
    def face(self) -> Seen | None:
        return None if self.meant is None else self.meant.face

    @property
    def near(self) -> list[Portrait]:
        """Of the others those that might be taken for the person."""
        if self.meant is None:
            return []
        around = surroundings(self.meant.face.box, self.meant.picture)
        return [other for other in self.others if other.face.box.within(around).area > 0]


class Pursuit:
    def __init__(self, finder: Finder, which: Which = "largest", reference: Picture | None = None):
        self.finder, self.which = finder, which
        self.own, self.rivals = Gallery(), Gallery()
        self.first: First | None = None
        self.last: Seen | None = None
        self.most_others = 0
        self._at, self._speed = 0, np.zeros(4)  # frame of the last sight; pixels a frame, of each side
        self._wary = self._missed = 0  # looks
        self._worked, self._trouble = False, 0
        self.wanted = reference is not None
        if reference is not None:
            self._know(reference)

    @property
    def chosen(self) -> bool:
        return self.first is not None

    def _know(self, reference: Picture) -> None:
        faces = self.finder.seen(reference, thorough=True)
        if not faces:
            raise FaceError(
                "No face was found in the reference picture; use one that shows the person's face from the front."
            )
        self._learn(Portrait(reference, max(faces, key=lambda face: face.box.area), self.finder))

    def _learn(self, portrait: Portrait) -> None:
        self.own.add(portrait)
        self.own.add_identity(portrait)

    # ---- a look changes nothing: it may be taken again

    def look(self, frame: int, picture: Picture, fresh: bool) -> Sighting:
        """fresh: another shot may begin with this picture"""
        if not self.chosen:
            return self._search(frame, picture)
        expected = None if fresh else self.expected(frame)
        others: list[Portrait] = []
        for faces in self._views(picture, expected, fresh):
            others = [Portrait(picture, face, self.finder) for face in faces]
            found, verified = self._meant(others, expected)
            if found is not None:
                others.remove(found)
                return Sighting(frame, found, others, verified)
        return Sighting(frame, None, others)

    def _views(self, picture: Picture, expected: Box | None, fresh: bool) -> Iterator[list[Seen]]:
        """Cheap ones first."""
        if expected is not None:
            yield self._seen(picture, expected)
        yield self._seen(picture, None, fresh or self._missed % PATIENT == PATIENT - 1)

    def _seen(self, picture: Picture, near: Box | None = None, thorough: bool = False) -> list[Seen]:
        """One bad picture does not end the work."""
        try:
            found = self.finder.seen(picture, near, thorough)
        except Exception as error:
            if isinstance(error, LibraryError) and not self._worked:
                raise
            self._trouble += 1
            if self._trouble == 1:
                log.warning("A picture could not be searched for faces (%s).", brief(error))
            return []
        self._worked = True
        return found

    def expected(self, frame: int) -> Box | None:
        """Where the face is if it goes on as it moved; None where it is not known."""
        if self.last is None:
            return None
        sides = _sides(self.last.box) + self._speed * min(frame - self._at, MOVED)
        return Box(*sides.tolist())

    def _meant(self, portraits: list[Portrait], expected: Box | None) -> tuple[Portrait | None, bool]:
        """The person among the faces, and whether that was made sure of."""
        place = [0.0 if expected is None else portrait.face.box.overlap(expected) for portrait in portraits]
        there = [portrait for portrait, overlap in zip(portraits, place, strict=True) if overlap > APART]
        clear = len(there) == 1 and max(place) > THERE and (not self._wary or len(portraits) > 1)
        if clear and not self._missed and self.own.looks_same(there[0]):
            return there[0], False
        best, most = None, 0.0
        for portrait, overlap in zip(portraits, place, strict=True):
            same, bar = self.own.same(portrait), -LENIENT if overlap > THERE and not self._missed else 0.0
            if same > bar and same > self.rivals.same(portrait) and (best is None or same + overlap / 3 > most):
                best, most = portrait, same + overlap / 3
        return best, best is not None

    def _search(self, frame: int, picture: Picture) -> Sighting:
        faces = self._seen(picture, None, self._missed % PATIENT == 0)
        portraits = [Portrait(picture, face, self.finder) for face in faces if face.score >= SURE]
        if self.wanted:
            best = max(portraits, key=self.own.same, default=None)
            found = best if best is not None and self.own.same(best) > 0 else None
        else:
            found = self._choice(portraits, picture) if portraits else None
        return Sighting(frame, found, [one for one in portraits if one is not found], True)

    def _choice(self, portraits: list[Portrait], picture: Picture) -> Portrait:
        boxes, which = [portrait.face.box for portrait in portraits], self.which
        size = picture.shape[1], picture.shape[0]
        if isinstance(which, str) and which == "central":
            which = size[0] / 2, size[1] / 2
        if isinstance(which, tuple):
            distances = [float(np.hypot(*np.subtract(box.center, which))) for box in boxes]
            return portraits[int(np.argmin(distances))]
        faces = [Face(box) for box in boxes]
        try:
            found = choose(faces, "largest" if isinstance(which, str) else which, size)
        except FaceError as error:
            raise Unclear(str(error), boxes, picture) from error
        return portraits[faces.index(found)]

    # ---- what is learned from one

    def note(self, sighting: Sighting) -> None:
        self.most_others = max(self.most_others, len(sighting.others))
        found, near = sighting.meant, sighting.near
        self._wary = WARY if near or found is None else max(0, self._wary - 1)
        if found is None:
            self._missed += 1
            return
        if self.first is None:
            self._begin(sighting)
        elif sighting.verified and self.own.same(found) > LENIENT:
            self.own.add_identity(found)
        self.own.add(found)
        for other in near:
            self.rivals.add(other)
            if self.finder.recognises and len(self.rivals.identities) < 4:
                self.rivals.add_identity(other)
        self._move(sighting.frame, found.face)
        self._missed = 0

    def _begin(self, sighting: Sighting) -> None:
        assert sighting.meant is not None
        all_faces = sorted([sighting.meant, *sighting.others], key=lambda one: one.face.box.center)
        boxes = [portrait.face.box for portrait in all_faces]
        self.first = First(sighting.frame, sighting.meant.picture, boxes, all_faces.index(sighting.meant))
        if not self.wanted:
            self.own.add_identity(sighting.meant)

    def _move(self, frame: int, face: Seen) -> None:
        self._speed = np.zeros(4)
        if self.last is not None and frame - self._at <= MOVED and self.last.box.overlap(face.box) > APART:
            self._speed = (_sides(face.box) - _sides(self.last.box)) / (frame - self._at)
        self.last, self._at = face, frame


def _sides(box: Box) -> NDArray[np.float64]:
    return np.array([box.left, box.top, box.right, box.bottom])
