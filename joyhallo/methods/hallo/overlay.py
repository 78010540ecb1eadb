"""Preview pictures: `overlay` shows the window, the face and the regions, `numbered` the faces to choose from."""

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

# Of Okabe and Ito's palette, chosen so that the colour-blind can distinguish neighbours; and how strongly they tint.
TINTS = {"pose": ((204, 121, 167), 0.4), "expression": ((240, 228, 66), 0.4), "lip": ((0, 114, 178), 0.65)}

MOUTH = (*LIPS[:11], *LIPS[:10:-1])  # LIPS lists the upper edge first, then the lower one, both from the left


def overlay(prepared: Prepared) -> Picture:
    """Frame the window, dim what is outside it, tint its regions and mark the faces."""
    picture, scale = _at_sight(prepared.picture)
    window = prepared.crop.box.scaled(scale)
    image = Image.fromarray(_tinted(np.asarray(picture), window, prepared.regions))
    pen = _Pen(image, scale)
    pen.rectangle(window.within(whole(picture.size)).inset(2 * pen.unit), 3)
    if prepared.found is not None:
        pen.faces(prepared.found)
    return np.array(image)


def numbered(picture: Picture, boxes: Sequence[Box]) -> Picture:
    """Number all faces, none of them chosen yet."""
    image, scale = _at_sight(picture)
    pen = _Pen(image, scale)
    for number, box in enumerate(boxes):
        pen.face(number, box)
    return np.array(image)


def _at_sight(picture: Picture) -> tuple[Image.Image, float]:
    """The picture at a size for viewing, and its scale."""
    height, width = picture.shape[:2]
    longest = max(width, height)
    scale = min(max(longest, SIDES[0]), SIDES[1]) / longest
    size = max(1, round(width * scale)), max(1, round(height * scale))
    return Image.fromarray(picture).resize(size, Image.Resampling.BICUBIC, reducing_gap=2), scale


def _tinted(picture: Picture, window: Box, regions: SoftMasks) -> Picture:
    """Tint the regions, and dim what lies outside the window."""
    inside = window.within(whole((picture.shape[1], picture.shape[0])))
    there, here = inside.slices, inside.moved(-window.left, -window.top).slices
    shown = regions.at((max(1, int(window.width)), max(1, int(window.height))))
    part = picture[there].astype(np.float32)
    part += GRAYED * (part.mean(2, keepdims=True) - part)  # otherwise the tints look like warm skin
    for region, (color, strength) in TINTS.items():
        weight = getattr(shown, region)[here][..., None] / np.float32(255) * strength
        part += weight * (np.array(color, np.float32) - part)
    result = (picture * DIMMED).astype(np.uint8)
    result[there] = part.round()
    return result


class _Pen:
    """Draws white lines with black edges, visible on any ground; coordinates are those of the unscaled picture."""

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
        """Frame and number one of several faces."""
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
        """Write a label above the box, if there is room."""
        font, edge = ImageFont.load_default(round(26 * self.unit)), round(5 * self.unit)
        ink, ground = (BLACK, WHITE) if chosen else (WHITE, BLACK)
        left, top, right, bottom = self.draw.textbbox((0, 0), text, font)
        width, height = right - left + 2 * edge, bottom - top + 2 * edge
        x, y = max(0, box.left), max(0, box.top - height)
        self.draw.rectangle((x, y, x + width, y + height), ground)
        self.draw.text((x + edge - left, y + edge - top), text, ink, font)
