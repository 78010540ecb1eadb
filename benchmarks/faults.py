"""A plot of what planted faults do to the likeness of lips and sound, by the bundled lip reader.

    python -m joyhallo.evaluation.lip_reading --talks 60 --json FIGURES.json
    python -m benchmarks.faults FIGURES.json -o benchmarks/faults.png

From left to right each fault grows through the amounts of the table in README.md.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from joyhallo.evaluation.lip_reading import FAULTS
from joyhallo.film.plot import COLORS, GRID, INK, PAPER

SIZE, EDGES = (1200, 640), (110, 90, 350, 70)  # pixels; left, top, right, bottom
LOW, HIGH = -0.1, 0.7
MARKS = (0.0, 0.2, 0.4, 0.6)
STEPS = ("none", "some", "more", "most")
LETTERS, LINE, DOT = 22, 4, 8


def drawn(faults: Mapping[str, Mapping[str, float]]) -> Image.Image:
    picture = Image.new("RGB", SIZE, PAPER)
    pen, font = ImageDraw.Draw(picture), ImageFont.load_default(LETTERS)
    left, right = EDGES[0], SIZE[0] - EDGES[2]
    pen.text((left, 30), "Likeness of lips and sound, by the bundled lip reader, as faults grow", INK, font)
    for mark in MARKS:
        pen.line((left, high(mark), right, high(mark)), GRID, 2)
        pen.text((left - 20, high(mark)), f"{mark:.1f}", INK, font, anchor="rm")
    for step, name in enumerate(STEPS):
        pen.text((place(step), SIZE[1] - EDGES[3] + 35), name, INK, font, anchor="ms")
    ends = apart([high(list(values.values())[-1]) for values in faults.values()])
    for (name, values), color, end in zip(faults.items(), COLORS, ends, strict=False):
        points = [(place(step), high(value)) for step, value in enumerate(values.values())]
        pen.line(points, color, LINE, joint="curve")
        for x, y in points:
            pen.ellipse((x - DOT, y - DOT, x + DOT, y + DOT), color)
        pen.text((right + 25, end), f"{name}: {', '.join(values)}", color, font, anchor="lm")
    return picture


def place(step: int) -> float:
    left, right = EDGES[0], SIZE[0] - EDGES[2]
    return left + step * (right - left) / (len(STEPS) - 1)


def high(value: float) -> float:
    top, bottom = EDGES[1], SIZE[1] - EDGES[3]
    return bottom - (value - LOW) / (HIGH - LOW) * (bottom - top)


def apart(rows: Sequence[float]) -> NDArray[np.float64]:
    """Rows of text as near to where they belong as they can be read."""
    placed = np.array(rows, float)
    order = np.argsort(placed)
    for above, below in pairwise(order):
        placed[below] = max(placed[below], placed[above] + 1.4 * LETTERS)
    return placed


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.faults", description=__doc__)
    parser.add_argument("figures", type=Path)
    parser.add_argument("-o", "--output", type=Path, required=True)
    chosen = parser.parse_args(arguments)
    drawn(json.loads(chosen.figures.read_text())[FAULTS]).quantize(64).save(chosen.output, optimize=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
