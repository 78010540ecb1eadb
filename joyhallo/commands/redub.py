"""A video, or a picture, gets the lips of another recording. Memory does not grow with its length."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

import torch

from ..faces.track import Track, gaps
from ..sound.audio import Recording, prepare
from .faces import tracked
from .jobs import Job, Made, Progress
from .media import film, sound_of
from .option import by_name
from .options import REDUB
from .redubbing import Redubbing, Setting, wishes_of
from .shares import Awaited, Whole, do, lost, shares
from .unfinished import Chunks, Unfinished, check_room, discard


def make(job: Job, progress: Progress) -> Made:
    if not job.crew.is_alone:
        torch.set_num_threads(1)  # as in the processes that share the work, whose sums are to be the same
    sound = sound_of(job.inputs["sound"])
    recording, setting = prepare(*sound), Setting.of(job)
    unfinished = Unfinished.of(job, setting.model) if job.resuming or not job.crew.is_alone else None
    track, report = _face(setting, unfinished, progress)
    work, source = setting.planned(track, recording), setting.source
    count = len(work.plan.script)
    with _kept(job, work, unfinished, recording) as kept:
        done = film(job, work.pictures(kept), count, source.rate, sound, source.marks, progress)
    discard(job.output)
    facts = {
        **_told(job, work),
        "face": report,
        "labels": str(done.marks),
        "frames_of_an_earlier_run": 0 if kept is None else kept.earlier * work.plan.method.at_once,
    }
    return Made(done.file, count, float(count / source.rate), done.took, facts, tuple(map(str, recording.notices)))


def _face(setting: Setting, unfinished: Unfinished | None, progress: Progress) -> tuple[Track, list[str]]:
    earlier = None if unfinished is None else unfinished.face()
    if earlier is not None:
        return earlier
    job = setting.job
    found = tracked(setting.source, job.options, setting.mask, progress)
    if unfinished is not None and (unfinished.is_worth_it or not job.crew.is_alone):
        unfinished.keep_face(found.track, found.report)
    return found.track, found.report


@contextmanager
def _kept(
    job: Job, work: Redubbing, unfinished: Unfinished | None, recording: Recording
) -> Iterator[Chunks | Awaited | None]:
    if unfinished is None:
        yield None
        return
    kept = unfinished.chunks(work.plan.method)
    check_room(kept.journal, work.count)
    if job.crew.is_alone:
        yield kept
        return
    unfinished.keep_sound(recording)
    whole = Whole(unfinished.at_once(), job.from_anywhere())
    with closing(job.crew.each(do, shares(whole, work), lost)) as coming:  # pyright: ignore[reportArgumentType]
        yield Awaited(kept, coming)


def _told(job: Job, work: Redubbing) -> dict[str, Any]:
    method, model, options = work.plan.method, work.model, job.options
    usual = by_name(REDUB)
    ignored = [
        name
        for name in wishes_of(options).ignored(method.known)
        if name not in usual or options[name] != usual[name].default
    ]
    return {
        "model": f"{model.title}, {method.size} pixels",
        "licence": model.method.licence,
        "not_used": ", ".join(ignored),
        "without_a_face": [[gap.start, gap.stop] for gap in gaps(work.plan.crops.usable)],
        "size": list(work.source.size),
        "rate": float(work.source.rate),
        "seed": options["seed"],
    }
