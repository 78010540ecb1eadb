"""One run of any method: space checked, chunks kept as they are finished, frames into a file as they come."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import comfy.model_management
import torch
from torch import Tensor

from ..joyhallo.faces.boxes import Size
from ..joyhallo.files.journal import Journal, tidy
from ..joyhallo.files.space import Need, amount, check_disks, free
from ..joyhallo.film.ahead import Behind
from ..joyhallo.film.marks import Labels, Marks
from ..joyhallo.film.write import COPY, write
from ..joyhallo.methods.chunks import Chunk, Progress
from ..joyhallo.methods.room import Memory, frames_need, shared
from ..joyhallo.sound.audio import Sound
from .labels import Wishes, marked
from .places import working_folder, working_place
from .preview import Preview, lasting, stop
from .video import WorkingCopy

BEHIND = 1  # finished chunks that wait to be placed and written
HELD = BEHIND + 1  # chunks in memory beside the one that is being made

OnStep = Callable[[Progress], None]


@dataclass(frozen=True)
class Job:
    """What a method is to make: chunks that come one after the other, and the pictures that they are placed in."""

    chunks: Callable[[OnStep], Iterable[Chunk]]
    # A chunk -> whole pictures (n, height, width, 3), some at a time; by the writer's thread, for which no device waits
    placed: Callable[[Any], Iterator[Tensor]]
    count: int  # chunks
    length: int  # frames
    rate: Fraction | int
    sound: Sound | None
    size: Size  # of the pictures
    moving: Size  # of the part of them that changes from frame to frame
    device: torch.device
    memory: Memory
    held: int = 0  # bytes of the computer's own memory in which pictures are read, or finished chunks wait
    journal: Journal | None = None
    marks: Marks = field(default_factory=Marks)  # of what it is made from

    def needs(self) -> list[Need]:
        """What will lie on disks."""
        copy = frames_need(working_place(), self.length, self.size, self.moving)
        if self.journal is None:
            return [copy]
        missing = (self.count - self.known) * self.journal.record
        return [copy, Need("finished chunks", self.journal.path.parent, missing)]

    @property
    def known(self) -> int:
        """Chunks that an earlier run finished."""
        return min(self.count, 0 if self.journal is None else len(self.journal))

    def check(self) -> None:
        """Raise a RoomError for what would run out of memory or disk, before time is spent on it."""
        self.memory.check(self.device, self.held, comfy.model_management.get_total_memory)
        check_disks(self.needs())

    def plan(self) -> str:
        chunks = f"{self.count} chunk{'' if self.count == 1 else 's'}"
        earlier = f", {self.known} of them finished earlier" if self.known else ""
        disk, there = sum(need.size for need in self.needs()), comfy.model_management.get_total_memory(self.device)
        beside = self.memory.planned + shared(self.device, self.held)
        return (
            f"{self.length} frames in {chunks}{earlier}; up to {amount(disk)} on disk, where "
            f"{amount(free(working_place()))} are free; {amount(beside)} of memory beside the weights, of "
            f"{amount(there)}."
        )


@dataclass(frozen=True)
class Made:
    video: WorkingCopy
    plan: str
    seconds: float  # that it took
    length: float  # seconds of video

    def pace(self) -> str:
        return f"Made in {lasting(self.seconds)}, {self.seconds / self.length:.2g} s for a second of video."


def make(job: Job, preview: Preview) -> Made:
    """When this returns the frames are in a file, and nowhere else."""
    folder = working_folder()  # before the check: what a killed run left is removed
    job.check()
    if job.journal is not None:
        tidy(job.journal.path.parent, spare=job.journal.path)
    begun, plan = time.monotonic(), job.plan()
    preview.tell(plan)
    path = folder / f"JoyHallo_{uuid.uuid4().hex}.mkv"
    labels = Labels(marked(job.marks, True, Wishes.now(), path.stem).tags())

    def to_file(pictures: Iterator[Tensor]) -> None:
        with torch.inference_mode():  # which this thread must be told, as ComfyUI told the other
            write(path, pictures, job.rate, job.sound, COPY, labels=labels)

    with Behind(to_file, BEHIND, job.placed, stop) as behind:

        def on_step(progress: Progress) -> None:
            behind.check()  # a chunk may take minutes
            preview.after_step(progress)

        for chunk in job.chunks(on_step):
            stop()
            preview.after_chunk(chunk)
            behind.put(chunk)
    video = WorkingCopy(path, job.length, job.marks, "" if job.journal is None else job.journal.key)
    made = Made(video, plan, time.monotonic() - begun, float(job.length / job.rate))
    preview.tell(made.pace())
    return made
