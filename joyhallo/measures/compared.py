"""Scores of several videos side by side: as a picture, as JSON and as CSV. What is missing is empty there, never 0."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from textwrap import wrap
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from ..faces.boxes import Picture
from .scores import Scores
from .table import MEASURES, Measure

SCHEMA = 1
NONE = "-"
WIDTH = 768  # pixels at least
FINE = 2  # supersampling
TEXT, SMALL = 15 * FINE, 12 * FINE
ROW, LINE = 30 * FINE, 18 * FINE
PAD = 14 * FINE
CELL = 110 * FINE  # a column at least
LATIN = "\u024f"  # the last letter that Pillow's own font may have
OF_SYSTEMS = ("msyh.ttc", "PingFang.ttc", "NotoSansCJK-Regular.ttc", "NotoSansCJKsc-Regular.otf", "wqy-microhei.ttc")
LETTERS = 96  # in a line of notes
LONGEST = 28  # letters of a video's name

PAPER, BAND, INK, FAINT, RULE = (255, 255, 255), (246, 247, 249), (40, 44, 52), (150, 154, 162), (214, 218, 224)
BEST = (0, 114, 178)  # of Okabe and Ito's palette
GOALS = {"higher": "more is better", "lower": "less is better", "zero": "0 is best", "truth": "as real footage"}


def names_of(columns: Sequence[Scores]) -> list[str]:
    """The measures that any of them has, in the order of their table."""
    return [name for name in MEASURES if any(name in column.names for column in columns)]


def best(measure: Measure, columns: Sequence[Scores]) -> set[int]:
    """Which of several columns have the best value, of those that say something; none if all are alike as shown."""
    known = {at: column.values[measure.name] for at, column in enumerate(columns) if measure.name in column.values}
    told = {at: value for at, value in known.items() if not columns[at].silent(measure.name)}
    if measure.better == "truth" or len({format(value, measure.form) for value in known.values()}) < 2 or not told:
        return set()
    cost = {at: _cost(measure, value) for at, value in told.items()}
    top = format(told[min(cost, key=lambda at: cost[at])], measure.form)
    first = {at for at, value in told.items() if format(value, measure.form) == top}
    return set() if first == set(known) else first


def _cost(measure: Measure, value: float) -> float:
    return {"higher": -value, "lower": value}.get(measure.better, abs(value))


# ---- files


def as_json(columns: Sequence[Scores]) -> str:
    measures = {name: _described(MEASURES[name], columns) for name in names_of(columns)}
    found = {"schema": SCHEMA, "measures": measures, "videos": [_plain(column) for column in columns]}
    return json.dumps(found, ensure_ascii=False, indent=1, allow_nan=False) + "\n"


def _described(measure: Measure, columns: Sequence[Scores]) -> dict[str, Any]:
    told = {key: getattr(measure, key) for key in ("title", "says", "unit", "better", "ours")}
    return {**told, "best": [columns[at].name for at in sorted(best(measure, columns))]}


def _plain(column: Scores) -> dict[str, Any]:
    silent = {name: why for name in column.names if (why := column.silent(name))}
    return {**asdict(column), "says_nothing": silent}


def as_csv(columns: Sequence[Scores]) -> str:
    """A line for each video."""
    names = names_of(columns)
    text = io.StringIO()
    lines = csv.writer(text, lineterminator="\n")
    lines.writerow(["video", *names, "says_nothing"])
    for column in columns:
        values = [repr(column.values[name]) if name in column.values else "" for name in names]
        lines.writerow([column.name, *values, " ".join(name for name in names if column.silent(name))])
    return text.getvalue()


# ---- a picture


@dataclass(frozen=True)
class _Cell:
    text: str
    color: tuple[int, int, int] = INK
    bold: bool = False


def drawn(columns: Sequence[Scores]) -> Picture:
    """(height, width, 3): a row for each measure, a column for each video; the best of each row stands out."""
    known = [name for name in names_of(columns) if any(name in column.values for column in columns)]
    titles = [_Cell(_short(column.name), bold=True) for column in columns]
    return _Sheet(titles, [_row(MEASURES[name], columns) for name in known], list(_notes(columns))).finished()


def _row(measure: Measure, columns: Sequence[Scores]) -> list[_Cell]:
    first = best(measure, columns)
    unit = f", {measure.unit}" if measure.unit else ""
    cells = [_Cell(f"{measure.title}{unit}"), _Cell(GOALS[measure.better], FAINT)]
    for at, column in enumerate(columns):
        if measure.name not in column.values:
            cells.append(_Cell(NONE, FAINT))
            continue
        text = format(column.values[measure.name], measure.form)
        silent = bool(column.silent(measure.name))
        cells.append(
            _Cell(f"({text})" if silent else text, FAINT if silent else BEST if at in first else INK, at in first)
        )
    return cells


def _notes(columns: Sequence[Scores]) -> Iterator[str]:
    """What is the same of several videos is told once."""
    if any(column.silent(name) for column in columns for name in column.names):
        yield "In brackets: says nothing, as a control does as well."
    told = dict[str, list[str]]()
    for column in columns:
        for reason in dict.fromkeys(column.missing.values()):
            titles = ", ".join(MEASURES[name].title for name, why in column.missing.items() if why == reason)
            told.setdefault(f"no {titles}. {reason}", []).append(_short(column.name))
        for note in column.notes:
            told.setdefault(note, []).append(_short(column.name))
    for note, names in told.items():
        yield note if len(names) == len(columns) else f"{', '.join(names)}: {note}"


def _short(name: str) -> str:
    return name if len(name) <= LONGEST else f"{name[: LONGEST - 3]}..."


class _Sheet:
    def __init__(self, titles: Sequence[_Cell], rows: Sequence[Sequence[_Cell]], notes: Sequence[str]):
        self.titles, self.rows = titles, rows
        self.notes = [line for note in notes for line in wrap(note, LETTERS, subsequent_indent="   ")]
        first = [max((self._wide(row[at], size) for row in rows), default=0) for at, size in ((0, TEXT), (1, SMALL))]
        self.left = PAD + first[0] + PAD + first[1] + PAD
        widest = max(CELL, *(self._wide(title, TEXT) + PAD for title in titles))
        rest = max((WIDTH * FINE - self.left - PAD) / len(titles), widest)
        self.goal, self.step = PAD + first[0] + PAD, rest
        size = (
            round(self.left + rest * len(titles) + PAD),
            PAD + ROW * (len(rows) + 1) + LINE * len(self.notes) + 2 * PAD,
        )
        self.image = Image.new("RGB", size, PAPER)
        self.pen = ImageDraw.Draw(self.image)

    def finished(self) -> Picture:
        y = PAD + ROW / 2
        for at, title in enumerate(self.titles):
            self._write(self._right(at), y, title, TEXT, "rm")
        for number, row in enumerate(self.rows):
            self._line(PAD + ROW * (number + 1), row, number % 2 == 0)
        bottom = PAD + ROW * (len(self.rows) + 1)
        self.pen.line((PAD, PAD + ROW, self.image.width - PAD, PAD + ROW), RULE, FINE)
        self.pen.line((PAD, bottom, self.image.width - PAD, bottom), RULE, FINE)
        for number, line in enumerate(self.notes):
            self._write(PAD, bottom + PAD + LINE * number + LINE / 2, _Cell(line, FAINT), SMALL, "lm")
        return np.array(self.image.reduce(FINE))

    def _line(self, top: float, row: Sequence[_Cell], banded: bool) -> None:
        if banded:
            self.pen.rectangle((PAD, top, self.image.width - PAD, top + ROW), BAND)
        title, goal, *values = row
        self._write(PAD + 4 * FINE, top + ROW / 2, title, TEXT, "lm")
        self._write(self.goal, top + ROW / 2, goal, SMALL, "lm")
        for at, value in enumerate(values):
            self._write(self._right(at), top + ROW / 2, value, TEXT, "rm")

    def _right(self, column: int) -> float:
        return self.left + self.step * (column + 1) - 4 * FINE

    def _write(self, x: float, y: float, cell: _Cell, size: int, anchor: str) -> None:
        font = _font(cell.text, size)
        self.pen.text((x, y), cell.text, cell.color, font, anchor, stroke_width=1 if cell.bold else 0)

    def _wide(self, cell: _Cell, size: int) -> int:
        return round(_font(cell.text, size).getlength(cell.text))


def _font(text: str, size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """Pillow's own, or for other scripts than ours one of the system, if it has such."""
    for name in OF_SYSTEMS if max(text, default="") > LATIN else ():
        with suppress(OSError):
            return ImageFont.truetype(name, size)
    return ImageFont.load_default(size)
