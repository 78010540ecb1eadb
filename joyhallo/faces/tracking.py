"""`track`: one face through a whole film. Memory holds a few frames of it, whatever its length.

Every few frames are looked at, and the face is taken to move evenly between two looks. Where these differ much, or
another shot may begin between them, all frames between them are looked at as well.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import pairwise
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from .boxes import Picture, Size
from .contact import Sheet
from .cuts import Cuts
from .find import FaceError, least_found
from .finders import Finder
from .looks import Looks
from .pursuit import First, Pursuit, Sighting, Which
from .regions import FOLLOWED
from .sights import Sights, steps
from .track import Track, gaps

EVERY = 4  # frames from one look to the next
STEADY = 0.8  # least overlap of a face with where it would be if it went on as before
BRIDGED = 0.6  # seconds of the longest gap that is bridged
SMALL, LARGE = 48, 500  # pixels of a face's width beyond which the result is poor
NO_FRAME = "The film holds no frame; choose another one."
LISTED = 20  # lines of a report about stretches of frames

Gaps = Literal["interpolate", "hold", "leave"]


@dataclass(frozen=True)
class Wishes:
    which: Which = "largest"
    reference: Picture | None = None  # of the person who is meant, instead of `which`
    gaps: Gaps = "interpolate"  # hold: the last box stays; leave: no box
    bridged: float = BRIDGED
    cuts: bool = True  # whether other shots are expected
    every: int = EVERY
    whole: bool = False  # whether all points of a mesh are kept, and not only those that films are redubbed by


@dataclass(frozen=True)
class Tracked:
    track: Track
    report: list[str]
    sheet: Picture  # frames spread over the film, with the box
    first: First


def track(pictures: Iterable[Picture], finder: Finder, rate: Fraction, wishes: Wishes = Wishes()) -> Tracked:
    """pictures: all frames of a film, at its rate. A FaceError if the face is in none of them.

    A frame in which the face looks to the side counts as one without it.
    """
    with finder.at_work():
        search = _Search(finder, rate, wishes)
        for picture in pictures:
            search.push(picture)
        return search.end()


@dataclass
class _Waiting:
    """A frame since the last look."""

    frame: int
    picture: Picture
    fresh: bool  # another shot may begin with it


@dataclass
class _Search:
    finder: Finder
    rate: Fraction
    wishes: Wishes
    count: int = 0
    size: Size = (0, 0)
    cuts: Cuts = field(default_factory=Cuts)
    sheet: Sheet = field(default_factory=Sheet)

    def __post_init__(self) -> None:
        self.looks = Looks(FOLLOWED if self.finder.scheme == "mesh" and not self.wishes.whole else None)
        self._pursuit = Pursuit(self.finder, self.wishes.which, self.wishes.reference)
        self._waiting: list[_Waiting] = []
        self._step = 1

    def push(self, picture: Picture) -> None:
        frame, self.count = self.count, self.count + 1
        self.size = self.size if frame else (picture.shape[1], picture.shape[0])
        fresh = self.wishes.cuts and self.cuts.push(picture)
        self.sheet.push(frame, picture)
        self._waiting.append(_Waiting(frame, picture, fresh))
        if fresh or len(self._waiting) >= self._step:
            self._look()

    def _look(self) -> None:
        """At the newest frame and, if much has changed, at others since the last look."""
        waiting, self._waiting = self._waiting, []
        before = len(self.looks)
        if waiting[-1].fresh and len(waiting) > 1:
            self._look_at(waiting[:-1])
        self._look_at(waiting[-1:] if waiting[-1].fresh else waiting)
        steady = len(self.looks) == before + 1
        self._step = min(self._step * 2, max(1, self.wishes.every)) if steady else max(1, self._step // 2)

    def _look_at(self, waiting: list[_Waiting]) -> None:
        """At the last of these and, if it is not as expected, at the middle of them before, and so on."""
        last = self._sight(waiting[-1])
        if len(waiting) == 1 or self._is_steady(last):
            self._note(last, waiting[-1].picture)
        else:
            self._look_at(waiting[: len(waiting) // 2])
            self._look_at(waiting[len(waiting) // 2 :])

    def _sight(self, one: _Waiting) -> Sighting:
        if one.picture.shape[1::-1] != self.size:  # the film is damaged there
            return Sighting(one.frame)
        return self._pursuit.look(one.frame, one.picture, one.fresh)

    def _is_steady(self, sighting: Sighting) -> bool:
        before, face = self.looks.last, sighting.face
        if face is None or before is None:
            return face is before
        expected = self._pursuit.expected(sighting.frame) or before.box
        return face.box.overlap(expected) >= STEADY and face.is_turned_away == before.is_turned_away

    def _note(self, sighting: Sighting, picture: Picture) -> None:
        self._pursuit.note(sighting)
        if sighting.face is None and self.looks.last is not None:
            self.sheet.mark(sighting.frame, picture)
        self.looks.add(sighting.frame, sighting.face)

    # ---- what came of it

    def end(self) -> Tracked:
        if self._waiting:
            self._look()
        self.cuts.end()
        first = self._pursuit.first
        if first is None or not len(self.looks.facing):
            raise self._nobody()
        found = self._sights()
        made = filled(found, self.wishes.gaps, round(self.wishes.bridged * self.rate))
        return Tracked(made, self._report(first, found, made), self.sheet.drawn(made), first)

    def _nobody(self) -> FaceError:
        film = f"the film's {self.count} frames of {self.size[0]}x{self.size[1]} pixels"
        if not self.count:
            return FaceError(NO_FRAME)
        if self._pursuit.first is not None:
            return FaceError(
                f"The face was seen only from the side in {film}; lips can be followed where it looks towards the "
                "camera. Use another film."
            )
        if self._pursuit.wanted and self._pursuit.most_others:
            return FaceError(
                f"The person of the reference picture was not found in {film}, in which others are; use a picture of "
                "them from this film, or choose them without a reference."
            )
        return FaceError(
            f"No face was found in {film}; expected one from the front, upright, sharp and of "
            f"{least_found(self.size)} pixels at least. Try the other detector or a larger detection_size, or paint a "
            "mask over the face."
        )

    def _sights(self) -> Track:
        """As it was seen, and between looks."""
        looks, there = self.looks, self.looks.facing
        boxes, scores = np.full((self.count, 4), np.nan, np.float32), np.zeros(self.count, np.float32)
        boxes[there], scores[there] = looks.boxes, looks.scores
        points = Sights.of(looks.points, there, self.count, looks.kept)
        for before, after in pairwise(looks.frames.tolist()):
            if after - before > 1 and scores[before] and scores[after]:
                points.bridge(before, after)
                for values in (boxes, scores):
                    _bridge(values, before, after)
        cuts = tuple(self.cuts.found)
        return Track(boxes, points, scores, self.finder.scheme, self.size, self.rate, cuts)

    def _report(self, first: First, found: Track, made: Track) -> list[str]:
        turned = np.zeros(self.count, bool)
        turned[self.looks.turned] = True
        boxes, box = first.boxes, first.boxes[first.chosen]
        chosen = f"number {first.chosen} of {len(boxes)} from the left" if len(boxes) > 1 else "the only one"
        lines = [
            f"Face: {chosen} in frame {first.frame} ({_seconds(first.frame, self.rate)} s), {box}",
            f"{_counted(found, made)}; {len(self.looks)} were looked at",
            *_stretches(found, made, turned),
            "Cuts: " + (", ".join(f"{_seconds(cut, self.rate)} s" for cut in made.cuts) or "none"),
        ]
        if others := self._pursuit.most_others:
            lines.append(f"Other faces: up to {others} at once, left as they are")
        return [*lines, *_sizes(made)]


def _counted(found: Track, made: Track) -> str:
    count, seen, there = len(made), int(found.found.sum()), int(made.found.sum())
    lasting = f"{_seconds(count, made.rate)} s at {float(made.rate):g} a second"
    return f"Frames: {count} ({lasting}), face seen in {seen}, bridged in {there - seen}, none in {count - there}"


def _sizes(made: Track) -> Iterator[str]:
    widths = made.boxes[made.found, 2] - made.boxes[made.found, 0]
    if (least := widths.min()) < SMALL:
        share = (widths < SMALL).mean()
        yield f"Warning: the face is only {least:.0f} pixels wide, in {share:.0%} of its frames below {SMALL}; " + (
            "its lips will be coarse. Use a larger film, or crop it to the face"
        )
    if (most := widths.max()) > LARGE:
        yield f"Warning: the face is up to {most:.0f} pixels wide, above {LARGE}; what is drawn anew may look soft"


def _stretches(found: Track, made: Track, turned: NDArray[np.bool_]) -> Iterator[str]:
    """A line for each stretch without the face, or in which it was not seen."""
    all_gaps = gaps(found.found)
    for gap in all_gaps[:LISTED]:
        why = "turned away" if turned[gap.start : gap.stop].any() else "nobody found"
        bridged = int(made.found[gap.start : gap.stop].sum())
        how = ", bridged" if bridged == len(gap) else f", bridged for {bridged} frames" if bridged else ""
        yield f"- {_seconds(gap.start, made.rate)} to {_seconds(gap.stop, made.rate)} s: {why}{how}"
    if len(all_gaps) > LISTED:
        yield f"- and {len(all_gaps) - LISTED} more such stretches"


def _seconds(frame: int, rate: Fraction) -> str:
    return f"{float(frame / rate):.1f}"


# ---- a box drawn by hand


def drawn(pictures: Iterable[Picture], mask: NDArray[np.uint8], rate: Fraction) -> Tracked:
    """Without a finder: the face is wherever a mask is, see Track.of_mask."""
    sheet, first, count = Sheet(), None, 0
    for count, picture in enumerate(pictures, 1):
        first = picture if first is None else first
        sheet.push(count - 1, picture)
    if first is None:
        raise FaceError(NO_FRAME)
    made = Track.of_mask(mask, count, (first.shape[1], first.shape[0]), rate)
    start = int(made.found.argmax())
    lines = ["Face: under the mask, nobody was searched for", _counted(made, made), *_sizes(made)]
    return Tracked(made, lines, sheet.drawn(made), First(start, first, [made.box(start)], 0))


# ---- gaps


def filled(found: Track, how: Gaps, most: int) -> Track:
    """Gaps bridged, but none across a cut. most: frames that are bridged between two sights of the face"""
    boxes, points = found.boxes.copy(), found.points.copy()
    assert isinstance(points, Sights)
    for gap in gaps(found.found):
        before, after = gap.start - 1, gap.stop
        begun = next((cut for cut in sorted(found.cuts) if gap.start <= cut <= gap.stop), None)
        if before < 0 or how == "leave":
            continue
        if how == "hold":
            stop = gap.stop if begun is None else min(begun, gap.stop)
            boxes[gap.start : stop] = boxes[before]
            points.hold(before, stop)
        elif begun is None and after < len(found) and len(gap) <= most:
            _bridge(boxes, before, after)
            points.bridge(before, after)
    return Track(boxes, points, found.scores, found.scheme, found.size, found.rate, found.cuts)


def _bridge(values: NDArray[np.float32], before: int, after: int) -> None:
    """Even steps between two frames, in place."""
    share = steps(before, after).reshape(-1, *[1] * (values.ndim - 1))
    values[before + 1 : after] = values[before] + share * (values[after] - values[before])
