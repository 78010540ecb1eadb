"""A plot of what each measure tells while another person takes over more and more of a film.

python -m joyhallo.evaluation.strangers --json FIGURES.json
python -m benchmarks.strangers FIGURES.json -o benchmarks/strangers.png
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from joyhallo.film.plot import COLORS, GRID, INK, PAPER
from joyhallo.measures.table import MEASURES, Measure

COLUMNS, CELL = 3, (400, 260)  # pixels
EDGES, TOP = (40, 75, 40, 50), 70  # of a cell: left, top, right, bottom; of the picture
LETTERS, SMALL, LINE, DOT = 22, 18, 4, 7
FULL = {"lip_sync": 1.0}  # the upper border, where it is not the greatest value


def drawn(found: Mapping[str, Mapping[str, float]]) -> Image.Image:
    rows = -(-len(found) // COLUMNS)
    picture = Image.new("RGB", (COLUMNS * CELL[0], TOP + rows * CELL[1]), PAPER)
    pen = ImageDraw.Draw(picture)
    pen.text((EDGES[0], 25), "Another person takes over: from none to all of the film", INK, _font(LETTERS))
    for number, (name, values) in enumerate(found.items()):
        corner = number % COLUMNS * CELL[0], TOP + number // COLUMNS * CELL[1]
        _cell(pen, corner, MEASURES[name], values, COLORS[number % len(COLORS)])
    return picture


def _cell(
    pen: ImageDraw.ImageDraw,
    corner: tuple[int, int],
    measure: Measure,
    values: Mapping[str, float],
    color: tuple[int, int, int],
) -> None:
    left, right = corner[0] + EDGES[0], corner[0] + CELL[0] - EDGES[2]
    top, bottom = corner[1] + EDGES[1], corner[1] + CELL[1] - EDGES[3]
    most = FULL.get(measure.name, max(values.values()))
    shares = [float(share) for share in values]
    points = [
        (left + share * (right - left), bottom - value / most * (bottom - top))
        for share, value in zip(shares, values.values(), strict=True)
    ]
    title = f"{measure.title}, {measure.unit}" if measure.unit else measure.title
    pen.text((left, corner[1] + 15), title, INK, _font(LETTERS))
    pen.line((left, bottom, right, bottom), GRID, 2)
    pen.line(points, color, LINE, joint="curve")
    for (x, y), (share, value) in zip(points, values.items(), strict=True):
        pen.ellipse((x - DOT, y - DOT, x + DOT, y + DOT), color)
        pen.text((x, y - 2 * DOT), format(value, measure.form), INK, _font(SMALL), anchor="ms")
        pen.text((x, bottom + 30), share, INK, _font(SMALL), anchor="ms")


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.strangers", description=__doc__)
    parser.add_argument("figures", type=Path)
    parser.add_argument("-o", "--output", type=Path, required=True)
    chosen = parser.parse_args(arguments)
    drawn(json.loads(chosen.figures.read_text())).quantize(64).save(chosen.output, optimize=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
