"""`plot` draws curves over the time of a clip as a picture; `stacked` joins several plots."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from ..faces.boxes import Picture, Size

SIZE = (768, 320)
FINE = 2  # supersampling, for smooth lines
TEXT, ROW, GAP, LINE = 13 * FINE, 18 * FINE, 8 * FINE, 2 * FINE

PAPER, INK, GRID, SHADE = (255, 255, 255), (70, 70, 70), (228, 228, 228), (240, 240, 234)
# Okabe and Ito's palette, which the colour-blind can distinguish.
COLORS = ((0, 114, 178), (213, 94, 0), (0, 158, 115), (204, 121, 167), (230, 159, 0), (86, 180, 233), (0, 0, 0))

NICE = (1, 2, 5, 10)
NEAR = 1e-6  # of a step: 7.0000002 steps count as 7
TIMES = (0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600)

Span = tuple[float, float]
Color = tuple[int, int, int]


@dataclass(frozen=True)
class Curve:
    name: str  # for the legend; empty: not shown there
    values: (
        Any  # (n): a list, an array or a tensor, spread evenly over the time; values that are not finite leave a gap
    )
    color: Color | None = None  # the palette's next, if not given
    width: float = 1.0  # relative line width
    filled: bool = False  # filled down to the lower border

    @property
    def numbers(self) -> np.ndarray:
        return np.asarray(self.values, float).reshape(-1)


def plot(
    curves: Sequence[Curve],
    *,
    seconds: float,
    size: Size = SIZE,
    shaded: Sequence[Span] = (),
    title: str = "",
    limits: Span | None = None,
    start: float = 0.0,
) -> Picture:
    """Draw a plot, (height, width, 3) in 0..255. The i-th of n values lies in the middle of the i-th n-th of the time.

    `shaded`: stretches of time, in seconds, with a darker ground. `limits`: values at the lower and the upper border,
    by default from the curves. `start`: the time at the left border.
    """
    if not 0 < seconds < math.inf:
        raise ValueError(f"The plot's length is {seconds} s; give the length of the clip, more than 0.")
    chart = _Chart(size, seconds, limits or _limits(curves), start)
    colored = [(curve, curve.color or COLORS[i % len(COLORS)]) for i, curve in enumerate(curves)]
    chart.heading(title, [(curve.name, color) for curve, color in colored if curve.name])
    for span in shaded:
        chart.shade(span)
    for curve, color in colored:
        if curve.filled:
            chart.area(curve.numbers, color)
    chart.axes()
    for curve, color in colored:
        if not curve.filled:
            chart.curve(curve.numbers, color, curve.width)
    return chart.finished()


def stacked(plots: Sequence[Picture]) -> Picture:
    """Join plots of one width, one below the other."""
    return np.concatenate(plots)


def _limits(curves: Sequence[Curve]) -> Span:
    """The range of the values, widened to round numbers."""
    values = np.concatenate([np.zeros(0), *(curve.numbers for curve in curves)])
    values = values[np.isfinite(values)]
    if not len(values):
        return 0.0, 1.0
    low, high = float(values.min()), float(values.max())
    if high - low < 1e-6 * max(1.0, abs(high)):
        low, high = low - 0.5, high + 0.5
    step = _step(high - low)
    return math.floor(low / step + NEAR) * step, math.ceil(high / step - NEAR) * step


def _step(extent: float) -> float:
    """A round number that fits into the extent three to seven times."""
    power = 10.0 ** math.floor(math.log10(extent / 4))
    return min((nice * power for nice in NICE), key=lambda step: abs(math.log(extent / 4 / step)))


def _marks(low: float, high: float, step: float) -> list[float]:
    return [i * step for i in range(math.ceil(low / step - NEAR), math.floor(high / step + NEAR) + 1)]


def clock(time: float, longest: float) -> str:
    """Format a time in the same way as all times up to the longest."""
    if longest < 100:
        return f"{time:.3g} s"
    hours, minutes, rest = int(time) // 3600, int(time) // 60 % 60, int(time) % 60
    return f"{hours}:{minutes:02}:{rest:02}" if longest >= 3600 else f"{minutes}:{rest:02}"


class _Chart:
    """Draws into the supersampled picture; all coordinates are its pixels."""

    def __init__(self, size: Size, seconds: float, limits: Span, start: float = 0.0):
        self.image = Image.new("RGB", (size[0] * FINE, size[1] * FINE), PAPER)
        self.draw, self.font = ImageDraw.Draw(self.image), ImageFont.load_default(TEXT)
        self.seconds, (self.low, self.high), self.start = seconds, limits, start
        self.marks = [(mark, f"{mark:.6g}") for mark in _marks(*limits, _step(self.high - self.low))]
        self.left = 2 * GAP + max((self._width(label) for _, label in self.marks), default=0)
        self.right, self.top = self.image.width - 2 * GAP, 2 * GAP + TEXT
        self.bottom = self.image.height - 2 * GAP - TEXT

    def x(self, time: float) -> float:
        return self.left + (time - self.start) / self.seconds * (self.right - self.left)

    def y(self, value: float) -> float:
        return self.bottom - (value - self.low) / (self.high - self.low) * (self.bottom - self.top)

    def shade(self, span: Span) -> None:
        first, last = self.start, self.start + self.seconds
        start, end = (self.x(min(max(time, first), last)) for time in span)
        if end > start:
            self.draw.rectangle((start, self.top, end, self.bottom), SHADE)

    def axes(self) -> None:
        for mark, label in self.marks:
            height = self.y(mark)
            self.draw.line((self.left, height, self.right, height), GRID, FINE)
            self.draw.text((self.left - GAP, height), label, INK, self.font, "rm")
        room = self._width(clock(self.seconds, self.seconds)) + 2 * GAP
        most = max(1.0, (self.right - self.left) / room)
        step = next((time for time in TIMES if self.seconds / time <= most), self.seconds)
        for time in _marks(self.start, self.start + self.seconds, step):
            self.draw.line((self.x(time), self.bottom, self.x(time), self.bottom + GAP / 2), INK, FINE)
            text = clock(time, self.seconds)
            across = min(self.x(time), self.image.width - GAP / 2 - self._width(text) / 2)
            self.draw.text((across, self.bottom + GAP), text, INK, self.font, "mt")
        self.draw.line((self.left, self.bottom, self.right, self.bottom), INK, FINE)

    def curve(self, values: np.ndarray, color: Color, width: float) -> None:
        for points in self.stretches(values):
            if len(points) > 1:
                self.draw.line(points, color, round(LINE * width), "curve")
            else:
                ((x, y),), radius = points, LINE
                self.draw.ellipse((x - radius, y - radius, x + radius, y + radius), color)

    def area(self, values: np.ndarray, color: Color) -> None:
        half = (self.right - self.left) / len(values) / 2
        for points in self.stretches(values):
            ends = (points[0][0] - half, points[0][1]), (points[-1][0] + half, points[-1][1])
            below = (ends[1][0], self.bottom), (ends[0][0], self.bottom)
            self.draw.polygon([ends[0], *points, ends[1], *below], color)

    def stretches(self, values: np.ndarray) -> Iterator[list[tuple[float, float]]]:
        """Runs of points without a gap. Values beyond the limits are clipped to the border."""
        points: list[tuple[float, float]] = []
        for i, value in enumerate([*values, math.nan]):
            if math.isfinite(value):
                height = self.y(min(max(value, self.low), self.high))
                points.append((self.x(self.start + (i + 0.5) / len(values) * self.seconds), height))
            elif points:
                yield points
                points = []

    def heading(self, title: str, legend: Sequence[tuple[str, Color]]) -> None:
        """Draw the title, with the legend to its right or, if there is no room, in lines below it."""
        widths = [5 * GAP + self._width(name) for name, _ in legend]
        x, y = self.right - sum(widths), GAP + TEXT / 2
        self.draw.text((self.left, y), title, INK, self.font, "lm")
        if title and x < self.left + self._width(title):
            x, y = self.left - 2 * GAP, y + ROW
        for (name, color), width in zip(legend, widths, strict=True):
            if x + width > self.right + GAP and x > self.left:
                x, y = self.left - 2 * GAP, y + ROW
            self.draw.line((x + 2 * GAP, y, x + 4 * GAP, y), color, 2 * LINE)
            self.draw.text((x + 5 * GAP, y), name, INK, self.font, "lm")
            x += width
        self.top = y + TEXT / 2 + GAP

    def finished(self) -> Picture:
        return np.array(self.image.reduce(FINE))

    def _width(self, text: str) -> int:
        return math.ceil(self.font.getlength(text))
