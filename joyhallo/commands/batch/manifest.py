"""manifest.jsonl: a line for each attempt, of which the last one of a film counts. A line torn by a kill is none."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ...files.digests import digest_of, stamp
from ...files.lines import append, read
from ..jobs import Job
from .table import Task

NAME = "manifest.jsonl"
DONE, FAILED = "done", "failed"
ARRIVING = "arriving"  # a film from elsewhere is finished, and about to get its name
UNSCORED = "not_scored"  # why a film has no score
OFTEN = 1.0  # seconds between two writes of the disk itself; films that lack their line then are known by their labels

Entry = dict[str, Any]


@dataclass
class Manifest:
    path: Path
    last: dict[str, Entry] = field(default_factory=dict)  # by the name of the film
    _digests: dict[tuple[str, int, int], str] = field(default_factory=dict)
    _synced: float = -OFTEN  # when it was, last

    @classmethod
    def of(cls, folder: Path) -> Manifest:
        found = cls(folder / NAME)
        for entry in read(found.path):
            if {"file", "state", "key"} <= entry.keys():
                found._note(entry)
        return found

    def _note(self, entry: Entry) -> None:
        self.last[entry["file"]] = entry
        for path, size, changed, digest in entry.get("read", {}).values():
            self._digests[path, size, changed] = digest

    def add(self, entry: Entry) -> None:
        """Safe from a kill; from a power cut a little later, as what the disk is busy with keeps workers waiting."""
        self._note(entry)
        now = time.monotonic()
        due = now - self._synced >= OFTEN
        append(self.path, entry, sync=due)
        self._synced = now if due else self._synced

    def settle(self) -> None:
        """All of it on the disk."""
        if self.path.exists():
            with self.path.open("ab") as file:
                os.fsync(file.fileno())

    def is_done(self, task: Task, folder: Path) -> bool:
        """Whether a film is there that was made of the same, and has not been changed since."""
        entry = self.last.get(file_name(task, folder))
        if entry is None or entry["state"] != DONE:
            return False
        try:
            if task.job.output.stat().st_size != entry["bytes"]:
                return False
            return self.key(task.job) == entry["key"]
        except OSError:
            return False

    def key(self, job: Job) -> str:
        return job.key(self._digest)

    def _digest(self, path: Path) -> str:
        if path.is_dir():
            return digest_of(path)
        known = (str(path), *stamp(path))
        if known not in self._digests:
            self._digests[known] = digest_of(path)
        return self._digests[known]


def file_name(task: Task, folder: Path) -> str:
    return str(task.job.output).removeprefix(f"{folder}{os.sep}").replace(os.sep, "/")


def read_of(job: Job) -> Mapping[str, tuple[str, int, int, str]]:
    """What was read for a job, so that it need not be read again to be known: by what it is for."""
    files = ((name, path) for name, path in job.files().items() if not path.is_dir())
    return {name: (str(path), *stamp(path), digest_of(path)) for name, path in files}
