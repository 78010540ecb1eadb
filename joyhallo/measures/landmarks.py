"""What face meshes tell of a film: mouth, brows and head over time, and how near they are to a truth's.

Meshes are (frames, 468 or 478, 2) in pixels, a frame's points NaN where no face was found. What cannot be told of them
is NaN. Curves have a value for each frame. THEval judges its measures by how close they are to those of real footage
(`closeness`): more motion is not better.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from ..faces.boxes import Points, Size
from ..faces.regions import BROWS, INNER_LOWER, INNER_UPPER, LIPS, LOWER_LIDS, NOSE_TIP, UNDER_NOSE, UPPER_LIDS
from ..sound.pauses import runs
from .curves import Curve

Mask = NDArray[np.bool_]  # (frames)

# fmt: off
UPPER, LOWER = list(INNER_UPPER[1:9]), list(INNER_LOWER[1:9])  # of the mouth, as THEval pairs them
CORNERS = ((33, 133), (362, 263))  # of each eye
OUTER = (33, 263)
EYES = [sorted({*above, *below}) for above, below in zip(UPPER_LIDS, LOWER_LIDS, strict=True)]
EYEBROWS = [[*low, *high] for low, high in zip(BROWS, ((70, 63, 105, 66, 107), (336, 296, 334, 293, 300)), strict=True)]
MOUTH = sorted({*LIPS, *INNER_UPPER, *INNER_LOWER})  # 40 points
# The points of the mesh that lie where the 68 of dlib do: jaw, brows, nose, eyes, and the mouth's 20 last.
SIXTY_EIGHT = [
    162, 234, 93, 58, 172, 136, 149, 148, 152, 377, 378, 365, 397, 288, 323, 454, 389,
    71, 63, 105, 66, 107, 336, 296, 334, 293, 301, 168, 197, 5, 4, 75, 97, 2, 326, 305,
    33, 160, 158, 133, 153, 144, 362, 385, 387, 263, 373, 380,
    61, 39, 37, 0, 267, 269, 291, 405, 314, 17, 84, 181, 78, 82, 13, 312, 308, 317, 14, 87,
]
# fmt: on
TWENTY = SIXTY_EIGHT[-20:]
SCALED = 256  # pixels along each side of the picture that THEval looks at
SILENCE = 0.3  # seconds at least
LEAST_SPEECH = 0.1  # share of a clip
EPSILON = 1e-8

# An average head, over the distance of the eyes' outer corners: how far the nose's tip stands out before them, and how
# far below them tip and underside of the nose are.
TIP_OUT, TIP_DOWN, UNDER_OUT, UNDER_DOWN = 0.484, 0.426, 0.324, 0.535


def seen(meshes: Points) -> Mask:
    """In which frames a face was found."""
    return np.asarray(~np.isnan(meshes).any((1, 2)))


# ---- the mouth


def opening(meshes: Points) -> Curve:
    """The inner lips' distance over that of the eyes' centres across."""
    apart = np.abs(meshes[:, UPPER, 1].mean(1) - meshes[:, LOWER, 1].mean(1))
    left, right = (meshes[:, list(eye), 0].mean(1) for eye in CORNERS)
    return _over(apart, np.abs(right - left))


def lip_sync_gap(opening: Curve, loudness: Curve, speech: Mask) -> float:
    """THEval's lip-sync: how far mouth and sound (`rms`) differ while somebody speaks, each in shares of its range.

    0 is best; a mouth that is open as much as a sound is loud is not what people do, so real footage has some 0.2.
    """
    known = speech & ~np.isnan(opening)
    if speech.mean() < LEAST_SPEECH or known.sum() < 2:
        return float("nan")
    mouth, sound = (_in_its_range(curve[known]) for curve in (opening, loudness))
    return float(np.abs(mouth - sound).mean())


def rms(samples: NDArray[np.floating], rate: int, frames: int, fps: float) -> Curve:
    """The loudness that THEval hears at each frame: of blocks of 50 ms, one around each twentieth of a second."""
    size = int(rate * 0.05)
    padded = np.pad(np.asarray(samples, float), (size // 2, size - size // 2))
    blocks = padded[: len(padded) // size * size].reshape(-1, size)[: 1 + len(samples) // size]
    heard = np.sqrt(np.square(blocks).mean(1))
    return np.interp(np.arange(frames) / fps, np.arange(len(heard)) * size / rate, heard)


def silent_lips(meshes: Points, silent: Mask, size: Size, fps: float) -> float:
    """THEval's silent lip stability: how far lips usually are from their mean in silences of 300 ms and more.

    0 for a mouth at rest; the best single check for one that mumbles. size: the frames' width and height.
    """
    points = _scaled(meshes, size)
    apart = np.abs(points[:, UPPER, 1] - points[:, LOWER, 1]).mean(1)
    quiet = np.zeros(len(meshes), bool)
    for start, stop in runs(torch.from_numpy(silent)):
        quiet[start:stop] = stop - start >= SILENCE * fps
    lips = _over(apart, _distance(points, *OUTER))[quiet & seen(meshes)]
    return float(np.median(np.abs(lips - lips.mean()))) if len(lips) > 1 else float("nan")


def lip_dynamics(meshes: Points, size: Size) -> float:
    """THEval's lip dynamics: how much the distances among the lips' 40 points vary, in 256ths of the frame."""
    points = _scaled(meshes, size)[seen(meshes)][:, MOUTH]
    if len(points) < 2:
        return float("nan")
    spreads = [np.linalg.norm(points[:, at + 1 :] - points[:, at, None], axis=2).std(0) for at in range(len(MOUTH) - 1)]
    return float(np.concatenate(spreads).mean())


# ---- brows and head


def brow_dynamics(meshes: Points) -> float:
    """THEval's eyebrow dynamics: the mean change from frame to frame of a brow's height above its eye."""
    points = meshes[seen(meshes)]
    if len(points) < 2:
        return float("nan")
    eyes, brows = ([points[:, part].mean(1) for part in parts] for parts in (EYES, EYEBROWS))
    between = np.linalg.norm(eyes[0] - eyes[1], axis=1)
    heights = [_over(np.linalg.norm(brow - eye, axis=1), between) for eye, brow in zip(eyes, brows, strict=True)]
    return float(np.nanmean(np.abs(np.diff(heights, axis=1))))


def angles(meshes: Points) -> NDArray[np.float64]:
    """(frames, 3): estimates of pitch, yaw and roll in degrees; down, right and clockwise as seen are positive.

    Roll is the angle of the line through the eyes. A head of average proportions, seen from afar, shows the tip of its
    nose beside the middle of its eyes by `TIP_OUT * tan(yaw)` of their distance; pitch moves the tip and the underside
    of the nose, which stand out differently far, and follows from the ratio of their heights. Another head's pitch and
    yaw are a little off, by the same in every frame: compare changes, not angles, and only with those found here.
    """
    left, right = meshes[:, OUTER[0]], meshes[:, OUTER[1]]
    across = right - left
    roll = np.arctan2(across[:, 1], across[:, 0])
    middle, eyes = (left + right) / 2, np.hypot(*across.T)
    tip, under = (_turned(meshes[:, point] - middle, -roll) / eyes[:, None] for point in (NOSE_TIP, UNDER_NOSE))
    yaw = np.arctan2(tip[:, 0], TIP_OUT)
    ratio = tip[:, 1] / under[:, 1]
    pitch = np.arctan2(UNDER_DOWN * ratio - TIP_DOWN, TIP_OUT - UNDER_OUT * ratio)
    return np.degrees(np.stack([pitch, yaw, roll], 1))


def head_motion_estimate(meshes: Points) -> float:
    """THEval's formula of head motion on the angles that are estimated here: it has a network for them and a detector's
    boxes for positions, so its numbers are others."""
    points = meshes[seen(meshes)]
    if len(points) < 3:
        return float("nan")
    turns, places = angles(points), (points.min(1) + points.max(1)) / 2
    restless = np.diff(turns, axis=0).var(0).mean()
    return float(np.sqrt(turns.std(0).mean() * restless + places.var(0).mean()))


def closeness(found: float, truth: float) -> float:
    """THEval's score of a measure: 1 where it is as in real footage."""
    return 1 - abs(found - truth) / abs(truth) if truth else float("nan")


