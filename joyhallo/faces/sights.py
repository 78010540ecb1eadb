"""`Sights`: the points of a face in every frame of a film. Memory holds those of the frames that were looked at, and of
a mesh those alone that somebody reads: hours of film have many looks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

NOWHERE = -1


@dataclass(frozen=True)
class Sights:
    """Read like an array (frames, points, 2): `sights[frame]`, `sights[frames]`, `sights[:, some points]`.

    From one look to the next every point moves in even steps. Where the face is unknown, numbers are NaN. Points that
    were not kept raise an IndexError.
    """

    seen: NDArray[np.float32]  # (looks, kept points, 2)
    kept: NDArray[np.int32]  # numbers of these points, rising
    before: NDArray[np.int32]  # (frames): the number of a look, or NOWHERE
    after: NDArray[np.int32]
    share: NDArray[np.float32]  # (frames): of the way from one to the other

    @classmethod
    def of(
        cls, seen: NDArray[np.float32], frames: NDArray[np.integer], count: int, kept: Sequence[int] | None = None
    ) -> Sights:
        """Of a film of so many frames, known in those alone that were looked at. kept: all points if None"""
        looks = np.full(count, NOWHERE, np.int32)
        looks[frames] = np.arange(len(frames))
        numbers = np.array(range(seen.shape[1]) if kept is None else kept, np.int32)
        return cls(seen, numbers, looks, looks.copy(), np.zeros(count, np.float32))

    def __len__(self) -> int:
        return len(self.before)

    def __getitem__(self, which: Any) -> NDArray[np.float32]:
        frames, points, *sides = which if isinstance(which, tuple) else (which, slice(None))
        places = self._places(points)
        before, after, share = (_beside(part[frames], places) for part in (self.before, self.after, self.share))
        first, last, known = self.seen[before, places], self.seen[after, places], before != NOWHERE
        found = np.where(known[..., None], first + share[..., None] * (last - first), np.float32(np.nan))
        return found[(..., *sides)]

    def _places(self, points: Any) -> Any:
        """Where these lie among those that are kept."""
        wanted = np.arange(self.kept.max(initial=-1) + 1)[points]
        places = np.searchsorted(self.kept, wanted)
        if not np.array_equal(self.kept[places], wanted):
            raise IndexError(f"Of the points {points} not all were kept; add them to regions.FOLLOWED.")
        return places

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return self[:].astype(dtype or np.float32, copy=False)

    def at(self, frames: NDArray[np.integer] | slice) -> Sights:
        """Of these frames alone, in this order."""
        return replace(self, before=self.before[frames], after=self.after[frames], share=self.share[frames])

    def copy(self) -> Sights:
        """Of which frames may be bridged: what was seen is shared."""
        return replace(self, before=self.before.copy(), after=self.after.copy(), share=self.share.copy())

    def bridge(self, before: int, after: int) -> None:
        """Even steps between two frames that were looked at, in place."""
        between = slice(before + 1, after)
        self.before[between], self.after[between] = self.before[before], self.before[after]
        self.share[between] = steps(before, after)

    def hold(self, frame: int, stop: int) -> None:
        """What was seen in a frame stays until another one, in place."""
        for numbers in (self.before, self.after):
            numbers[frame + 1 : stop] = numbers[frame]


def _beside(numbers: Any, places: Any) -> Any:
    """One for each frame, to be used together with places of points."""
    return np.reshape(numbers, (*np.shape(numbers), *[1] * np.ndim(places)))


def steps(before: int, after: int) -> NDArray[np.float32]:
    """(frames between two): how far each is on its way"""
    return np.linspace(0, 1, after - before + 1, dtype=np.float32)[1:-1]
