"""A picture to look at: how loud a speech is, where it pauses, and how strongly each region follows it."""

from __future__ import annotations

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from .boxes import Box, Picture, Size
from .config import FPS

SIZE = (768, 320)
FINE = 2  # drawn this many times larger, for smooth lines
PLOT = Box(44, 40, SIZE[0] - 16, SIZE[1] - 34)
QUIETEST = -70.0  # dB at the bottom; the top is full scale

PAPER, INK, GRID, SOUND, PAUSE = (255, 255, 255), (40, 40, 40), (225, 225, 225), (190, 190, 190), (222, 236, 246)
# Of Okabe and Ito's palette, the wider lines first, so that three that run together can all be seen
LINES = {"lips": ((0, 114, 178), 7), "expression": ((230, 159, 0), 4), "pose": ((204, 121, 167), 2)}
ROOM = 1.08  # above the highest
STEPS = (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1200, 1800, 3600)  # seconds between two marks
MOST_MARKS = 10


def timeline(levels: Tensor, pauses: Tensor, weights: Tensor) -> Picture:
    """levels (frames) in dB, pauses (frames) true in them, weights (frames, 3) of pose, expression and lips."""
    page = _Page(len(levels), ROOM * max(1.0, weights.max().item()))
    page.pauses(pauses)
    page.loudness(levels)
    page.marks()
    for (color, width), values in zip(LINES.values(), weights.flip(1).unbind(1), strict=True):
        page.line(values, color, width)
    page.legend()
    return page.finished()


class _Page:
    """Shapes in frames and weights; texts in pixels of the finished picture."""

    def __init__(self, length: int, highest: float):
        self.length, self.highest = length, highest
        self.image = Image.new("RGB", _enlarged(SIZE), PAPER)
        self.draw = ImageDraw.Draw(self.image)
        self.font = ImageFont.load_default(14 * FINE)

    def finished(self) -> Picture:
        return np.array(self.image.resize(SIZE, Image.Resampling.LANCZOS))

    def x(self, frame: float) -> float:
        return PLOT.left + PLOT.width * frame / self.length

    def y(self, share: float) -> float:
        """0 at the bottom, 1 at the top"""
        return PLOT.bottom - PLOT.height * share

    def pauses(self, mask: Tensor) -> None:
        edges = torch.nn.functional.pad(mask, (1, 1)).int().diff().nonzero().flatten()
        for start, stop in edges.reshape(-1, 2).tolist():
            self.rectangle(self.x(start), PLOT.top, self.x(stop), PLOT.bottom, PAUSE)

    def loudness(self, levels: Tensor) -> None:
        """The loudest frame of each column."""
        for column in range(int(PLOT.width)):
            start = int(column * self.length / PLOT.width)
            stop = max(start + 1, int((column + 1) * self.length / PLOT.width))
            share = 1 - levels[start:stop].max().item() / QUIETEST
            x = PLOT.left + column
            self.rectangle(x, self.y(min(max(share, 0.0), 1.0)), x + 1, PLOT.bottom, SOUND)

    def marks(self) -> None:
        for value in _steps(self.highest, (0.25, 0.5, 1, 2, 5), 5):
            y = self.y(value / self.highest)
            self.rectangle(PLOT.left, y - 0.5, PLOT.right, y + 0.5, GRID)
            self.text(PLOT.left - 8, y, f"{value:g}", "rm")
        seconds = self.length / FPS
        for second in _steps(seconds, STEPS, MOST_MARKS):
            x = self.x(second * FPS)
            self.rectangle(x - 0.5, PLOT.bottom, x + 0.5, PLOT.bottom + 5, INK)
            self.text(x, PLOT.bottom + 8, _clock(second) if seconds >= 60 else f"{second:g} s", "ma")
        self.rectangle(PLOT.left, PLOT.bottom, PLOT.right, PLOT.bottom + 1, INK)

    def line(self, values: Tensor, color: tuple[int, int, int], width: int) -> None:
        """A level for the time that each frame is shown; of long videos, for each column the mean of its frames."""
        points, columns = [], min(self.length, int(PLOT.width))
        values = torch.nn.functional.adaptive_avg_pool1d(values[None], columns)[0]
        for column, value in enumerate(values.tolist()):
            left, right = (self.x(self.length * edge / columns) for edge in (column, column + 1))
            y = self.y(value / self.highest)
            points += [(left * FINE, y * FINE), (right * FINE, y * FINE)]
        self.draw.line(points, color, width * FINE, "curve")

    def legend(self) -> None:
        x = PLOT.left
        known = [(name, color, width) for name, (color, width) in LINES.items()]
        for name, color, height in (*known, ("loudness", SOUND, 12), ("pause", PAUSE, 12)):
            self.rectangle(x, 20 - height / 2, x + 24, 20 + height / 2, color)
            self.text(x + 30, 20, name, "lm")
            x += 30 + self.font.getlength(name) / FINE + 26

    def rectangle(self, left: float, top: float, right: float, bottom: float, color: tuple[int, int, int]) -> None:
        box = [round(side * FINE) for side in (left, top, right, bottom)]
        self.draw.rectangle((box[0], box[1], max(box[0], box[2] - 1), max(box[1], box[3] - 1)), color)

    def text(self, x: float, y: float, text: str, anchor: str) -> None:
        self.draw.text((x * FINE, y * FINE), text, INK, self.font, anchor)


def _steps(end: float, sizes: tuple[float, ...], most: int) -> list[float]:
    """Round numbers from 0 to the end, at most so many after the first."""
    size = next((size for size in sizes if end / size <= most), end / most)
    return [size * number for number in range(int(end / size + 1e-6) + 1)]


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def _enlarged(size: Size) -> Size:
    return size[0] * FINE, size[1] * FINE
