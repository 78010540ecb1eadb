"""Drawn people whose mouths open as given (`Sitter`): training pictures with known truth, and of no real person.

Shapes are given in pixels of a picture of SIDE, whatever size it is drawn at.
"""

from __future__ import annotations

import colorsys
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageChops, ImageDraw, ImageFilter

from ..faces.boxes import Box, Picture, Points
from ..faces.regions import (
    BROWS,
    INNER_LOWER,
    INNER_UPPER,
    LOWER_LIDS,
    NOSE_TIP,
    OUTER_LOWER,
    OUTER_UPPER,
    OUTLINE,
    UNDER_NOSE,
    UPPER_LIDS,
)

SIDE = 512
MIDDLE = SIDE / 2
FINE = 4  # drawn this many times larger, for smooth edges

Point = tuple[float, float]
Sides = tuple[float, float, float, float]
Color = tuple[int, int, int]

PUPIL, WHITE = (24, 16, 14), (252, 250, 248)
INSIDE = (88, 8, 42)  # of a mouth; nothing else is of this red: hair is browner, lips are lighter
BLUSH, RED = (232, 120, 108), (196, 66, 78)

CHEEK_TO_CHIN = [(256, 120), (318, 134), (354, 190), (360, 256), (348, 330), (316, 392), (256, 424)]
SHOULDERS = [(256, 440), (372, 450), (446, 486), (474, 560), (38, 560), (66, 486), (140, 450)]
NECK = [(208, 380), (304, 380), (308, 450), (256, 490), (204, 450)]
COLLAR = [(200, 444), (222, 470), (256, 494), (290, 470), (312, 444)]
HAIR_BEHIND: dict[str, list[Point]] = {
    "long": [(256, 62), (334, 74), (388, 140), (396, 250), (392, 350), (366, 420), (330, 438)],
    "bob": [(256, 62), (334, 74), (388, 140), (400, 240), (400, 320), (378, 368), (330, 380)],
    "short": [(256, 66), (328, 76), (376, 136), (384, 210), (372, 262), (330, 280)],
}
HAIR_BEFORE: dict[str, list[Point]] = {
    "swept": [
        *[(256, 86), (330, 98), (376, 158), (380, 250), (358, 216), (320, 170), (264, 158), (208, 182), (158, 226)],
        *[(132, 254), (134, 158), (182, 98)],
    ],
    "straight": [
        *[(256, 84), (330, 96), (378, 160), (380, 258), (362, 240), (350, 196), (300, 200), (256, 201)],
        *[(212, 200), (162, 196), (150, 240), (132, 258), (134, 160), (182, 96)],
    ],
    "open": [
        *[(256, 84), (330, 96), (378, 160), (380, 254), (362, 230), (340, 172), (300, 148), (256, 143)],
        *[(212, 148), (172, 172), (150, 230), (132, 254), (134, 160), (182, 96)],
    ],
}
MOUTH, NOSE, EYES = 348, 288, 240  # heights
FACE_HEIGHT = 250  # about which a face is longer or shorter
KEPT = 6  # heads, as the lids move


@dataclass(frozen=True)
class Look:
    """The appearance of one person."""

    skin: Color = (244, 205, 178)
    hair: Color = (58, 40, 36)
    iris: Color = (92, 62, 44)
    shirt: Color = (58, 104, 134)
    wall: Color = (226, 233, 234)
    behind: str = "long"  # one of HAIR_BEHIND
    before: str = "swept"  # one of HAIR_BEFORE
    mirrored: bool = False
    width: float = 1.0  # of the face
    length: float = 1.0
    apart: float = 1.0  # the eyes
    eye: float = 1.0
    mouth: float = 1.0
    lips: float = 1.0  # how full
    red: float = 0.6  # how red
    nose: float = 1.0
    brow: float = 0.0  # from sloping to arched: -1..1


@dataclass(frozen=True)
class Pose:
    """The moving parts of a picture."""

    opening: float = 0.0  # of the mouth, 0..1
    spread: float = 0.0  # of its corners: -1 rounded, 1 wide
    lids: float = 0.0  # 1: the eyes are shut
    x: float = 0.0  # of the head, in shares of the picture
    y: float = 0.0
    roll: float = 0.0  # radians, clockwise


STILL = Pose()


