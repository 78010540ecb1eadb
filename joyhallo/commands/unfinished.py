"""What is finished of a film, in a folder beside it until that is whole: `beside`, and of a redub `Unfinished`.

A redub keeps the face track, and a journal of the crops that speak: much smaller than pictures, and all that takes
long. Whoever makes the same film takes them up, whatever its quality, label and blend are this time.
"""

from __future__ import annotations

import json
import logging
import os
import re
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..faces.track import Track
from ..files.digests import stamps
from ..files.journal import ENDING as CHUNKS
from ..files.journal import Journal, key_of
from ..files.scratch import scratch, sweep
from ..files.space import SMALLER, Need, check_disks
from ..libraries import brief
from ..methods.redub import Redubber
from ..sound.audio import Recording
from .engines import RedubModel
from .jobs import Job

log = logging.getLogger(__name__)

ENDING = ".unfinished"
FACE, SOUND = ".track", ".sound"
OURS = re.compile(rf"[0-9a-f]{{64}}({re.escape(CHUNKS)}|{re.escape(FACE)}|{re.escape(SOUND)})")
SOON = 10.0  # seconds: what a run does before is not worth a file, as the next one does it again as soon
LATER = ("quality", "label", "blend")  # options that change nothing of what is kept
REMEDY = "make room, or add --no-resume: then nothing is kept, and a run that is stopped begins anew"


def beside(output: Path) -> Path:
    return output.with_name(output.name + ENDING)


def discard(output: Path) -> None:
    """All that was kept for a film, and nothing that somebody else put there."""
    folder = beside(output)
    if folder.is_dir():
        _emptied(folder)
        with suppress(OSError):
            folder.rmdir()


def _emptied(folder: Path, spare: str = "") -> None:
    sweep(folder)
    for path in folder.iterdir():
        if OURS.fullmatch(path.name) and path.stem != spare:
            with suppress(OSError):  # another process has it open, or deletes it, too
                path.unlink()


def check_room(journal: Journal | None, count: int, *others: Need) -> None:
    """Raise a RoomError if the disk cannot take so many chunks, and other things. What is there for other wishes makes
    way."""
    needs = list(others)
    if journal is not None:
        folder = journal.path.parent
        if folder.is_dir():
            _emptied(folder, spare=journal.key)
        missing = max(0, count - len(journal))
        needs.append(Need("finished chunks", folder, missing * journal.record))
    check_disks(needs, REMEDY if journal is not None else SMALLER)


@dataclass(frozen=True)
class Unfinished:
    folder: Path
    key: str
    since: float = field(default_factory=time.monotonic)  # from when on it counts how long this run takes

    @classmethod
    def of(cls, job: Job, model: RedubModel) -> Unfinished:
        """Known again by all that its crops depend on, files by their sizes and times."""
        options = {name: value for name, value in job.options.items() if name not in LATER}
        same = replace(job, options=options, output=Path())
        how = (torch.__version__, torch.get_num_threads())  # among threads sums are divided
        key = key_of(job=same.key(stamps), model=(model.dtype, model.device.type), torch=how)
        return cls(beside(job.output.absolute()), key)

    def at_once(self) -> Unfinished:
        """The same, of a run of which all is worth a file."""
        return replace(self, since=-SOON)

    @property
    def is_worth_it(self) -> bool:
        return time.monotonic() - self.since >= SOON

    # ---- the face, and what is heard

    def face(self) -> tuple[Track, list[str]] | None:
        """Where it is, and what there is to say of that, if an earlier run found out."""
        found = self._read(FACE)
        if not found:
            return None
        facts = json.loads(found["facts"].tobytes())
        size, rate, cuts = tuple(facts["size"]), Fraction(facts["rate"]), tuple(facts["cuts"])
        return Track.of_numbers(found, facts["scheme"], size, rate, cuts), facts["report"]

    def keep_face(self, track: Track, report: Sequence[str]) -> None:
        facts = {
            "scheme": track.scheme,
            "size": track.size,
            "rate": str(track.rate),
            "cuts": track.cuts,
            "report": list(report),
        }
        told = np.frombuffer(json.dumps(facts).encode(), np.uint8)
        self._write(FACE, {**track.numbers(), "facts": told})

    def sound(self) -> Recording | None:
        """For another process, which need not decode it again."""
        found = self._read(SOUND)
        return Recording(torch.from_numpy(found["samples"])) if found else None

    def keep_sound(self, recording: Recording) -> None:
        self._write(SOUND, {"samples": recording.samples.numpy()})

    def _read(self, ending: str) -> dict[str, NDArray[Any]]:
        """Nothing where there is none, or a damaged one."""
        path = self.folder / f"{self.key}{ending}"
        try:
            with np.load(path, allow_pickle=False) as file:
                return dict(file)
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, EOFError, BadZipFile) as error:
            log.warning("%s is damaged (%s); it is made again.", path, brief(error))
            return {}

    def _write(self, ending: str, arrays: dict[str, NDArray[Any]]) -> None:
        with scratch(self.folder) as folder:
            with (folder / "part").open("wb") as file:
                np.savez(file, **arrays)  # pyright: ignore[reportArgumentType]
                file.flush()
                os.fsync(file.fileno())
            os.replace(folder / "part", self.folder / f"{self.key}{ending}")

    # ---- chunks

    def chunks(self, method: Redubber) -> Chunks:
        shape = method.at_once, 3, method.size, method.size
        return Chunks(Journal(self.folder, self.key, shape, method.stored), self)


@dataclass
class Chunks:
    """A journal that is written to once that is worth it."""

    journal: Journal
    unfinished: Unfinished
    earlier: int = 0  # chunks of an earlier run

    def read(self, index: int) -> Tensor | None:
        found = self.journal.read(index)
        self.earlier += found is not None
        return found

    def write(self, index: int, result: Tensor) -> None:
        if self.unfinished.is_worth_it:
            self.journal.write(index, result)
