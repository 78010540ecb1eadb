"""`Sights`: the points of a face in every frame of a film. Memory holds those of the frames that were looked at."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

NOWHERE = -1


@dataclass(frozen=True)
class Sights:
    """Read like an array (frames, points, 2): `sights[frame]`, `sights[frames]`, `sights[:, some points]`.

    From one look to the next every point moves in even steps. Where the face is unknown, numbers are NaN.
    """

    seen: NDArray[np.float32]  # (looks, points, 2)
    before: NDArray[np.int32]  # (frames): the number of a look, or NOWHERE
    after: NDArray[np.int32]
    share: NDArray[np.float32]  # (frames): of the way from one to the other

    @classmethod
    def of(cls, seen: NDArray[np.float32], frames: NDArray[np.integer], count: int) -> Sights:
        """Of a film of so many frames, known in those alone that were looked at."""
        looks = np.full(count, NOWHERE, np.int32)
        looks[frames] = np.arange(len(frames))
        return cls(seen, looks, looks.copy(), np.zeros(count, np.float32))

    def __len__(self) -> int:
        return len(self.before)

    @property
    def shape(self) -> tuple[int, ...]:
        return len(self), *self.seen.shape[1:]

    def __getitem__(self, which: Any) -> NDArray[np.float32]:
        frames, *rest = which if isinstance(which, tuple) else (which,)
        seen = self.seen[(slice(None), *rest)]
        before, after = self.before[frames], self.after[frames]
        share, known = (_broad(part, seen) for part in (self.share[frames], before != NOWHERE))
        first = seen[before]
        return np.where(known, first + share * (seen[after] - first), np.float32(np.nan))

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return self[:].astype(dtype or np.float32, copy=False)

    def at(self, frames: NDArray[np.integer] | slice) -> Sights:
        """Of these frames alone, in this order."""
        return Sights(self.seen, self.before[frames], self.after[frames], self.share[frames])

    def copy(self) -> Sights:
        """Of which frames may be bridged: what was seen is shared."""
        return Sights(self.seen, self.before.copy(), self.after.copy(), self.share.copy())

    def bridge(self, before: int, after: int) -> None:
        """Even steps between two frames that were looked at, in place."""
        between = slice(before + 1, after)
        self.before[between], self.after[between] = self.before[before], self.before[after]
        self.share[between] = steps(before, after)

    def hold(self, frame: int, stop: int) -> None:
        """What was seen in a frame stays until another one, in place."""
        for numbers in (self.before, self.after):
            numbers[frame + 1 : stop] = numbers[frame]


def steps(before: int, after: int) -> NDArray[np.float32]:
    """(frames between two): how far each is on its way"""
    return np.linspace(0, 1, after - before + 1, dtype=np.float32)[1:-1]


def _broad(numbers: Any, seen: NDArray[np.float32]) -> Any:
    """One for each frame, beside what was seen in it."""
    return np.reshape(numbers, (*np.shape(numbers), *[1] * (seen.ndim - 1)))
