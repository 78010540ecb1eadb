"""Notices about a picture that is to speak: what a user could do better."""

from __future__ import annotations

import logging
from collections.abc import Iterator

from ...faces.find import Face, turn
from ...notices import Notice, noticed
from .face import Features

log = logging.getLogger(__name__)

FINE = 24  # pixels from corner to corner of a mouth; below it teeth and lips are a few dots
OPEN = 0.3  # from lip to lip, over half the mouth's width
TURNED = 0.3  # eye distances by which the nose is off the middle: a head turned by some 30 degrees


def of_features(features: Features) -> Iterator[Notice]:
    width = 2 * features.mouth.unit
    if width < FINE:
        yield noticed(
            log,
            "small_mouth",
            "The mouth is only {width} pixels wide, so little of its movement is seen. Use a picture where the face is "
            "larger.",
            width=round(width),
        )
    middle = len(features.inner_upper) // 2
    if features.inner_lower[middle, 1] - features.inner_upper[middle, 1] > OPEN:
        yield noticed(
            log,
            "open_mouth",
            "The mouth is wide open in the picture, which shows when it closes. A picture with closed lips speaks "
            "better.",
        )


def of_face(face: Face, others: int) -> Iterator[Notice]:
    """others: faces that nobody chose among"""
    if face.marks is not None and turn(face.marks) > TURNED:
        yield noticed(
            log,
            "turned_head",
            "The head is turned to the side, and only what the picture shows can move. A face seen from the front "
            "speaks better.",
        )
    if others:
        yield noticed(
            log,
            "largest_speaks",
            "{count} faces were found, and the largest of them speaks. To let another one speak, paint it as "
            "face_mask.",
            count=others + 1,
        )