# ---- against a truth


def landmark_distance(meshes: Points, truth: Points) -> Curve:
    """LMD: of the mouth's 20 points, beside where the mouth is, over the distance of the truth's eyes.

    (frames that both have), NaN where a face is missing; its mean over the others is a clip's.
    """
    return _apart(meshes, truth, TWENTY)


def keypoint_distance(meshes: Points, truth: Points) -> Curve:
    """AKD: the same of the 68 points."""
    return _apart(meshes, truth, SIXTY_EIGHT)


def _apart(meshes: Points, truth: Points, points: list[int]) -> Curve:
    count = min(len(meshes), len(truth))
    placed = [found[:count, points] - found[:count, points].mean(1, keepdims=True) for found in (meshes, truth)]
    distances = np.linalg.norm(placed[0] - placed[1], axis=2).mean(1)
    return _over(distances, _distance(truth[:count], *OUTER))


# ---- arithmetic


def _scaled(meshes: Points, size: Size) -> Points:
    return meshes * SCALED / np.asarray(size, float)


def _distance(points: Points, a: int, b: int) -> Curve:
    return np.linalg.norm(points[:, a] - points[:, b], axis=1)


def _over(values: Curve, scale: Curve) -> Curve:
    return np.divide(values, scale, out=np.full(len(values), np.nan), where=scale > 0)


def _in_its_range(curve: Curve) -> Curve:
    return (curve - curve.min()) / (curve.max() - curve.min() + EPSILON)


def _turned(points: Points, angle: Curve) -> Points:
    x, y, cosine, sine = points[:, 0], points[:, 1], np.cos(angle), np.sin(angle)
    return np.stack([cosine * x - sine * y, sine * x + cosine * y], 1)
