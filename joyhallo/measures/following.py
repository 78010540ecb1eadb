"""How well a mouth follows a sound: correlation of its opening with the loudness, lag by lag, beside chance.

It needs no network. It ranks clips by their sync as a network would, but its numbers are not Sync-C.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from .curves import Curve, lagged

REACH = 15  # frames that a mouth may be early or late
SHUFFLES = 20
SHORTEST = 5 * REACH  # frames
LEAST_KNOWN = 0.5  # share of the frames with a face


@dataclass(frozen=True)
class Following:
    correlations: Curve  # (2 * REACH + 1): if the mouth comes -REACH..REACH frames after the sound
    chance: Curve  # (SHUFFLES): the best correlation with sounds that are not this film's
    fps: float

    @property
    def lag(self) -> int:
        """Frames by which the mouth comes after the sound, where they agree best."""
        return int(self.correlations.argmax()) - len(self.correlations) // 2

    @property
    def milliseconds(self) -> float:
        return 1000 * self.lag / self.fps

    @property
    def correlation(self) -> float:
        """At the best lag."""
        return float(self.correlations.max())

    @property
    def z(self) -> float:
        """How far the correlation is above chance, in the standard deviations of chance; some 2 may be luck."""
        spread = float(self.chance.std(ddof=1)) if len(self.chance) > 1 else 0.0
        return (self.correlation - float(self.chance.mean())) / spread if spread else float("nan")


def followed(opening: ArrayLike, loudness: ArrayLike, fps: float, others: Sequence[ArrayLike] = ()) -> Following | None:
    """opening, loudness: (frames) each; where no face was seen the opening is NaN, and taken as on its way between its
    neighbours. others: the loudness of other films, as the measure of chance; without them it is this one's, begun
    elsewhere. None where half of the frames or more have no face, or are too few.
    """
    mouth, sound = np.asarray(opening, float), np.asarray(loudness, float)
    count = min(len(mouth), len(sound))
    mouth, sound = mouth[:count], sound[:count]
    if count < SHORTEST or np.isnan(mouth).mean() >= LEAST_KNOWN:
        return None
    mouth = between(mouth)
    strangers = [np.resize(np.asarray(other, float), count) for other in others] or begun_elsewhere(sound)
    chance = np.array([lagged(mouth, stranger, REACH).max() for stranger in strangers])
    return Following(lagged(mouth, sound, REACH), chance, fps)


def between(curve: Curve) -> Curve:
    """What is NaN, on a line between what is known."""
    places, known = np.arange(len(curve)), ~np.isnan(curve)
    return np.interp(places, places[known], curve[known])


def begun_elsewhere(sound: Curve) -> list[Curve]:
    """The sound rotated so far that no lag which is looked at brings a mouth near its own sound again."""
    far = 2 * REACH + 1
    starts = np.linspace(far, len(sound) - far, SHUFFLES)
    return [np.roll(sound, round(start)) for start in starts]
