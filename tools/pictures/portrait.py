"""The two people of the demo, drawn as the small model knows people, with masks of their faces and lips.

Ours to give away, and nobody's likeness.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from PIL import Image

from joyhallo.drawn.drawing import SIDE, Look, Pose, Sitter
from joyhallo.faces.boxes import Box, Points, joint
from joyhallo.faces.regions import drawn, face_rectangle, lip_rectangle

WALL = (224, 232, 234)
USUAL = Look(
    skin=(246, 208, 184),
    hair=(52, 35, 30),
    iris=(102, 67, 41),
    shirt=(56, 110, 143),
    wall=WALL,
    width=0.98,
    eye=1.02,
    lips=1.1,
    red=0.62,
    nose=0.95,
    brow=-0.4,
)
ANOTHER = Look(
    skin=(164, 114, 86),
    hair=(30, 22, 19),
    iris=(96, 62, 41),
    shirt=(212, 158, 74),
    wall=WALL,
    behind="short",
    before="open",
    mirrored=True,
    width=1.03,
    length=1.02,
    apart=1.03,
    eye=0.95,
    mouth=1.05,
    lips=1.05,
    red=0.5,
    nose=1.15,
    brow=-0.8,
)
COUPLE = USUAL, ANOTHER

SWAYS = 0.006  # how far the head comes from its place in most clips that were learnt from, in shares of the picture
MOVING = (
    *(Pose(opening=1.0, spread=spread) for spread in (-1.0, 0.0, 1.0)),
    *(Pose(x=x, y=y) for x in (-SWAYS, SWAYS) for y in (-SWAYS, SWAYS)),
)


@cache
def sitter(look: Look = USUAL, size: int = SIDE) -> Sitter:
    return Sitter(look, size)


def portrait(look: Look = USUAL) -> Image.Image:
    return speaking(0, look)


def speaking(opening: float, look: Look = USUAL) -> Image.Image:
    """The portrait with its mouth between shut (0) and wide open (1)."""
    return Image.fromarray(sitter(look).picture(saying(opening)))


def saying(opening: float) -> Pose:
    """A pose with the corners of the mouth apart, which looks friendlier."""
    return Pose(opening, spread=opening)


def couple(left: float = 0, right: float = 0) -> Image.Image:
    """Two people side by side, and how far their mouths are open."""
    pictures = [np.asarray(speaking(opening, look)) for opening, look in zip((left, right), COUPLE, strict=True)]
    return Image.fromarray(np.concatenate(pictures, 1))


def couple_masks() -> Image.Image:
    """Red is the face on the left, green the one on the right, blue the lips of both."""
    (left, right), nobody = (drawn(face_box(look), (SIDE, SIDE)) for look in COUPLE), np.zeros((SIDE, SIDE), np.uint8)
    lips = [drawn(lip_box(look), (SIDE, SIDE)) for look in COUPLE]
    rows = [(left, nobody), (nobody, right), lips]
    return Image.fromarray(np.stack([np.concatenate(row, 1) for row in rows], 2))


def known() -> list[tuple[Image.Image, list[Points]]]:
    """The pictures with the meshes of their faces."""
    left, right = (sitter(look).mesh() for look in COUPLE)
    return [(portrait(), [left]), (couple(), [left, right + np.array([SIDE, 0])])]


def face_box(look: Look = USUAL) -> Box:
    return joint([face_rectangle(sitter(look).mesh(pose), (SIDE, SIDE), 1.0) for pose in MOVING])


def lip_box(look: Look = USUAL) -> Box:
    return joint([lip_rectangle(sitter(look).mesh(pose), (SIDE, SIDE), 1.0) for pose in MOVING])


def mask(box: Box) -> Image.Image:
    """White where it is; a rectangle that spans whatever moves, as the model was taught."""
    return Image.fromarray(drawn(box, (SIDE, SIDE)))
