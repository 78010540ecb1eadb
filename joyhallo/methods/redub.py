"""Redubbing: the lips of any film follow another recording. What a method must offer, and the loop that uses it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional as F

from ..faces.track import Track
from ..sound.audio import Recording
from .chunks import Kept, Progress

OnStep = Callable[[int, int, Tensor | None], None]  # steps of this chunk: done, in all; latents, if there are any


class Crops(Protocol):
    """Where the face is in each frame of a track, and how it goes back; frames are numbered as in the track."""

    def cut(self, pictures: Tensor, start: int) -> Tensor:
        """(n, 3, height, width) in 0..1, the first of them number `start` -> (n, 3, size, size)"""
        ...

    def place(self, crops: Tensor, pictures: Tensor, start: int) -> Tensor:
        """Whole pictures with the crops in them; what a crop does not cover stays as it was, to the last bit."""
        ...


class Windows(Protocol):
    """What is heard at each frame; a tensor is one."""

    def __len__(self) -> int: ...

    def __getitem__(self, frames: slice) -> Tensor: ...


class Redubber(Protocol):
    """A method. `speak` is a function of its arguments alone, so that any batch may be done anywhere, at any time."""

    size: int  # side of the crops, in pixels
    at_once: int  # frames that are done together
    licence: str  # of the weights

    def crops(self, track: Track) -> Crops: ...

    def listen(self, recording: Recording, rate: Fraction) -> Windows:
        """At the film's rate, or at the one that the method knows."""
        ...

    def speak(self, crops: Tensor, heard: Tensor, on_step: OnStep) -> Tensor:
        """(n, 3, size, size) in 0..1 and what is heard at each -> the same crops, speaking; n is at most `at_once`."""
        ...


@dataclass(frozen=True)
class Redubbed:
    """A chunk of the film: its pictures as they were, and the crops of those that show the face."""

    index: int
    start: int  # the film's number of the first picture
    pictures: Tensor  # (n, 3, height, width)
    frames: Tensor  # (up to n, 3, size, size)
    first: int  # place among the pictures of the first that has a crop


def redub(
    redubber: Redubber,
    pictures: Iterable[Tensor],
    track: Track,
    windows: Windows,
    *,
    on_progress: Callable[[Progress], None] | None = None,
    kept: Kept | None = None,
) -> Iterator[Redubbed]:
    """A film in chunks, as long as what is heard or as the film, whichever ends first.

    pictures: batches of any size (n, 3, height, width) in 0..1, read as they are needed. Pictures that the track does
    not cover come through as they are. What `kept` has is not computed again.
    """
    crops, size, count = redubber.crops(track), redubber.size, chunk_count(redubber, len(windows))
    for index, batch in enumerate(_batches(pictures, redubber.at_once, len(windows))):
        start = index * redubber.at_once
        seen = covered(track, start, len(batch))
        spoken = None if kept is None else kept.read(index)
        if not len(seen):
            spoken = batch.new_zeros(0, 3, size, size)
        elif spoken is None:
            shown, at = batch[seen.start - start : seen.stop - start], seen.start - track.start
            heard = windows[seen.start : seen.stop]
            spoken = redubber.speak(crops.cut(shown, at), heard, _reporter(on_progress, index, count))
            if kept is not None:
                kept.write(index, F.pad(spoken, (0, 0, 0, 0, 0, 0, 0, redubber.at_once - len(spoken))))
        yield Redubbed(index, start, batch, spoken[: len(seen)].to(batch), seen.start - start)


def placed(chunk: Redubbed, crops: Crops, track: Track) -> Tensor:
    """The whole pictures of a chunk (n, 3, height, width), those with a crop speaking."""
    if not len(chunk.frames):
        return chunk.pictures
    speaking = slice(chunk.first, chunk.first + len(chunk.frames))
    made = crops.place(chunk.frames, chunk.pictures[speaking], chunk.start + chunk.first - track.start)
    return torch.cat([chunk.pictures[: speaking.start], made, chunk.pictures[speaking.stop :]])


def chunk_count(redubber: Redubber, length: int) -> int:
    return -(-length // redubber.at_once)


def covered(track: Track, start: int, count: int) -> range:
    """Which of `count` frames from `start` on the track covers."""
    first = max(start, track.start)
    return range(first, max(first, min(start + count, track.start + len(track))))


def _batches(pictures: Iterable[Tensor], at_once: int, length: int) -> Iterator[Tensor]:
    """Regrouped to `at_once` pictures, `length` in all; the last batch may be shorter."""
    waiting: list[Tensor] = []
    there, given = 0, 0
    for batch in pictures:
        waiting.append(batch[: length - given - there])
        there += len(waiting[-1])
        while there >= at_once:
            joined = torch.cat(waiting) if len(waiting) > 1 else waiting[0]
            yield joined[:at_once]
            waiting, there, given = [joined[at_once:]], there - at_once, given + at_once
        if given + there >= length:
            break
    if there:
        yield torch.cat(waiting)


def _reporter(on_progress: Callable[[Progress], None] | None, index: int, count: int) -> OnStep:
    def report(done: int, total: int, estimate: Tensor | None) -> None:
        if on_progress is not None:
            on_progress(Progress(index * total + done, count * total, estimate))

    return report
