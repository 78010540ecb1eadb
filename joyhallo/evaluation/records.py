"""What is known of each clip, kept line by line while an evaluation runs, so that a broken one goes on from there."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from ..files.lines import append, read

JOURNAL = "journal.jsonl"


@dataclass
class Record:
    """One clip's figures; whatever has none is told with its reason."""

    name: str
    key: str  # of all that they depend on
    facts: dict[str, Any] = field(default_factory=dict)
    values: dict[str, float] = field(default_factory=dict)
    controls: dict[str, dict[str, float]] = field(default_factory=dict)  # by control, then by measure
    missing: dict[str, str] = field(default_factory=dict)  # the reason, by measure
    counts: dict[str, int] = field(default_factory=dict)  # values that a measure is the mean of
    curves: dict[str, list[float | None]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    failed: str = ""  # why there are no figures at all
    lost: bool = False  # a process died, its own or one that it asked: it is measured again the next time
    seconds: dict[str, float] = field(default_factory=dict)  # that each part took

    def note(self, name: str, value: float, control: str = "") -> None:
        """A figure that is not a number is a missing one."""
        if not math.isfinite(value):
            self.missing.setdefault(name, "it cannot be computed of this clip")
        elif control:
            self.controls.setdefault(control, {})[name] = float(value)
        else:
            self.values[name] = float(value)


NAMES = {one.name for one in fields(Record)}


class Records:
    """A folder's journal: a line for each finished clip."""

    def __init__(self, folder: Path):
        self._path = folder / JOURNAL
        folder.mkdir(parents=True, exist_ok=True)

    def read(self) -> dict[str, Record]:
        """By key; the last one of several holds."""
        return {entry["key"]: Record(**entry) for entry in read(self._path) if entry.keys() == NAMES}

    def add(self, record: Record) -> None:
        append(self._path, asdict(record))
