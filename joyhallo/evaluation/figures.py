"""Figures of curves and pictures: numbers in, a number out."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

Curve = NDArray[np.float64]
Film = NDArray[np.uint8]  # (frames, height, width, 3)
Where = NDArray[np.bool_]  # (height, width)

RESAMPLINGS = 2000
WHITE = 255.0


# ---- curves


def correlation(a: ArrayLike, b: ArrayLike) -> float:
    """Pearson's. What does not move goes with nothing: 0."""
    x, y = (_centred(np.asarray(curve, float)) for curve in (a, b))
    size = math.sqrt(float(x @ x) * float(y @ y))
    return float(x @ y) / size if size > 1e-12 else 0.0


def _centred(curve: Curve) -> Curve:
    return curve - curve.mean()


def partial(a: ArrayLike, b: ArrayLike, given: ArrayLike) -> float:
    """What is left of the correlation when both are freed of what `given` explains: (n), or several curves (n, k)."""
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
    """Of several curves of `lagged`, together."""
    mean = np.mean(np.stack(curves), axis=0)
    return int(mean.argmax()) - len(mean) // 2


def interval(
    values: Sequence[float], statistic: Callable[..., float] = np.mean, share: float = 0.95
) -> tuple[float, float]:
    """Between which the statistic lies if the values are drawn again from themselves (the bootstrap's percentiles)."""
    known, dice = np.asarray(values, float), np.random.default_rng(0)
    drawn = [statistic(known[dice.integers(len(known), size=len(known))]) for _ in range(RESAMPLINGS)]
    low, high = np.quantile(drawn, [(1 - share) / 2, (1 + share) / 2])
    return float(low), float(high)


# ---- pictures


def psnr(a: Film, b: Film, where: Where) -> float:
    """Of all frames together, in dB."""
    error = (a[:, where].astype(float) - b[:, where]) ** 2
    return 10 * math.log10(WHITE**2 / max(float(error.mean()), 1e-12))


def steps(film: Film, where: Where) -> Curve:
    """(frames - 1): how far a frame is from the one before, in levels of 255."""
    return distances(film[1:], film[:-1], where)


def distances(a: Film, b: Film, where: Where) -> Curve:
    """(frames): the mean difference of each pair, in levels of 255."""
    return np.abs(a[:, where].astype(float) - b[:, where]).mean((1, 2))


def nearest(film: Film, known: Film, where: Where) -> NDArray[np.int64]:
    """(frames): the number of the known picture that each is nearest to, by mean square."""
    seen, pictures = (some[:, where].reshape(len(some), -1).astype(float) for some in (film, known))
    apart = (seen**2).sum(1)[:, None] - 2 * seen @ pictures.T + (pictures**2).sum(1)
    return apart.argmin(1)
