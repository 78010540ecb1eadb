"""One row of a table, made by whichever process has it."""

from __future__ import annotations

import logging
import time
from contextlib import suppress
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path

from ...libraries import brief
from .. import told
from ..jobs import make
from .manifest import DONE, FAILED, Entry, file_name, read_of
from .table import Task

log = logging.getLogger(__name__)

THUMBNAILS = ".thumbnails"
SIDE = 160  # pixels of a thumbnail


@dataclass(frozen=True)
class Work:
    task: Task
    folder: Path


def carry_out(work: Work) -> Entry:
    """What became of it, for the manifest; nothing that happens to one row is raised."""
    begun = time.monotonic()
    job = work.task.job
    key, read = "", {}
    import torch  # which those who hand out the rows do without

    try:
        torch.set_num_threads(1)  # sums are divided among threads: so every process gives the same bits
        read, key = read_of(job), job.key()
        made = make(replace(job, number=key[:32], replacing=True))
        write_thumbnail(made.file, thumbnail_of(work.folder, key))
    except Exception as error:  # files, libraries and networks fail in every way there is
        log.debug("a row failed", exc_info=True)
        return {**named(work), "state": FAILED, "key": key, "read": read, "error": why(error), **_took(begun)}
    facts = {name: value for name, value in made.facts.items() if name in ("model", "without_a_face")}
    notices = {"notices": list(made.notices)} if made.notices else {}
    size = made.file.stat().st_size
    about = {"frames": made.frames, "seconds": round(made.seconds, 3), "bytes": size, **facts, **notices}
    return {**named(work), "state": DONE, "key": key, "read": read, **about, **_took(begun)}


def lost(work: Work, reason: str) -> Entry:
    """Of a row whose process died."""
    return {**named(work), "state": FAILED, "key": "", "error": f"{reason}; run the table again", "took": 0.0}


def named(work: Work) -> Entry:
    job = work.task.job
    return {
        "row": work.task.row,
        "file": file_name(work.task, work.folder),
        "kind": job.kind,
        "seed": job.seed,
    }


def _took(begun: float) -> Entry:
    return {"took": round(time.monotonic() - begun, 3)}


def why(error: Exception) -> str:
    return str(error) if told(error) and str(error) else brief(error)


def thumbnail_of(folder: Path, key: str) -> Path:
    return folder / THUMBNAILS / f"{key[:32]}.jpg"


def write_thumbnail(film: Path, path: Path) -> None:
    from PIL import Image

    from ...film.read import Film

    picture = Image.fromarray(next(Film(film, threads=1).pictures()))
    picture.thumbnail((SIDE, SIDE))
    content = BytesIO()
    picture.save(content, "JPEG", quality=70)
    with suppress(OSError):  # the page does without
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.getvalue())
