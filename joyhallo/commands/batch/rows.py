"""One row of a table, made, and scored, by whichever process has it."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path
from typing import Any

from ... import SOFTWARE
from ...libraries import brief
from .. import told
from ..jobs import Job, make
from ..options import AUTO
from .manifest import DONE, FAILED, UNSCORED, Entry, file_name, read_of
from .table import Task

log = logging.getLogger(__name__)

THUMBNAILS = ".thumbnails"
SIDE = 160  # pixels of a thumbnail


@dataclass(frozen=True)
class Work:
    task: Task
    folder: Path
    made: Entry | None = None  # of a film that is there, and is only to be scored
    finding: Mapping[str, Any] | None = None  # how the face is found in a film that is to be scored


def carry_out(work: Work) -> Entry:
    """What became of it, for the manifest; nothing that happens to one row is raised."""
    _in_one_thread()
    entry = _made(work) if work.made is None else {**work.made, **named(work)}
    return scored(work, entry, work.task.job.output) if entry["state"] == DONE else entry


def _made(work: Work) -> Entry:
    begun = time.monotonic()
    job = work.task.job
    key, read = "", {}
    try:
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


def scored(work: Work, entry: Entry, film: Path) -> Entry:
    """With the figures of its lips, if these are wanted. A film that has none stays done, and the row says why."""
    if work.finding is None:
        return entry
    from ..lips import score

    _in_one_thread()
    try:
        return {**_without_score(entry), "score": score(film, work.finding)}
    except Exception as error:
        log.debug("a film was not scored", exc_info=True)
        return unscored(entry, why(error))


def finding_of(job: Job, usual: Mapping[str, Any]) -> dict[str, Any]:
    """How the face in a job's film is found: as in what it is made of. usual: the options of TRACKING, with files"""
    told = {name: value for name in (*usual, "box", "mask") if (value := job.options.get(name)) is not None}
    if job.kind == "talk":
        told["mask"] = None if job.options["square"] else job.options["face_mask"]  # a square shows it elsewhere
        told["which_face"] = told["which_face"] if told["which_face"] != AUTO else usual["which_face"]
    return {**usual, **told}


def unscored(entry: Entry, reason: str) -> Entry:
    return {**_without_score(entry), "score": None, UNSCORED: reason}


def _in_one_thread() -> None:
    """Sums are divided among threads: so every process gives the same bits."""
    import torch  # which those who hand out the rows do without

    torch.set_num_threads(1)


def _without_score(entry: Entry) -> Entry:
    return {name: value for name, value in entry.items() if name not in ("score", UNSCORED)}


def lost(work: Work, reason: str) -> Entry:
    """Of a row whose process died."""
    job = work.task.job
    if work.made is not None:
        return unscored({**work.made, **named(work)}, reason)
    if job.output.exists() and (key := job.key())[:32] in record_of(job.output):  # it died of what came after
        return unscored(recovered(work, key), reason)
    return {**named(work), "state": FAILED, "key": "", "error": f"{reason}; run the table again", "took": 0.0}


# ---- films that nobody noted


def record_of(film: Path) -> str:
    """What it says of who made it."""
    from ...film.marks import read_marks

    return read_marks(film).record


def is_ours(record: str) -> bool:
    return f'"ContentProducer":"{SOFTWARE}"' in record


def recovered(work: Work, key: str) -> Entry:
    """Of a film that was finished, though nobody noted how long it took."""
    from ...film.read import Film

    job = work.task.job
    seconds, size = round(Film(job.output).facts.seconds, 3), job.output.stat().st_size
    return {**named(work), "state": DONE, "key": key, "read": read_of(job), "seconds": seconds, "bytes": size}


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
