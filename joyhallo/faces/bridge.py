"""The bridge of the nose, and how far the face below it reaches: what several methods cut by."""

from __future__ import annotations

import numpy as np

from .boxes import Points
from .regions import BRIDGE, OUTLINE
from .track import Track

CHEEKS = OUTLINE[7:30]  # of the mesh, from ear to ear below the eyes: the forehead is wider than what others find
DOWN_THE_NOSE = 0.62  # from the line of the eyes to the tip, where nothing but these is known
DOWN_THE_FACE = 0.41  # from the hairline to the chin, where nothing but these is known


def landmarks(track: Track) -> Points:
    """(frames, points, 2): a place on the bridge of the nose, and what reaches to the chin and both cheeks."""
    if track.scheme == "mesh":
        return track.points[:, [BRIDGE, *CHEEKS]]
    left, top, right, bottom = track.boxes.T
    middle = top + DOWN_THE_FACE * (bottom - top)
    if track.scheme == "marks":
        eyes, nose = track.points[:, :2, 1].mean(1), track.points[:, 2, 1]
        middle = eyes + DOWN_THE_NOSE * (nose - eyes)
    return np.stack([np.stack([left, middle], 1), np.stack([left, bottom], 1), np.stack([right, bottom], 1)], 1)
