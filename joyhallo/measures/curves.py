"""Correlations of curves over time, such as the opening of a mouth and the loudness of a sound."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

Curve = NDArray[np.float64]


def correlation(a: ArrayLike, b: ArrayLike) -> float:
    """Pearson's correlation; 0 if either curve is constant."""
    x, y = (_centred(np.asarray(curve, float)) for curve in (a, b))
    size = math.sqrt(float(x @ x) * float(y @ y))
    return float(x @ y) / size if size > 1e-12 else 0.0


def _centred(curve: Curve) -> Curve:
    return curve - curve.mean()


def partial(a: ArrayLike, b: ArrayLike, given: ArrayLike) -> float:
    """The partial correlation of a and b, controlling for `given`: (n), or several curves (n, k)."""
    return correlation(_unexplained(a, given), _unexplained(b, given))


def _unexplained(curve: ArrayLike, given: ArrayLike) -> Curve:
    y = np.asarray(curve, float)
    known = np.column_stack([np.ones(len(y)), np.asarray(given, float)])
    return y - known @ np.linalg.lstsq(known, y, rcond=None)[0]


def lagged(a: ArrayLike, b: ArrayLike, reach: int) -> Curve:
    """(2 * reach + 1): the correlation if `a` comes -reach..reach places after `b`."""
    x, y = np.asarray(a, float), np.asarray(b, float)
    size = len(x)
    return np.array([
        correlation(x[max(0, lag) : size + min(0, lag)], y[max(0, -lag) : size - max(0, lag)])
        for lag in range(-reach, reach + 1)
    ])  # fmt: skip


def best_lag(curves: Sequence[Curve]) -> int:
    """The lag at which several curves from `lagged` have the highest mean."""
    mean = np.mean(np.stack(curves), axis=0)
    return int(mean.argmax()) - len(mean) // 2
