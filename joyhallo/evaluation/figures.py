"""Measures of clips and pictures."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from ..measures.curves import Curve

Film = NDArray[np.uint8]  # (frames, height, width, 3)
Where = NDArray[np.bool_]  # (height, width)

RESAMPLINGS = 2000
WHITE = 255.0


# ---- of several clips


def interval(
    values: Sequence[float], statistic: Callable[..., float] = np.mean, share: float = 0.95
) -> tuple[float, float]:
    """The confidence interval of a statistic, by the bootstrap's percentiles."""
    known, dice = np.asarray(values, float), np.random.default_rng(0)
    drawn = [statistic(known[dice.integers(len(known), size=len(known))]) for _ in range(RESAMPLINGS)]
    low, high = np.quantile(drawn, [(1 - share) / 2, (1 + share) / 2])
    return float(low), float(high)


# ---- pictures


def psnr(a: Film, b: Film, where: Where) -> float:
    """PSNR over all frames together, in dB."""
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
