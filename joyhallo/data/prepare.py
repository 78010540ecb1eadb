"""Prepare a training dataset from videos of speaking people.

The longest stretch of each video that shows a face is kept: 25 frames a second, square, with the face in the middle of
a fixed window. Finished work is not repeated; unusable videos are listed with the reason.
"""

from __future__ import annotations

import argparse
import hashlib
import logging
import os
import re
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from .. import work
from ..config import FPS
from ..libraries import LibraryError
from ..sound import vocals
from ..streams import escape_what_is_lacking
from .dataset import (
    MANIFEST,
    Record,
    none_held_out,
    read_record,
    write_facts,
    write_manifest,
    write_record,
)
from .models import Models
from .steps import Job, Preparation, failed, prepare_clip

log = logging.getLogger(__name__)

ENDINGS = (".mp4", ".mov", ".m4v", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".ts", ".mts", ".flv", ".wmv")

Progress = Callable[[int, int, Record], None]  # how many clips of how many are done, and the last one's record


@dataclass(frozen=True)
class Shares:
    """The division of the work: this run's share, and the processes that work on it."""

    workers: int = 1  # processes; with 0 all is done in this one
    shards: int = 1  # machines, or runs, that share the videos
    shard: int = 0  # which of them this is
    ray: str | None = None  # the address of a cluster, or work.LOCAL

    def __post_init__(self) -> None:
        if not 0 <= self.shard < self.shards:
            raise ValueError(f"Shard {self.shard} of {self.shards} does not exist; shards count from 0.")


def prepare(
    videos: Sequence[Path],
    root: Path,
    models: Models,
    settings: Preparation | None = None,
    shares: Shares | None = None,
    progress: Progress = lambda done, total, record: None,
) -> list[Record]:
    """Prepare videos, or all in folders of them, and write the manifest; the records of this run's share."""
    settings, shares = settings or Preparation(), shares or Shares()
    digests = models.digests()
    facts = {"settings": asdict(settings), "models": digests}
    jobs = [
        Job(root.absolute(), path.absolute(), source, identify(source), _speaker(source), settings, models, digests)
        for source, path in found(videos)
    ]
    mine = jobs[shares.shard :: shares.shards]
    write_facts(root, made_by="joyhallo.data.prepare", **facts)
    records = []
    for record in _worked_off(mine, shares):
        records.append(record)
        progress(len(records), len(mine), record)
    _join(root, jobs)
    return sorted(records, key=lambda record: record.id)


def _worked_off(jobs: Sequence[Job], shares: Shares) -> Iterator[Record]:
    if shares.ray is not None:
        return work.each_on_ray(prepare_clip, jobs, shares.ray, _lost)
    return work.each(prepare_clip, jobs, shares.workers, _lost)


def _lost(job: Job, reason: str) -> Record:
    record = failed(job, reason)
    write_record(job.root, record)
    return record


def _join(root: Path, jobs: Sequence[Job]) -> None:
    """The manifest, of this share's records and of what other shares have written so far.

    The last writer reads again after writing, so that no share's records are missing in the end.
    """
    written: dict[str, Record] | None = None
    while (now := _records(root, jobs)) != written:
        write_manifest(root, now.values())
        written = now


def _records(root: Path, jobs: Sequence[Job]) -> dict[str, Record]:
    records = [(job, read_record(root, job.id)) for job in jobs]
    return {
        job.id: record
        for job, record in records
        if record is not None and record.keys.get("run") == job.key  # not what was left by other settings
    }


# ---- videos


def found(places: Sequence[Path]) -> list[tuple[str, Path]]:
    """Videos by what they are called: their path from the folder that was given, whose name tells several apart."""
    several = len(places) > 1
    known: dict[str, Path] = {}
    for place in places:
        if not place.exists():
            raise FileNotFoundError(f"{place} does not exist.")
        files = [place] if place.is_file() else sorted(file for file in place.rglob("*") if _is_video(file, place))
        base = place.parent if place.is_file() or several else place
        for file in files:
            known[file.relative_to(base).as_posix()] = file
    return sorted(known.items())


def _is_video(file: Path, base: Path) -> bool:
    hidden = any(part.startswith(".") for part in file.relative_to(base).parts)
    return not hidden and file.suffix.lower() in ENDINGS and file.is_file()


def identify(source: str) -> str:
    """A unique name for a clip that is valid on every file system."""
    plain = re.sub(r"[^A-Za-z0-9]+", "_", source.rpartition(".")[0]).strip("_")[:40]
    return f"{plain or 'clip'}-{hashlib.sha256(source.encode()).hexdigest()[:8]}"


def _speaker(source: str) -> str:
    """The speaker of a video: its folder, if any; otherwise each video counts as another speaker."""
    return source.rpartition("/")[0] or source


# ---- the command


