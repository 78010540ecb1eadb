"""Boxes over time: within which frames they belong together, and how they are smoothed there."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from torch import Tensor
from torch.nn import functional as F

from .track import Track

SPAN = 5  # frames that are averaged


def stretches(track: Track) -> list[slice]:
    """Frames in a row that show the face, in one shot."""
    found = track.found
    borders = sorted({0, len(found), *track.cuts, *(np.flatnonzero(np.diff(found.astype(np.int8))) + 1).tolist()})
    return [slice(start, stop) for start, stop in pairwise(borders) if found[start]]


def centred(boxes: Tensor) -> Tensor:
    """boxes (n, 4) of one stretch -> each the mean of itself and two on either side, in whole pixels."""
    return averaged(boxes).round().long()


def averaged(numbers: Tensor) -> Tensor:
    """numbers (n, values) of one stretch -> each the mean of itself and two on either side.

    That neither runs ahead of the face nor lags behind. At both ends there are fewer.
    """
    means = F.avg_pool1d(numbers.T.double()[:, None], SPAN, 1, SPAN // 2, count_include_pad=False)
    return means[:, 0].T
