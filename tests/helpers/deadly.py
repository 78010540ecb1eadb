"""A job of which some kill their process: what tests hand to processes that import it by its name."""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Deadly:
    name: str
    folder: Path  # where a file is made for each attempt
    deaths: int = 0  # before it is done
    error: str = ""


def attempts(job: Deadly) -> int:
    return len(list(job.folder.glob(f"{job.name}-*")))


def carry_out(job: Deadly) -> tuple[str, int]:
    """The job's name, and the process that did it."""
    tried = attempts(job)
    (job.folder / f"{job.name}-{tried}").touch()
    if tried < job.deaths:
        os.kill(os.getpid(), signal.SIGKILL)
    if job.error:
        raise ValueError(job.error)
    return job.name, os.getpid()


def lost(job: Deadly, reason: str) -> tuple[str, str]:
    return job.name, reason
