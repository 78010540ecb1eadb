"""Faces stand alike for LatentSync: both brows and the nose of each frame lead onto a canvas three wide, four high."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from ...faces.boxes import Size
from ...faces.regions import NOSE_RIDGE, UPPER_BROWS
from ...faces.steady import averaged, stretches
from ...faces.track import Track

Floats = NDArray[np.float64]

SIDE = 256  # of faces, for which the canvas was drawn
CANVAS, ENLARGED = (75, 100), 2.8
TEMPLATE = np.array([[17.0, 20.0], [58.0, 20.0], [37.5, 40.0]])  # brows left and right in the picture, nose
KEPT = 0.2  # of the shift of the frame before
LEAST = 0.5  # pixels by which the three points must be spread, or there is no face to see

# Chosen to lie where the points lie that the original averages, which are of another model.
MESH = (*UPPER_BROWS, NOSE_RIDGE)

# Where five points or a box are all there is, the three are put where they lie in the mesh of an average face: brows
# above and outside the eyes, in distances of the eyes; all three in shares of a box, which begins at the hairline.
BROW_UP, BROW_OUT, NOSE_UP = 0.37, 0.09, 0.05
IN_BOX = np.array([[0.256, 0.283], [0.744, 0.283], [0.5, 0.558]])


def scale(size: int) -> float:
    return size / SIDE * ENLARGED


def canvas(size: int) -> Size:
    """Width and height, of which faces of this side are made, and which they become again."""
    return int(CANVAS[0] * scale(size)), int(CANVAS[1] * scale(size))


def three_points(track: Track) -> Floats:
    """(frames, 3, 2), NaN where the face is unknown."""
    if track.scheme == "mesh":
        return np.stack([track.points[:, list(some)].astype(np.float64).mean(1) for some in MESH], axis=1)
    if track.scheme == "marks":
        return _of_marks(track.points[:].astype(np.float64))
    corners = track.boxes.astype(np.float64).reshape(-1, 2, 2)
    return corners[:, :1] + IN_BOX * (corners[:, 1:] - corners[:, :1])


def _of_marks(points: Floats) -> Floats:
    eyes, nose = points[:, :2], points[:, 2]
    right = eyes[:, 1] - eyes[:, 0]  # as long as the eyes are apart
    up = np.stack([right[:, 1], -right[:, 0]], axis=1)
    left_brow = eyes[:, 0] + BROW_UP * up - BROW_OUT * right
    right_brow = eyes[:, 1] + BROW_UP * up + BROW_OUT * right
    return np.stack([left_brow, right_brow, nose + NOSE_UP * up], axis=1)


def matrices(track: Track, size: int, smoothing: str) -> Floats:
    """(frames, 2, 3): pixels of a picture -> those of the canvas; NaN where the face is unknown.

    original: points are rounded, as faces were for training, and shifts lag behind; none: these do not. centred:
    points are averaged over time and not rounded. Nothing passes from shot to shot, nor over a gap.
    """
    points = three_points(track)
    found = np.full((len(points), 2, 3), np.nan)
    for stretch in stretches(track):
        some = points[stretch]
        some = averaged(torch.from_numpy(some).flatten(1)).view(-1, 3, 2).numpy() if smoothing == "centred" else some
        kept = KEPT if smoothing == "original" else 0.0
        found[stretch] = aligned(some if smoothing == "centred" else some.round(), size, kept)
    return found


def aligned(points: Floats, size: int, kept: float = KEPT) -> Floats:
    """points (frames, 3, 2) of one stretch -> (frames, 2, 3)."""
    found, left = fitted(points, size)
    found[:, :, 2] += lagging(left, kept)
    return found


def fitted(points: Floats, size: int) -> tuple[Floats, Floats]:
    """The matrices that give the points the turn, scale and middle of the template, and what is left to the nose.

    The scale is that of their spreads. What is left (frames, 2) is in units of the spread and yet added in pixels, as
    in the original: it moves a face by a pixel or so, at any size.
    """
    template = TEMPLATE * scale(size)
    middles, goal = points.mean(1), template.mean(0)
    spreads, wide = (points - middles[:, None]).reshape(-1, 6).std(1, ddof=1), (template - goal).std(ddof=1)
    seen = np.isfinite(spreads) & (spreads >= LEAST)
    spreads = np.where(seen, spreads, np.nan)
    alike, wanted = (points - middles[:, None]) / spreads[:, None, None], (template - goal) / wide
    u, _, v = np.linalg.svd(np.nan_to_num(alike).transpose(0, 2, 1) @ wanted)
    v[np.linalg.det(u @ v) < 0, -1] *= -1
    turns = (u @ v).transpose(0, 2, 1) * (wide / spreads)[:, None, None]
    shifts = goal - (turns @ middles[..., None])[..., 0]
    return np.concatenate([turns, shifts[..., None]], axis=2), wanted[2] - alike[:, 2]


def lagging(shifts: Floats, kept: float) -> Floats:
    """Each with a part of the one before it, as it was in turn; the first, and what follows unknown ones, as it is."""
    found: list[Floats] = []
    for shift in shifts:
        known = found and np.isfinite(found[-1]).all()
        found.append(kept * found[-1] + (1 - kept) * shift if known else shift)
    return np.stack(found) if found else shifts
