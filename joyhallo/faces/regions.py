"""Face and lip regions of a mesh: outlines, rectangles and hard masks, equal to the original's."""

from __future__ import annotations

from itertools import chain

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from .boxes import Box, Points, Size, around

Mask = NDArray[np.uint8]

# Of the 468 or 478 points of MediaPipe's face mesh: the outline of the face and of the lips.
# fmt: off
OUTLINE = (
    10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377,
    152, 148, 176, 149, 150, 136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109,
)
LIPS = (61, 185, 40, 39, 37, 0, 267, 269, 270, 409, 291, 146, 91, 181, 84, 17, 314, 405, 321, 375)

# Lines from the picture's left to its right; of eyes and brows a pair.
OUTER_UPPER, OUTER_LOWER = LIPS[:11], (61, *LIPS[11:], 291)
INNER_UPPER = (78, 191, 80, 81, 82, 13, 312, 311, 310, 415, 308)
INNER_LOWER = (78, 95, 88, 178, 87, 14, 317, 402, 318, 324, 308)
UPPER_LIDS = ((33, 246, 161, 160, 159, 158, 157, 173, 133), (362, 398, 384, 385, 386, 387, 388, 466, 263))
LOWER_LIDS = ((33, 7, 163, 144, 145, 153, 154, 155, 133), (362, 382, 381, 380, 374, 373, 390, 249, 263))
BROWS = ((46, 53, 52, 65, 55), (285, 295, 282, 283, 276))  # their lower borders
UPPER_BROWS = ((70, 63, 105, 66, 107), (336, 296, 334, 293, 300))
NOSE_OUTLINE = (168, 129, 98, 2, 327, 358)  # from between the eyes around both wings
# fmt: on
JAW = OUTLINE[10:27]  # from the height of the nose down to the chin, and up again
CHIN, UNDER_NOSE, NOSE_TIP = 152, 2, 1
FOREHEAD = (10, 338, 297, 332, 109, 67, 103)  # of the outline, its uppermost point first
BRIDGE = 195  # the third of the four points that others find on the bridge of the nose
NOSE_RIDGE = (5, 4, 129, 358)  # from the bridge to the tip, and both wings

# All that films are redubbed by: of every look at a face no others are kept.
FOLLOWED = tuple(sorted({*OUTLINE, *LIPS, *NOSE_OUTLINE, BRIDGE, *NOSE_RIDGE, *chain(*UPPER_BROWS)}))

FACE_EXPAND = 1.2
LIP_EXPAND = 2.0


def face_rectangle(points: Points, size: Size, expand: float = FACE_EXPAND) -> Box:
    return expanded(around(points[list(OUTLINE)]), expand, size)


def lip_rectangle(points: Points, size: Size, expand: float = LIP_EXPAND) -> Box:
    return expanded(around(points[list(LIPS)]), expand, size)


def expanded(box: Box, ratio: float, size: Size) -> Box:
    """Grow the box about its middle and move it into the picture, in whole pixels.

    Rounding and floor divisions are the original's. A box larger than the picture is clipped to it; the original
    would lose the rectangle.
    """
    left, right = _expanded_side(round(box.left), round(box.right), ratio, size[0])
    top, bottom = _expanded_side(round(box.top), round(box.bottom), ratio, size[1])
    return Box(left, top, right, bottom)


def _expanded_side(low: int, high: int, ratio: float, limit: int) -> tuple[int, int]:
    middle, half = (low + high) // 2, ((high - low) * ratio) // 2
    start, end = middle - half, middle + half
    if start < 0:
        start, end = 0, end - start
    if end > limit:
        start, end = start - (end - limit), limit
    return max(0, round(start)), round(end)


def drawn(box: Box, size: Size) -> Mask:
    """A filled rectangle, 255 on 0."""
    mask = np.zeros(size[::-1], np.uint8)
    mask[int(box.top) : int(box.bottom), int(box.left) : int(box.right)] = 255
    return mask


def resized(picture: NDArray[np.uint8], size: Size) -> NDArray[np.uint8]:
    """Resize bilinearly, with antialiasing when shrinking."""
    return np.array(Image.fromarray(picture).resize(size, Image.Resampling.BILINEAR))


def smoothly(mask: Mask, size: Size) -> Mask:
    """Resize bicubically: enlarging and then shrinking restores the mask, where bilinear would blur it twice."""
    return np.array(Image.fromarray(mask).resize(size, Image.Resampling.BICUBIC))