def main(arguments: Sequence[str] | None = None) -> int:
    chosen = _parser().parse_args(arguments)
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    names = ("size", "expand", "lip_expand", "every", "identity", "vocals", "validation")
    try:
        records = prepare(
            chosen.videos,
            chosen.output,
            Models(**{name: getattr(chosen, name) for name in Models.__dataclass_fields__}),
            Preparation(**{name: getattr(chosen, name) for name in names}),
            Shares(chosen.workers, chosen.num_shards, chosen.shard, chosen.ray),
            _show,
        )
    except (LibraryError, OSError, ValueError) as error:
        print(error, file=sys.stderr)
        return 2
    return concluded(records, chosen.output)


def _parser() -> argparse.ArgumentParser:
    default = Preparation()
    parser = argparse.ArgumentParser(
        prog="python -m joyhallo.data.prepare",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="The exit code is 0 if no clip failed and some are fit to learn from, 1 if not, 2 if nothing was done.",
    )
    parser.add_argument("videos", type=Path, nargs="+", help="videos, or folders of them: one for each speaker, if any")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="DATASET")
    parser.add_argument("--size", type=int, default=default.size, help="pixels of each side (default: %(default)s)")
    models = parser.add_argument_group("models")
    models.add_argument("--speech-encoder", dest="encoder", required=True, metavar="FOLDER", help="wav2vec2")
    models.add_argument("--face-models", metavar="FOLDER", help="InsightFace's, which tell whose face it is")
    models.add_argument("--landmarker", metavar="FILE", help="MediaPipe's face landmarker (.task)")
    models.add_argument("--finders", metavar="MODULE:FUNCTION", help="makes a faces.Finders, instead of these two")
    models.add_argument("--codec", metavar="PATH", help="autoencoder or patches: what it makes of frames is kept")
    models.add_argument("--separator", metavar="FILE", help="Kim_Vocal_2.onnx")
    ways = parser.add_argument_group("how")
    ways.add_argument(
        "--identity",
        choices=("recognised", "colours", "neutral"),
        default=default.identity,
        help="neutral needs no --face-models (default: %(default)s)",
    )
    ways.add_argument("--vocals", choices=vocals.MODES, default=default.vocals, help="whether to part voice from music")
    ways.add_argument("--expand", type=float, default=default.expand, help="of the face's outline to its rectangle")
    ways.add_argument("--lip-expand", type=float, default=default.lip_expand)
    ways.add_argument("--every", type=int, default=default.every, help="look at each so many frames for the face")
    ways.add_argument(
        "--validation",
        type=float,
        default=default.validation,
        help="share of speakers held out; the name alone decides (default: %(default)s)",
    )
    shares = parser.add_argument_group("who")
    shares.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="processes (default: %(default)s)")
    shares.add_argument("--num-shards", type=int, default=1, help="machines that share the videos and the output")
    shares.add_argument("--shard", type=int, default=0, help="which of them this is, from 0")
    shares.add_argument("--ray", nargs="?", const="auto", metavar="ADDRESS", help='of a cluster; "local": a new one')
    return parser


def _show(done: int, total: int, record: Record) -> None:
    said = f"{record.length} frames{_damage(record)}" if record.status == "ok" else f"{record.status}: {record.reason}"
    print(f"{done} of {total}  {record.source}  {said}", flush=True)


def _damage(record: Record) -> str:
    broken = record.about.get("pictures", {}).get("broken", 0)
    return f", though {broken} packets of the video cannot be decoded" if broken else ""


def table(records: Iterable[Record]) -> str:
    """A line for each unusable clip, totals, and whether any clip is held out."""
    records = list(records)
    lines = [f"{record.status:8} {record.source}: {record.reason}" for record in records if record.status != "ok"]
    counts = Counter(record.status for record in records)
    good = [record for record in records if record.status == "ok"]
    frames, held = sum(record.length for record in good), sum(record.split == "validation" for record in good)
    clips, minutes = "clip" if len(records) == 1 else "clips", frames / FPS / 60
    lines.append(
        f"{len(records)} {clips}: {counts['ok']} ok ({frames} frames, {minutes:.1f} minutes, {held} for validation), "
        f"{counts['skipped']} skipped, {counts['failed']} failed"
    )
    if good and not held:
        lines.append(none_held_out(record.speaker for record in good))
    return "\n".join(lines)


def verdict(records: Iterable[Record]) -> int:
    states = {record.status for record in records}
    return 0 if "ok" in states and "failed" not in states else 1


def concluded(records: Sequence[Record], output: Path) -> int:
    """Print the outcome and return the exit code."""
    print(table(records), f"{output / MANIFEST} lists all clips.", sep="\n")
    return verdict(records)


if __name__ == "__main__":
    escape_what_is_lacking()
    sys.exit(main())
