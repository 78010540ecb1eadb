"""`Sheet`: a contact sheet of a film, gathered while its frames go by, with the box of a track drawn at the end."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from .boxes import Box, Picture
from .finders import shrunk
from .track import Track

SHOWN, COLUMNS = 12, 4
KEPT = 24  # pictures at a time
GAPS = 4  # of those shown, where the face is lost
LONGEST = 320  # pixels of each
WHITE, BLACK, GREEN, RED = (255, 255, 255), (0, 0, 0), (0, 158, 115), (213, 94, 0)  # the latter of Okabe and Ito


class Sheet:
    def __init__(self) -> None:
        self._spread, self._gaps = _Spread(KEPT), _Spread(2 * GAPS)
        self._lost = 0

    def push(self, frame: int, picture: Picture) -> None:
        self._spread.push(frame, frame, picture)

    def mark(self, frame: int, picture: Picture) -> None:
        """The face is lost in this one."""
        self._gaps.push(self._lost, frame, picture)
        self._lost += 1

    def drawn(self, track: Track) -> Picture:
        chosen = dict(self._gaps.few(GAPS))
        chosen |= dict(self._spread.few(SHOWN - len(chosen)))
        pictures = [_drawn(small, frame, track) for frame, small in sorted(chosen.items())]
        columns = min(COLUMNS, len(pictures))
        width, height = max(p.width for p in pictures), max(p.height for p in pictures)
        sheet = Image.new("RGB", (columns * width, math.ceil(len(pictures) / columns) * height), BLACK)
        for number, picture in enumerate(pictures):
            sheet.paste(picture, (number % columns * width, number // columns * height))
        return np.array(sheet)


class _Spread:
    """Pictures in even steps, of nobody knows how many: where there are too many, every other one goes."""

    def __init__(self, most: int) -> None:
        self.most, self.step = most, 1
        self.kept: list[tuple[int, Picture]] = []

    def push(self, number: int, frame: int, picture: Picture) -> None:
        if number % self.step:
            return
        if len(self.kept) == self.most:
            self.kept, self.step = self.kept[::2], 2 * self.step
            if number % self.step:
                return
        self.kept.append((frame, shrunk(picture, LONGEST)[0].copy()))

    def few(self, count: int) -> list[tuple[int, Picture]]:
        if len(self.kept) <= count:
            return self.kept
        return [self.kept[place] for place in np.linspace(0, len(self.kept) - 1, count).round().astype(int)]


def _drawn(small: Picture, frame: int, track: Track) -> Image.Image:
    image = Image.fromarray(small)
    if image.height < LONGEST and image.width < LONGEST:
        scale = LONGEST / max(image.size)
        image = image.resize((round(image.width * scale), round(image.height * scale)), Image.Resampling.BICUBIC)
    pen = ImageDraw.Draw(image)
    seen = bool(track.scores[frame])
    if track.found[frame]:
        across, down = image.width / track.size[0], image.height / track.size[1]
        box = track.box(frame)
        _frame(pen, Box(box.left * across, box.top * down, box.right * across, box.bottom * down), seen)
    words = f"{frame}  {_time(frame, track.rate)}"
    _label(pen, words if seen else f"{words}  {'bridged' if track.found[frame] else 'no face'}", seen)
    return image


def _frame(pen: ImageDraw.ImageDraw, box: Box, seen: bool) -> None:
    corners = box.left, box.top, max(box.right, box.left), max(box.bottom, box.top)
    pen.rectangle(corners, outline=BLACK, width=4)
    pen.rectangle(
        tuple(side + way for side, way in zip(corners, (1, 1, -1, -1), strict=True)), None, WHITE if seen else RED, 2
    )


def _label(pen: ImageDraw.ImageDraw, words: str, seen: bool) -> None:
    font = ImageFont.load_default(16)
    left, top, right, bottom = pen.textbbox((0, 0), words, font)
    pen.rectangle((0, 0, right - left + 8, bottom - top + 8), BLACK if seen else RED)
    pen.text((4 - left, 4 - top), words, WHITE, font)


def _time(frame: int, rate: Fraction) -> str:
    seconds = frame / rate
    return f"{int(seconds // 60)}:{float(seconds % 60):04.1f}"
