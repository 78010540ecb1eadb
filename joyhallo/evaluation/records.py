"""What is known of each clip, kept line by line while an evaluation runs, so that a broken one goes on from there."""

from __future__ import annotations

import json
import math
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

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
    curves: dict[str, list[float | None]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    failed: str = ""  # why there are no figures at all
    lost: bool = False  # its process died: it is measured again the next time
    seconds: dict[str, float] = field(default_factory=dict)  # that each part took

    def note(self, name: str, value: float, control: str = "") -> None:
        """A figure that is not a number is a missing one."""
        if not math.isfinite(value):
            self.missing.setdefault(name, "it cannot be computed of this clip")
        elif control:
            self.controls.setdefault(control, {})[name] = float(value)
        else:
            self.values[name] = float(value)


class Records:
    """A folder's journal: a line for each finished clip, of which one torn off at the end counts for nothing."""

    def __init__(self, folder: Path):
        self._path = folder / JOURNAL
        folder.mkdir(parents=True, exist_ok=True)

    def read(self) -> dict[str, Record]:
        """By key; the last one of several holds."""
        try:
            lines = self._path.read_text(encoding="utf-8", errors="replace").splitlines()
        except FileNotFoundError:
            return {}
        found = [record for record in map(_parsed, lines) if record is not None]
        return {record.key: record for record in found}

    def add(self, record: Record) -> None:
        line = json.dumps(asdict(record), ensure_ascii=False, allow_nan=False).encode() + b"\n"
        with self._path.open("ab") as file:
            if file.tell() and not self._ends_a_line():
                line = b"\n" + line
            file.write(line)
            file.flush()
            os.fsync(file.fileno())

    def _ends_a_line(self) -> bool:
        with self._path.open("rb") as file:
            file.seek(-1, os.SEEK_END)
            return file.read(1) == b"\n"


def _parsed(line: str) -> Record | None:
    try:
        return Record(**json.loads(line))
    except (ValueError, TypeError):
        return None
