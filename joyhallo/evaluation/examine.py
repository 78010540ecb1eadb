"""`examine`: one clip, all measures that were asked for. What fails costs its own measures alone, and says why."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..libraries import LibraryError, brief
from ..measures.table import MEASURES
from . import faces, lips, pixels, quality, sets, shapes
from .clips import Clip
from .panel import Asked, Findings, Panel
from .records import Record
from .showing import Showing
from .summary import TRUTH

log = logging.getLogger(__name__)

PANELS: tuple[Panel, ...] = (
    *lips.PANELS,
    *shapes.PANELS,
    *pixels.PANELS,
    *faces.PANELS,
    *sets.PANELS,
    *quality.PANELS,
)
DIGITS = 5  # of curves, which are looked at
POINTS = 500  # of a curve, at most


def examine(clip: Clip, asked: Asked, kept: Path, key: str) -> Record:
    record = Record(clip.name, key)
    showing = Showing(clip, asked.finding, kept)
    try:
        record.facts = facts_of(showing)
    except Exception as error:
        return _failed(record, error)
    for panel in PANELS:
        names = frozenset(name for name in panel.wanted(asked) if _is_possible(name, asked, clip))
        if names:
            start = time.monotonic()
            _note(record, names, _found(panel, showing, asked, names))
            record.seconds[panel.name] = round(time.monotonic() - start, 3)
    if showing.film.skipped:
        record.notes.append(f"{showing.film.skipped} packets of the film cannot be decoded")
    if clip.truth is not None:
        _note_truth(record, showing.truth, asked)
    return record


def lost(clip: Clip, key: str, reason: str) -> Record:
    return Record(clip.name, key, failed=reason, lost=True)


def facts_of(showing: Showing) -> dict[str, Any]:
    known = showing.film.facts
    return {
        "film": showing.digest,
        "truth": showing.truth.digest if showing.clip.truth else "",
        "width": known.width,
        "height": known.height,
        "rate": float(known.rate),
        "frames": known.count,
        "seconds": round(known.seconds, 3),
    }


def _is_possible(name: str, asked: Asked, clip: Clip) -> bool:
    """Whether the files are there that a measure takes."""
    measure = MEASURES[name]
    if measure.judge and measure.judge not in asked.weights:
        return False
    return all(getattr(clip, need) is not None for need in measure.needs if need in ("truth", "portrait", "source"))


def _found(panel: Panel, showing: Showing, asked: Asked, names: frozenset[str]) -> Findings:
    try:
        return panel.find(showing, asked, names)
    except Exception as error:
        log.debug("%s failed.", panel.name, exc_info=True)
        return Findings(missing=dict.fromkeys(sorted(names), _reason(error)))


def _reason(error: Exception) -> str:
    """The sentence of an error that is meant for people; of others, what happened."""
    return str(error) if isinstance(error, ValueError | OSError | LibraryError) and str(error) else brief(error)


def _failed(record: Record, error: Exception) -> Record:
    record.failed = _reason(error)
    return record


def _note(record: Record, names: frozenset[str], found: Findings) -> None:
    for name, value in found.values.items():
        if name in names:
            record.note(name, value)
    for control, values in found.controls.items():
        for name, value in values.items():
            if name in names and control in MEASURES[name].controls:
                record.note(name, value, control)
    record.missing |= {name: reason for name, reason in found.missing.items() if name in names}
    record.counts |= {name: count for name, count in found.counts.items() if name in names}
    record.curves.update({title: _drawn(curve) for title, curve in found.curves.items()})
    record.notes += found.notes
    record.lost |= found.again


def _drawn(curve: Sequence[float]) -> list[float | None]:
    """A curve as it is kept: few digits, not too many points, nothing where it is not a number."""
    step = math.ceil(len(curve) / POINTS) or 1
    return [round(value, DIGITS) if math.isfinite(value) else None for value in curve[::step]]


def _note_truth(record: Record, truth: Showing, asked: Asked) -> None:
    """The truth, measured as the clip is: what a perfect clip would have."""
    for panel in PANELS:
        names = frozenset(name for name in panel.wanted(asked) if name in record.values and not _compares(name))
        if names:
            for name, value in _found(panel, truth, asked, names).values.items():
                if name in names:
                    record.note(name, value, TRUTH)


def _compares(name: str) -> bool:
    return any(need in ("truth", "source") for need in MEASURES[name].needs)