def look_of(rng: np.random.Generator) -> Look:
    """A random person."""
    tan = rng.beta(1.2, 1.6)
    hue, grey = rng.uniform(0.03, 0.11), rng.random() < 0.12
    hair = _hsv(hue, 0.08, rng.uniform(0.5, 0.8)) if grey else _hsv(hue, rng.uniform(0.3, 0.75), rng.beta(1.2, 2.2))
    return Look(
        skin=_jittered(mix((250, 218, 196), (112, 72, 50), tan), rng),
        hair=hair,
        iris=_hsv(*((rng.uniform(0.04, 0.1), 0.6, 0.4) if rng.random() < 0.6 else (rng.uniform(0.3, 0.6), 0.5, 0.5))),
        shirt=_hsv(rng.random(), rng.uniform(0.25, 0.7), rng.uniform(0.35, 0.85)),
        wall=_hsv(rng.random(), rng.uniform(0.03, 0.3), rng.uniform(0.72, 0.96)),
        behind=str(rng.choice(list(HAIR_BEHIND))),
        before=str(rng.choice(list(HAIR_BEFORE))),
        mirrored=bool(rng.random() < 0.5),
        width=rng.uniform(0.94, 1.04),
        length=rng.uniform(0.97, 1.03),
        apart=rng.uniform(0.94, 1.06),
        eye=rng.uniform(0.9, 1.1),
        mouth=rng.uniform(0.92, 1.08),
        lips=rng.uniform(0.85, 1.15),
        red=rng.uniform(0.4, 0.8),
        nose=rng.uniform(0.85, 1.2),
        brow=rng.uniform(-1, 1),
    )


def mix(a: Color, b: Color, share: float) -> Color:
    red, green, blue = (round(x + (y - x) * share) for x, y in zip(a, b, strict=True))
    return red, green, blue


def _hsv(hue: float, saturation: float, value: float) -> Color:
    red, green, blue = (round(255 * part) for part in colorsys.hsv_to_rgb(hue % 1, saturation, value))
    return red, green, blue


def _jittered(color: Color, rng: np.random.Generator) -> Color:
    red, green, blue = (int(np.clip(part + rng.integers(-8, 9), 0, 255)) for part in color)
    return red, green, blue


# ---- shapes


class Canvas:
    """Shapes in the coordinates of a picture of SIDE, drawn FINE times as large as they will be seen."""

    def __init__(self, size: int = SIDE, mode: str = "RGB", color: Color | int | None = None):
        self.size, self.scale = size, FINE * size / SIDE
        self._on(Image.new(mode, (size * FINE, size * FINE), color or 0))

    def _on(self, image: Image.Image) -> None:
        self.image, self.draw = image, ImageDraw.Draw(image)

    def copy(self) -> Canvas:
        made = object.__new__(Canvas)
        made.size, made.scale = self.size, self.scale
        made._on(self.image.copy())
        return made

    def ellipse(self, box: Sides, color: Color | int) -> None:
        self.draw.ellipse([value * self.scale for value in box], color)

    def shape(self, points: Sequence[Point], color: Color | int) -> None:
        self.draw.polygon([(x * self.scale, y * self.scale) for x, y in rounded(points, closed=True)], color)

    def line(self, points: Sequence[Point], color: Color | int, width: float) -> None:
        """Draw a line like a brush stroke, thin at both ends."""
        path = np.asarray(rounded(points, closed=False)) * self.scale
        radii = width * self.scale / 2 * (0.25 + 0.75 * np.sin(np.linspace(0, np.pi, len(path))))
        along = np.gradient(path, axis=0)
        across = np.stack([-along[:, 1], along[:, 0]], 1) / np.maximum(np.linalg.norm(along, axis=1), 1e-9)[:, None]
        edges = np.concatenate([path + across * radii[:, None], (path - across * radii[:, None])[::-1]])
        self.draw.polygon([(x, y) for x, y in edges], color)
        for (x, y), radius in zip(path[[0, -1]], radii[[0, -1]], strict=True):
            self.draw.ellipse((x - radius, y - radius, x + radius, y + radius), color)

    def tint(self, color: Color, where: Canvas, blur: float) -> None:
        self.image.paste(color, mask=where.image.filter(ImageFilter.GaussianBlur(blur * self.scale)))

    def finished(self) -> Picture:
        return np.asarray(self.image.convert("RGB").reduce(FINE))


