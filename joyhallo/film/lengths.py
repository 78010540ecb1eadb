"""Which picture of a film each frame of the result shows, where the sound is longer or shorter than the film."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

Short = Literal["loop", "bounce", "hold", "stretch", "stop"]  # what a film does that ends before the sound
Long = Literal["cut", "keep"]  # whether one that ends after it goes on without a voice

Places = NDArray[np.int64]  # (frames): the number of the picture that each shows
BACKWARDS = 32  # pictures that are held at a time, to be shown from the last to the first


def places(film: int, wanted: int, short: Short, long: Long) -> Places:
    """film: its pictures; wanted: frames that the sound lasts."""
    numbers = np.arange(wanted, dtype=np.int64)
    if film >= wanted:
        return numbers if long == "cut" else np.arange(film, dtype=np.int64)
    if short == "loop":
        return numbers % film
    if short == "bounce":  # neither end is shown twice
        period = max(1, 2 * film - 2)
        return np.minimum(numbers % period, -numbers % period)
    if short == "hold":
        return np.minimum(numbers, film - 1)
    if short == "stretch":
        return numbers * film // wanted
    return numbers[:film]


def in_order(pictures: Callable[[int], Iterable[Tensor]], where: Places) -> Iterator[Tensor]:
    """Pictures one by one as `where` says, in flat memory.

    pictures: a number -> the film from that picture on. If it ends early, its last picture stays.
    """
    for turn in _turns(where):
        if turn[-1] < turn[0]:
            yield from _backwards(pictures, turn)
        else:
            yield from _forwards(pictures, turn)


def _turns(where: Places) -> Iterator[Places]:
    """Stretches that never fall, or never rise."""
    start, direction = 0, 0
    for index, step in enumerate(np.sign(np.diff(where)).tolist(), 1):
        if step and direction and step != direction:
            yield where[start:index]
            start, direction = index, 0  # a jump back to the beginning is a step of its own
        else:
            direction = step or direction
    if len(where):
        yield where[start:]


def _forwards(pictures: Callable[[int], Iterable[Tensor]], rising: Places) -> Iterator[Tensor]:
    first = int(rising[0])
    coming = enumerate(pictures(first), first)
    begun = next(coming, None)
    if begun is None and first > 0:  # the film ended before it
        coming = enumerate(pictures(0))
        begun = next(coming, None)
    if begun is None:
        return
    number, picture = begun
    for place in rising:
        while number < place and (following := next(coming, None)) is not None:
            number, picture = following
        yield picture


def _backwards(pictures: Callable[[int], Iterable[Tensor]], falling: Places) -> Iterator[Tensor]:
    for start in range(0, len(falling), BACKWARDS):
        yield from reversed(list(_forwards(pictures, falling[start : start + BACKWARDS][::-1])))
