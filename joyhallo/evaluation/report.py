"""What an evaluation found, as a table for the terminal, as JSON and as CSV."""

from __future__ import annotations

import csv
import io
import json
import platform
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import torch

from ..measures.table import MEASURES, Measure
from .records import Record
from .summary import Row

SCHEMA = 1
COLUMNS = ("measure", "value", "95 % from", "to", "clips", "controls", "")
NONE = "-"


def shown(measure: Measure, value: float | None) -> str:
    return NONE if value is None else f"{value:{measure.form}}{f' {measure.unit}' if measure.unit else ''}"


def controls_of(row: Row) -> str:
    return ", ".join(f"{name} {value:{row.measure.form}}" for name, value in row.controls.items())


def remark(row: Row, why: dict[str, str]) -> str:
    if row.says_nothing:
        return f"says nothing here: {row.says_nothing}"
    return "" if row.value is not None else why.get(row.measure.name, "")


def terminal(rows: Sequence[Row], records: Sequence[Record], why: dict[str, str], grey: bool = False) -> str:
    """grey: whether the terminal shows a measure that says nothing in grey"""
    cells = [COLUMNS, *(_cells(row, why) for row in rows)]
    widths = [max(len(line[at]) for line in cells) for at in range(len(COLUMNS) - 1)]
    lines = [_line(line, widths) for line in cells]
    told = [
        f"\033[2m{line}\033[0m" if grey and row.says_nothing else line
        for line, row in zip(lines[1:], rows, strict=True)
    ]
    return "\n".join([lines[0], *told, *troubles(records)])


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    *columns, last = cells
    return "  ".join([*(f"{cell:<{width}}" for cell, width in zip(columns, widths, strict=True)), last]).rstrip()


def _cells(row: Row, why: dict[str, str]) -> tuple[str, ...]:
    measure = row.measure
    bounds = ("", "") if row.low is None else (format(row.low, measure.form), format(row.high or 0.0, measure.form))
    return (measure.title, shown(measure, row.value), *bounds, row.count, controls_of(row), remark(row, why))


def troubles(records: Iterable[Record]) -> list[str]:
    """A line for each clip that failed or of which something is to be told."""
    lines = list[str]()
    for record in records:
        if record.failed:
            lines.append(f"{record.name}: {record.failed}")
        lines += [f"{record.name}: {note}" for note in record.notes]
        for reason in dict.fromkeys(record.missing.values()):
            titles = [_title(name) for name, told in record.missing.items() if told == reason]
            lines.append(f"{record.name}: no {', '.join(titles)}: {reason}")
    return lines


def _title(name: str) -> str:
    return MEASURES[name].title if name in MEASURES else name


# ---- files


def as_results(rows: Sequence[Row], records: Sequence[Record], why: dict[str, str], about: dict[str, Any]) -> str:
    """The same for the same clips, but for `cost`, `command` and `versions`."""
    found = {
        "schema": SCHEMA,
        **about,
        "versions": {"python": platform.python_version(), "torch": torch.__version__, "numpy": np.__version__},
        "measures": {row.measure.name: _described(row, why) for row in rows},
        "clips": [_plain(record) for record in records],
        "cost": {record.name: record.seconds for record in records},
    }
    return json.dumps(found, ensure_ascii=False, indent=1, allow_nan=False) + "\n"


def _described(row: Row, why: dict[str, str]) -> dict[str, Any]:
    measure = row.measure
    return {
        "title": measure.title,
        "says": measure.says,
        "unit": measure.unit,
        "better": measure.better,
        "ours": measure.ours,
        "mean_over": measure.over,
        "value": row.value,
        "interval": None if row.low is None else [row.low, row.high],
        "clips_with_it": row.known,
        "clips": row.clips,
        "controls": row.controls,
        "says_nothing": row.says_nothing,
        "missing": "" if row.value is not None else why.get(measure.name, ""),
    }


def _plain(record: Record) -> dict[str, Any]:
    return {name: value for name, value in asdict(record).items() if name != "seconds"}


def clips_csv(rows: Sequence[Row], records: Sequence[Record]) -> str:
    """A line for each clip; what could not be computed is empty, not 0."""
    names = [row.measure.name for row in rows if row.measure.over != "set"]
    lines = [["clip", "frames", "seconds", *names, "failed"]]
    for record in records:
        facts = [str(record.facts.get(name, "")) for name in ("frames", "seconds")]
        values = [repr(record.values[name]) if name in record.values else "" for name in names]
        lines.append([record.name, *facts, *values, record.failed])
    return _as_csv(lines)


def set_csv(rows: Sequence[Row]) -> str:
    lines = [["measure", "title", "value", "low", "high", "clips_with_it", "clips", "says_nothing", "controls"]]
    for row in rows:
        numbers = ["" if number is None else repr(number) for number in (row.value, row.low, row.high)]
        about = [str(row.known), str(row.clips), row.says_nothing, json.dumps(row.controls)]
        lines.append([row.measure.name, row.measure.title, *numbers, *about])
    return _as_csv(lines)


def _as_csv(lines: Sequence[Sequence[str]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(lines)
    return text.getvalue()
