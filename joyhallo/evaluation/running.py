"""An evaluation: every clip that has no figures yet is examined, here, in processes or on a cluster; then the set."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from .. import work
from ..files.digests import digest_of
from ..files.journal import key_of
from .clips import Clip
from .examine import examine, lost
from .panel import Asked
from .records import Record, Records

Progress = Callable[[int, int, Record], None]  # how many clips of how many are done, and the last one's record
KEPT = "kept"  # the folder of what is kept of films


@dataclass(frozen=True)
class Job:
    """One clip; whatever process takes it finds all it needs by paths."""

    clip: Clip
    asked: Asked
    kept: Path
    key: str


@dataclass(frozen=True)
class Shares:
    workers: int = 1  # processes; with 0 all is done in this one
    ray: str | None = None  # the address of a cluster, or work.LOCAL


def evaluate(
    clips: Sequence[Clip],
    asked: Asked,
    folder: Path,
    shares: Shares = Shares(),
    progress: Progress = lambda done, total, record: None,
) -> list[Record]:
    """The records of all clips, in their order; those that the folder's journal holds are not made again."""
    records = Records(folder)
    known = {key: record for key, record in records.read().items() if not record.lost}
    kept = folder / KEPT
    kept.mkdir(exist_ok=True)
    jobs = [Job(clip, asked, kept.absolute(), _key(clip, asked)) for clip in clips]
    waiting = list({job.key: job for job in jobs if job.key not in known}.values())
    # The largest first, so that no worker is left with one of them at the end.
    waiting.sort(key=lambda job: job.clip.film.stat().st_size, reverse=True)
    done = len(jobs) - len(waiting)
    for record in _worked_off(waiting, shares):
        records.add(record)
        known[record.key] = record
        done += 1
        progress(done, len(jobs), record)
    return [replace(known[job.key], name=job.clip.name) for job in jobs]


def _key(clip: Clip, asked: Asked) -> str:
    """Of all that a clip's figures depend on: contents, not names."""
    files = (clip.film, clip.sound, clip.truth, clip.portrait, clip.source, clip.other)
    return key_of(files=[path and digest_of(path) for path in files], asked=asked.digest)


def _worked_off(jobs: Sequence[Job], shares: Shares) -> Iterator[Record]:
    if not jobs:
        return iter(())
    if shares.ray is not None:
        return work.each_on_ray(_examined, jobs, shares.ray, _lost)
    return work.each(_examined, jobs, shares.workers, _lost)


def _examined(job: Job) -> Record:
    return examine(job.clip, job.asked, job.kept, job.key)


def _lost(job: Job, reason: str) -> Record:
    return lost(job.clip, job.key, reason)