def rounded(points: Sequence[Point], closed: bool, steps: int = 12) -> list[Point]:
    """A smooth curve through all of the points (Catmull and Rom's)."""
    known = np.asarray(points, float)
    around = [known[-1:], known, known[:2]] if closed else [known[:1], known, known[-1:]]
    p = np.concatenate(around)
    t = np.linspace(0, 1, steps, endpoint=False)[:, None, None]
    a, b, c, d = p[:-3], p[1:-2], p[2:-1], p[3:]
    curve = b + ((c - a) + ((2 * a - 5 * b + 4 * c - d) + (3 * (b - c) + d - a) * t) * t) * t / 2
    along = curve.transpose(1, 0, 2).reshape(-1, 2).tolist()
    return [(x, y) for x, y in (along if closed else [*along, known[-1].tolist()])]


def mirror(points: Sequence[Point]) -> list[Point]:
    return [(SIDE - x, y) for x, y in points]


def both_sides(points: Sequence[Point]) -> list[Point]:
    """A closed outline from its right half, which begins and may end on the middle line."""
    back = mirror(points[1:])[::-1]
    return [*points, *(back[1:] if points[-1][0] == MIDDLE else back)]


# ---- a person


class Sitter:
    """Draws pictures of one person at one size; fixed parts are drawn once."""

    def __init__(self, look: Look, size: int = 128):
        self.look, self.size = look, size
        self._seen: dict[float, Canvas] = {}

    def picture(self, pose: Pose = STILL) -> Picture:
        """(size, size, 3)"""
        return self._seated(self._room.copy(), pose).finished()

    def figure(self, pose: Pose = STILL) -> NDArray[np.uint8]:
        """(size, size, 4): the same with a transparent background."""
        clear = Canvas(self.size, "RGBA")
        self._dress(clear)
        return np.asarray(self._seated(clear, pose).image.reduce(FINE))

    def _seated(self, scene: Canvas, pose: Pose) -> Canvas:
        head = self._looking(pose.lids).copy()
        self._mouth(head, pose)
        moved = head.image.transform(
            head.image.size, Image.Transform.AFFINE, self._back(pose, head.scale), Image.Resampling.NEAREST
        )
        scene.image.paste(moved, mask=moved.getchannel("A"))
        return scene

    def mesh(self, pose: Pose = STILL) -> Points:
        """(478, 2): outline, lips, lids, brows and nose where MediaPipe's mesh has them, the rest on the nose."""
        points = np.tile([MIDDLE, self._y(NOSE)], (478, 1)).astype(float)
        outline = both_sides([self._at(x, y) for x, y in CHEEK_TO_CHIN])
        points[list(OUTLINE)] = _resampled(outline, len(OUTLINE))
        mouth, ring = self._lips(pose), (*OUTER_UPPER, *OUTER_LOWER[-2:0:-1])
        points[list(ring)] = _resampled([*mouth.upper, *mouth.lower[::-1]], len(ring))
        points[61], points[291] = mouth.upper[0], mouth.upper[-1]
        points[list(INNER_UPPER)] = _along(mouth.inner_upper, len(INNER_UPPER))
        points[list(INNER_LOWER)] = _along(mouth.inner_lower, len(INNER_LOWER))
        for side, upper, lower, brow in zip((-1, 1), UPPER_LIDS, LOWER_LIDS, BROWS, strict=True):
            self._place_eye(points, side, upper, lower, brow, pose.lids)
        points[NOSE_TIP] = MIDDLE, self._y(NOSE + 12)
        points[UNDER_NOSE] = MIDDLE, self._y(NOSE) + 10 * (self.look.nose - 1) + 14 * self.look.nose
        cos, sin = math.cos(pose.roll), math.sin(pose.roll)
        turned = (points - PIVOT) @ np.array([[cos, sin], [-sin, cos]]) + PIVOT
        return (turned + np.array([pose.x, pose.y]) * SIDE) * (self.size / SIDE)

    def _place_eye(
        self, points: Points, side: int, upper: Sequence[int], lower: Sequence[int], brow: Sequence[int], lids: float
    ) -> None:
        """Lids along the lashes above and the white below, and the brow's lower border; see _eyes."""
        x, y, size = MIDDLE + 48 * self.look.apart * side, self._y(EYES), self.look.eye
        across = np.linspace(-1, 1, len(upper))
        arch = 16 * size * (1 - lids) * np.sqrt(1 - across**2)
        for line, wide, height in ((upper, 28 * size, -arch - 6 * np.sqrt(1 - across**2)), (lower, 25 * size, arch)):
            points[list(line)] = np.stack([x + wide * across, y + 4 * lids * (1 - across**2) + height], 1)
        points[list(brow)] = np.stack([x + 29 * np.linspace(-1, 1, len(brow)), np.full(len(brow), y - 36.0)], 1)

    def face(self, pose: Pose = STILL) -> Box:
        points = self.mesh(pose)[list(OUTLINE)]
        return Box(*map(float, (*points.min(0), *points.max(0))))

    def _back(self, pose: Pose, scale: float) -> tuple[float, ...]:
        """The transform from the finished picture to the head at rest."""
        cos, sin = math.cos(pose.roll), math.sin(pose.roll)
        shift, pivot = np.array([pose.x, pose.y]) * SIDE * scale, np.array(PIVOT) * scale
        rows = np.array([[cos, sin], [-sin, cos]])
        offset = pivot - rows @ (pivot + shift)
        return (cos, sin, float(offset[0]), -sin, cos, float(offset[1]))

    # what is drawn once

    def _looking(self, lids: float) -> Canvas:
        """The head with its eyes, which mostly look as they did the frame before."""
        if lids not in self._seen:
            head = self._head.copy()
            self._eyes(head, lids)
            self._seen = {**dict(list(self._seen.items())[1 - KEPT :]), lids: head}
        return self._seen[lids]

    @cached_property
    def _room(self) -> Canvas:
        canvas = Canvas(self.size, color=self.look.wall)
        self._dress(canvas)
        return canvas

    def _dress(self, canvas: Canvas) -> None:
        look = self.look
        canvas.shape(SHOULDERS, look.shirt)
        canvas.shape(NECK, mix(look.skin, (96, 44, 30), 0.18))
        canvas.line(COLLAR, mix(look.shirt, (0, 0, 0), 0.25), 9)

    @cached_property
    def _head(self) -> Canvas:
        look, canvas = self.look, Canvas(self.size, "RGBA")
        shade, shine = mix(look.skin, (96, 44, 30), 0.18), mix(look.hair, (255, 235, 215), 0.14)
        canvas.shape(
            both_sides([self._wide(x, y) for x, y in HAIR_BEHIND[look.behind]]), mix(look.hair, (0, 0, 0), 0.12)
        )
        canvas.shape([(x, y) for x, y in both_sides([(256, 380), (300, 380), (300, 436), (256, 452)])], shade)
        for side in (-1, 1):
            x, y = self._at(256 + 106 * side, 256)
            canvas.ellipse((x - 18, y - 32, x + 18, y + 32), shade)
        canvas.shape(both_sides([self._at(x, y) for x, y in CHEEK_TO_CHIN]), look.skin)
        self._blush(canvas)
        before = [self._wide(x, y) for x, y in HAIR_BEFORE[look.before]]
        before = mirror(before) if look.mirrored else before
        canvas.shape(before, look.hair)
        light, hair = Canvas(self.size, "L"), Canvas(self.size, "L")
        light.ellipse((180, 100, 320, 136), 160)
        hair.shape(before, 255)
        light.image = ImageChops.multiply(light.image, hair.image)
        canvas.tint(shine, light, blur=8)
        x, y = MIDDLE, self._y(NOSE) + 10 * (look.nose - 1)
        canvas.line([(x - 10 * look.nose, y + 8), (x, y + 14 * look.nose), (x + 10 * look.nose, y + 8)], shade, 6)
        return canvas

    def _blush(self, canvas: Canvas) -> None:
        cheeks = Canvas(self.size, "L")
        for side in (-1, 1):
            x, y = self._at(256 + 62 * side, 300)
            cheeks.ellipse((x - 26, y - 18, x + 26, y + 18), 80)
        canvas.tint(mix(self.look.skin, BLUSH, 0.7), cheeks, blur=10)

    # what moves

    def _eyes(self, canvas: Canvas, lids: float) -> None:
        look = self.look
        line, brow = mix(look.hair, (20, 10, 10), 0.5), mix(look.hair, (60, 40, 34), 0.3)
        for side in (-1, 1):
            x, y, size = MIDDLE + 48 * look.apart * side, self._y(EYES), look.eye
            wide, high = 25 * size, 16 * size * (1 - lids)
            lid = y + 4 * lids
            if high > 2:
                canvas.ellipse((x - wide, lid - high, x + wide, lid + high), WHITE)
                seen = min(15 * size, high)
                canvas.ellipse((x - 15 * size, lid - seen, x + 15 * size, lid + seen), look.iris)
                canvas.ellipse((x - 7, lid - min(8, seen), x + 7, lid + min(8, seen)), PUPIL)
                if high > 8:
                    canvas.ellipse((x + 1, lid - 9, x + 7, lid - 3), WHITE)
            edge = [(x - 28 * size, y + 2), (x - 15 * size, lid - high), (x, lid - high - 4 * (1 - lids))]
            canvas.line([*edge, (x + 15 * size, lid - high), (x + 28 * size, y + 2)], line, 6)
            inner, outer, above = x - 26 * side, x + 32 * side, y - 36
            canvas.line(
                [(inner, above + 2 * look.brow), (x + 4 * side, above - 9), (outer, above - 2 * look.brow)], brow, 8
            )

    def _mouth(self, canvas: Canvas, pose: Pose) -> None:
        mouth = self._lips(pose)
        lip = mix(self.look.skin, RED, self.look.red)
        canvas.shape([*mouth.upper, *mouth.lower[::-1]], lip)
        if mouth.gap > 1.5:
            canvas.shape([*mouth.inner_upper, *mouth.inner_lower[::-1]], INSIDE)
        else:
            canvas.line(mouth.inner_upper, mix(lip, INSIDE, 0.4), 4)

    def _lips(self, pose: Pose) -> Mouth:
        look, rounding = self.look, max(0.0, -pose.spread)
        half = 48 * look.mouth * (1 + 0.14 * max(0.0, pose.spread) - 0.34 * rounding - 0.06 * pose.opening)
        gap = 66 * pose.opening
        y = self._y(MOUTH) - 0.34 * gap
        above, below = 9 * look.lips * (1 + 0.2 * rounding), 13 * look.lips * (1 + 0.2 * rounding)
        across = (-1.0, -0.66, -0.24, 0.0, 0.24, 0.66, 1.0)
        corner, side = y + 0.45 * gap, y + 0.11 * gap

        def curve(heights: Sequence[float], narrow: float = 1.0) -> list[Point]:
            return [(MIDDLE + half * narrow * x, h) for x, h in zip(across, heights, strict=True)]

        return Mouth(
            gap,
            curve((corner, side - 0.55 * above, y - above, y - 0.72 * above, y - above, side - 0.55 * above, corner)),
            curve((corner, *_bow(y + 0.84 * gap + 0.75 * below, y + gap + below), corner)),
            curve((corner, side + 1, y + 0.5, y + 1.5, y + 0.5, side + 1, corner), 0.86),
            curve((corner, *_bow(y + 0.82 * gap + 1, y + gap + 1.5), corner), 0.86),
        )

    # where things are

    def _y(self, y: float) -> float:
        return FACE_HEIGHT + (y - FACE_HEIGHT) * self.look.length

    def _at(self, x: float, y: float) -> Point:
        return MIDDLE + (x - MIDDLE) * self.look.width, self._y(y)

    def _wide(self, x: float, y: float) -> Point:
        """Hair is as wide as the face, but no longer."""
        return MIDDLE + (x - MIDDLE) * self.look.width, y


PIVOT = (MIDDLE, 440.0)  # the neck, about which the head rolls


@dataclass(frozen=True)
class Mouth:
    """Curves from the picture's left to its right."""

    gap: float  # between the lips
    upper: list[Point]
    lower: list[Point]
    inner_upper: list[Point]
    inner_lower: list[Point]


def _bow(side: float, middle: float) -> tuple[float, float, float, float, float]:
    return side, 0.15 * side + 0.85 * middle, middle, 0.15 * side + 0.85 * middle, side


def _along(points: Sequence[Point], count: int) -> np.ndarray:
    """Points along an open curve."""
    curve = np.asarray(rounded(points, closed=False))
    return curve[np.linspace(0, len(curve) - 1, count).round().astype(int)]


def _resampled(points: Sequence[Point], count: int) -> np.ndarray:
    """Points along a closed curve."""
    curve = np.asarray(rounded(points, closed=True))
    return curve[np.linspace(0, len(curve), count, endpoint=False).astype(int)]
