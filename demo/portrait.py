"""A portrait drawn for the demo, with masks of its face and lips: ours to give away, and nobody's likeness."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageChops, ImageDraw, ImageFilter, ImageOps

SIDE = 512
FINE = 4  # drawn this many times larger, for smooth edges

Point = tuple[float, float]
Box = tuple[float, float, float, float]
Color = tuple[int, int, int]

WALL, FLOOR = (226, 233, 234), (178, 199, 206)
SKIN, SHADE, BLUSH = (244, 205, 178), (226, 178, 148), (232, 140, 124)
PUPIL, WHITE = (24, 16, 14), (252, 250, 248)
LIP, LIP_LINE = (206, 104, 104), (138, 56, 60)

FACE: Box = (142, 104, 370, 416)
LIPS: Box = (198, 322, 314, 390)

OUTLINE = [(256, 120), (318, 134), (354, 190), (358, 256), (344, 322), (312, 374), (256, 402)]
FRINGE = [(256, 86), (330, 98), (376, 158), (380, 250), (358, 216), (320, 170), (264, 158), (208, 182), (158, 226)]
TEMPLE = [(132, 254), (134, 158), (182, 98)]
LOCKS = [(256, 62), (334, 74), (388, 140), (396, 250), (392, 350), (366, 420), (330, 438), (182, 438), (146, 420)]
LOCKS += [(120, 350), (116, 250), (124, 140), (178, 74)]


@dataclass(frozen=True)
class Look:
    """What tells one person from another."""

    hair: Color = (58, 40, 36)
    shine: Color = (84, 60, 52)
    brow: Color = (70, 48, 42)
    iris: Color = (92, 62, 44)
    shirt: Color = (58, 104, 134)
    collar: Color = (44, 82, 108)


USUAL = Look()
ANOTHER = Look(
    hair=(150, 92, 48),
    shine=(182, 124, 72),
    brow=(120, 76, 44),
    iris=(70, 104, 92),
    shirt=(146, 82, 70),
    collar=(118, 62, 54),
)


class Canvas:
    """Shapes in the coordinates of the finished picture."""

    def __init__(self, color: Color | int = 0, mode: str = "RGB"):
        self.image = Image.new(mode, (SIDE * FINE, SIDE * FINE), color)
        self.draw = ImageDraw.Draw(self.image)

    def ellipse(self, box: Box, color: Color | int) -> None:
        self.draw.ellipse([value * FINE for value in box], color)

    def shape(self, points: Sequence[Point], color: Color | int) -> None:
        self.draw.polygon([(x * FINE, y * FINE) for x, y in rounded(points, closed=True)], color)

    def line(self, points: Sequence[Point], color: Color, width: float) -> None:
        """As a brush draws: thin at both ends."""
        path = rounded(points, closed=False)
        for at, (x, y) in zip(np.linspace(0, np.pi, len(path)), path, strict=True):
            radius = width / 2 * (0.25 + 0.75 * np.sin(at))
            self.ellipse((x - radius, y - radius, x + radius, y + radius), color)

    def tint(self, color: Color, where: Canvas, blur: float) -> None:
        self.image.paste(color, mask=where.image.filter(ImageFilter.GaussianBlur(blur * FINE)))

    def finished(self) -> Image.Image:
        return self.image.resize((SIDE, SIDE), Image.Resampling.LANCZOS)


def rounded(points: Sequence[Point], closed: bool) -> list[Point]:
    """A smooth curve through all of the points (Catmull and Rom's)."""
    known = np.asarray(points, float)
    around = [known[-1:], known, known[:2]] if closed else [known[:1], known, known[-1:]]
    p = np.concatenate(around)
    t = np.linspace(0, 1, 24, endpoint=False)[:, None]
    curve = []
    for a, b, c, d in zip(p, p[1:], p[2:], p[3:], strict=False):
        curve.append(b + ((c - a) + ((2 * a - 5 * b + 4 * c - d) + (3 * (b - c) + d - a) * t) * t) * t / 2)
    return [(x, y) for x, y in np.concatenate(curve)]


def mirrored(points: Sequence[Point]) -> list[Point]:
    return [(SIDE - x, y) for x, y in points]


def portrait(look: Look = USUAL) -> Image.Image:
    canvas = Canvas()
    wall(canvas)
    behind(canvas, look)
    head(canvas, look)
    for side in (-1, 1):
        eye(canvas, side, look)
    nose_and_mouth(canvas)
    return canvas.finished()


def couple() -> Image.Image:
    """Two people side by side."""
    picture = Image.new("RGB", (2 * SIDE, SIDE))
    picture.paste(portrait())
    picture.paste(ImageOps.mirror(portrait(ANOTHER)), (SIDE, 0))
    return picture


def couple_masks() -> Image.Image:
    """Red is the face on the left, green the one on the right, blue the lips of both."""
    left, right, lips = (Image.new("L", (2 * SIDE, SIDE)) for _ in range(3))
    left.paste(mask(FACE))
    right.paste(ImageOps.mirror(mask(FACE)), (SIDE, 0))
    lips.paste(mask(LIPS))
    lips.paste(ImageOps.mirror(mask(LIPS)), (SIDE, 0))
    return Image.merge("RGB", (left, right, lips))


def wall(canvas: Canvas) -> None:
    ramp = Image.linear_gradient("L").resize(canvas.image.size)
    canvas.image.paste(Image.composite(Canvas(FLOOR).image, Canvas(WALL).image, ramp))


def behind(canvas: Canvas, look: Look) -> None:
    canvas.shape(LOCKS, look.hair)
    canvas.shape([(256, 440), (372, 450), (446, 486), (474, 560), (38, 560), (66, 486), (140, 450)], look.shirt)
    canvas.shape([(212, 366), (300, 366), (306, 446), (256, 488), (206, 446)], SHADE)
    canvas.line([(200, 444), (222, 470), (256, 494), (290, 470), (312, 444)], look.collar, 9)


def head(canvas: Canvas, look: Look) -> None:
    for x in (150, 362):
        canvas.ellipse((x - 18, 232, x + 18, 296), SHADE)
    face = [*OUTLINE, *reversed(mirrored(OUTLINE[1:-1]))]
    canvas.shape(face, SKIN)
    cheeks = Canvas(mode="L")
    for x in (198, 314):
        cheeks.ellipse((x - 26, 292, x + 26, 328), 90)
    canvas.tint(BLUSH, cheeks, blur=10)
    canvas.shape([*FRINGE, *TEMPLE], look.hair)
    shine, hair = Canvas(mode="L"), Canvas(mode="L")
    shine.ellipse((180, 100, 320, 136), 160)
    hair.shape([*FRINGE, *TEMPLE], 255)
    shine.image = ImageChops.multiply(shine.image, hair.image)
    canvas.tint(look.shine, shine, blur=8)


def eye(canvas: Canvas, side: int, look: Look) -> None:
    x = 256 + 48 * side
    canvas.ellipse((x - 25, 238, x + 25, 270), WHITE)
    canvas.ellipse((x - 15, 238, x + 15, 269), look.iris)
    canvas.ellipse((x - 7, 246, x + 7, 261), PUPIL)
    canvas.ellipse((x + 2, 242, x + 9, 249), WHITE)
    canvas.line([(x - 28, 256), (x - 15, 241), (x, 236), (x + 15, 241), (x + 28, 256)], look.hair, 6)
    inner, outer = x - 26 * side, x + 32 * side
    canvas.line([(inner, 219), (x + 4 * side, 209), (outer, 218)], look.brow, 8)


def nose_and_mouth(canvas: Canvas) -> None:
    canvas.line([(246, 308), (256, 314), (266, 308)], SHADE, 6)
    upper = [(218, 346), (238, 341), (249, 337), (256, 340), (263, 337), (274, 341), (294, 346)]
    canvas.shape([*upper, (276, 364), (256, 370), (236, 364)], LIP)
    canvas.line([(212, 343), (226, 350), (256, 355), (286, 350), (300, 343)], LIP_LINE, 4)


def mask(box: Box) -> Image.Image:
    """White where it is; a rectangle, as the model was taught."""
    drawn = Image.new("L", (SIDE, SIDE))
    ImageDraw.Draw(drawn).rectangle(box, 255)
    return drawn
