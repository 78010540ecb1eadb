"""A redub in shares, each some chunks that follow one another, for several processes: `Awaited`.

Chunks know nothing of each other, so whoever makes them makes the same. What a process finishes goes into the journal
of `Unfinished`; the one that writes the film takes it from there, in order, while others go on.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache

import torch
from torch import Tensor

from ..methods.redub import RedubError
from .jobs import Job
from .redubbing import Redubbing, Setting
from .unfinished import Chunks, Unfinished

LONGEST = 256  # frames of a share: about as many as lie between two key frames, from which it must be decoded
TURNS = 4  # shares of each worker, at least, so that none waits long for the last one


@dataclass(frozen=True)
class Whole:
    unfinished: Unfinished
    job: Job = field(compare=False)


@dataclass(frozen=True)
class Share:
    film: Whole
    chunks: range


@dataclass(frozen=True)
class Done:
    chunks: range
    earlier: int = 0  # of these, finished by an earlier run
    problem: str = ""


def shares(film: Whole, work: Redubbing) -> list[Share]:
    """Those of a film in which there is something to do."""
    longest, turns = max(1, LONGEST // work.plan.method.at_once), TURNS * max(1, film.job.crew.workers)
    length = min(longest, -(-work.count // turns))
    parts = (range(start, min(start + length, work.count)) for start in range(0, work.count, length))
    return [Share(film, part) for part in parts if any(map(work.speaks, part))]


def do(share: Share) -> Done:
    work = _opened(share.film)
    kept = share.film.unfinished.chunks(work.plan.method)
    speaking = [index for index in share.chunks if work.speaks(index)]
    missing = [index for index in speaking if kept.read(index) is None]
    if missing:
        with torch.inference_mode():
            for _ in work.chunks(kept, range(missing[0], share.chunks.stop)):
                pass
    return Done(share.chunks, len(speaking) - len(missing))


@lru_cache(maxsize=1)
def _opened(film: Whole) -> Redubbing:
    """Once for each process: model and plan serve all of its shares."""
    torch.set_num_threads(1)  # sums are divided among threads: so every process gives the same bits
    face, sound = film.unfinished.face(), film.unfinished.sound()
    if face is None or sound is None:
        raise FileNotFoundError(f"{film.unfinished.folder} was deleted while a film was made with it; run it again.")
    return Setting.of(film.job).planned(face[0], sound)


def lost(share: Share, reason: str) -> Done:
    return Done(share.chunks, problem=reason)


@dataclass
class Awaited:
    """Chunks that other processes make: to read one is to wait for it."""

    chunks: Chunks
    coming: Iterator[Done]  # in any order
    earlier: int = 0
    there: set[int] = field(default_factory=set)

    def read(self, index: int) -> Tensor | None:
        while index not in self.there:
            done = next(self.coming)
            if done.problem:
                raise RedubError(
                    f"A worker failed at chunk {done.chunks.start}: {done.problem}. What is finished is kept: run it "
                    "again, with fewer workers if memory is short."
                )
            self.there.update(done.chunks)
            self.earlier += done.earlier
        return self.chunks.read(index)

    def write(self, index: int, result: Tensor) -> None:
        self.chunks.write(index, result)
