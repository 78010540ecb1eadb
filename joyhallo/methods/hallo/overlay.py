"""A picture to look at: which part of it will move, whose face it is, and where pose, expression and lips are."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from ...faces.boxes import Box, Picture, Points, whole
from ...faces.regions import LIPS, OUTLINE
from .masks import SoftMasks
from .portrait import Found, Prepared

SIDES = (768, 1536)  # smaller pictures are enlarged, larger ones shrunk, so that lines and numbers can be seen
DIMMED, GRAYED = 0.4, 0.7
WHITE, BLACK = (255, 255, 255), (0, 0, 0)

# Of Okabe and Ito's palette, such that neighbours differ for the colour-blind, too; and how strongly they tint.
TINTS = {"pose": ((204, 121, 167), 0.4), "expression": ((240, 228, 66), 0.4), "lip": ((0, 114, 178), 0.65)}

MOUTH = (*LIPS[:11], *LIPS[:10:-1])  # of the lips the upper edge comes first, then the lower one, both from the left


def overlay(prepared: Prepared) -> Picture:
    """The window framed and what is outside of it dimmed, its regions tinted, the faces marked."""
    picture, scale = _at_sight(prepared.picture)
    window = prepared.crop.box.scaled(scale)
    image = Image.fromarray(_tinted(np.asarray(picture), window, prepared.regions))
    pen = _Pen(image, scale)
    pen.rectangle(window.within(whole(picture.size)).inset(2 * pen.unit), 3)
    if prepared.found is not None:
        pen.faces(prepared.found)
    return np.array(image)


def numbered(picture: Picture, boxes: Sequence[Box]) -> Picture:
    """The faces from which one is still to be chosen."""
    image, scale = _at_sight(picture)
    pen = _Pen(image, scale)
    for number, box in enumerate(boxes):
        pen.face(number, box)
    return np.array(image)


def _at_sight(picture: Picture) -> tuple[Image.Image, float]:
    """Of a size to look at, and how many times larger that is."""
    height, width = picture.shape[:2]
    longest = max(width, height)
    scale = min(max(longest, SIDES[0]), SIDES[1]) / longest
    size = max(1, round(width * scale)), max(1, round(height * scale))
    return Image.fromarray(picture).resize(size, Image.Resampling.BICUBIC, reducing_gap=2), scale


def _tinted(picture: Picture, window: Box, regions: SoftMasks) -> Picture:
    """What lies outside of the window dimmed."""
    inside = window.within(whole((picture.shape[1], picture.shape[0])))
    there, here = inside.slices, inside.moved(-window.left, -window.top).slices
    shown = regions.at((max(1, int(window.width)), max(1, int(window.height))))
    part = picture[there].astype(np.float32)
    part += GRAYED * (part.mean(2, keepdims=True) - part)  # else warm skin and the colours for it look alike
    for region, (color, strength) in TINTS.items():
        weight = getattr(shown, region)[here][..., None] / np.float32(255) * strength
        part += weight * (np.array(color, np.float32) - part)
    result = (picture * DIMMED).astype(np.uint8)
    result[there] = part.round()
    return result


class _Pen:
    """Draws white lines with black edges, which show on everything; places are the picture's before it was scaled."""

    def __init__(self, image: Image.Image, scale: float):
        self.draw, self.scale = ImageDraw.Draw(image), scale
        self.unit = max(image.size) / SIDES[0]

    def faces(self, found: Found) -> None:
        if len(found.boxes) > 1:
            for number, box in enumerate(found.boxes):
                self.face(number, box, number == found.number)
        elif found.face.mesh is None:
            self.rectangle(found.face.box.scaled(self.scale), 2)
        if found.face.mesh is not None:
            for line in (OUTLINE, MOUTH):
                self.loop(found.face.mesh[list(line)] * self.scale)

    def face(self, number: int, box: Box, chosen: bool = False) -> None:
        """One of several."""
        self.rectangle(box.scaled(self.scale), 2 if chosen else 1)
        self.label(str(number), box.scaled(self.scale), chosen)

    def rectangle(self, box: Box, width: float) -> None:
        corners = [(box.left, box.top), (box.right, box.top), (box.right, box.bottom), (box.left, box.bottom)]
        self.loop(np.array(corners), width)

    def loop(self, points: Points, width: float = 1) -> None:
        line = [tuple(point) for point in (*points, *points[:2])]
        for color, extra in ((BLACK, 2), (WHITE, 0)):
            self.draw.line(line, color, round((width + extra) * self.unit), "curve")

    def label(self, text: str, box: Box, chosen: bool) -> None:
        """Above the box, if there is room."""
        font, edge = ImageFont.load_default(round(26 * self.unit)), round(5 * self.unit)
        ink, ground = (BLACK, WHITE) if chosen else (WHITE, BLACK)
        left, top, right, bottom = self.draw.textbbox((0, 0), text, font)
        width, height = right - left + 2 * edge, bottom - top + 2 * edge
        x, y = max(0, box.left), max(0, box.top - height)
        self.draw.rectangle((x, y, x + width, y + height), ground)
        self.draw.text((x + edge - left, y + edge - top), text, ink, font)
