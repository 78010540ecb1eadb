"""Tracks of one upright face, in each scheme of points, for methods whose boxes follow from the bridge of the nose."""

from fractions import Fraction

import numpy as np

from joyhallo.faces.regions import BRIDGE, OUTLINE
from joyhallo.faces.track import Track

SIZE = (200, 260)
LEFT, RIGHT, MIDDLE = 40.0, 160.0, 100.0
TOP, BRIDGE_AT, CHIN_AT = 50.0, 110.0, 190.0
TURNS = np.linspace(0, 2 * np.pi, len(OUTLINE), endpoint=False)


def mesh() -> np.ndarray:
    """Its forehead is wider than its cheeks."""
    points = np.full((478, 2), (MIDDLE, BRIDGE_AT))
    down = -np.cos(TURNS)
    outline = np.stack([MIDDLE + (RIGHT - MIDDLE) * np.sin(TURNS), CHIN_AT - 70 + 70 * down], axis=1)
    outline[down < -0.5, 0] = MIDDLE + 90 * np.sin(TURNS)[down < -0.5]
    points[list(OUTLINE)] = outline
    points[BRIDGE] = MIDDLE, BRIDGE_AT
    return points


POINTS = {
    "mesh": mesh(),
    "marks": np.array([[70.0, 90], [130, 90], [100, 122], [80, 150], [120, 150]]),
    "none": np.zeros((0, 2)),
}


def track(scheme: str = "mesh", count: int = 3, found: list[bool] | None = None, **more) -> Track:
    boxes = np.tile(np.array([LEFT, TOP, RIGHT, CHIN_AT], np.float32), (count, 1))
    points = np.tile(POINTS[scheme].astype(np.float32), (count, 1, 1))
    if found is not None:
        boxes[~np.array(found)] = np.nan
        points[~np.array(found)] = np.nan
    return Track(boxes, points, np.ones(count, np.float32), scheme, SIZE, Fraction(25), **more)
