"""`Cuts`: where another shot begins in a film, told from thumbnails of its frames while these go by."""

from __future__ import annotations

from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from .boxes import Picture

SAMPLES, SIDE = 64, 32  # pixels that are taken of each side, and cells that they are averaged to
LEVELS = 4  # of each channel, in a histogram
CHANGE = 8.0  # levels by which frames of two shots differ at least, on average
FLASH = 3  # frames that a flash may last

# Two frames are of different shots if they are alike no more than the first, and have changed more than the second.
# Measured: within a shot, however fast the camera pans, 0.45 and 0.2; between shots of different people 0.2 and 0.3.
OTHER, ALIKE_BUT_OTHER = (0.27, 0.1), (0.65, 0.25)


class Thumbnail:
    """What is not needed of it is not computed."""

    def __init__(self, picture: Picture) -> None:
        rows, columns = (((np.arange(SAMPLES) + 0.5) * side / SAMPLES).astype(int) for side in picture.shape[:2])
        self.samples = picture[rows[:, None], columns]
        quarters = self.samples.astype(np.float32).reshape(SIDE, 2, SIDE, 2, 3)
        self.cells = (quarters[:, 0, :, 0] + quarters[:, 0, :, 1] + quarters[:, 1, :, 0] + quarters[:, 1, :, 1]) / 4

    def apart(self, other: Thumbnail) -> float:
        """Mean difference, in levels."""
        return float(np.abs(self.cells - other.cells).mean())

    def recoloured(self, other: Thumbnail) -> float:
        """Share of pixels whose colours were not there."""
        return float(np.abs(self._colours - other._colours).sum()) / 2

    def alike(self, other: Thumbnail) -> float:
        """The best correlation of the two over all shifts, which neither motion nor light changes much."""
        return float(np.fft.irfft2(self._waves * other._waves.conj(), (SIDE, SIDE)).max())

    @cached_property
    def _colours(self) -> NDArray[np.float64]:
        red, green, blue = (self.samples // (256 // LEVELS)).reshape(-1, 3).astype(np.intp).T
        return np.bincount((red * LEVELS + green) * LEVELS + blue, minlength=LEVELS**3) / SAMPLES**2

    @cached_property
    def _waves(self) -> NDArray[np.complex128]:
        """With the power 1. Steep changes count more than large areas, which most pictures have in common."""
        waves = np.fft.rfft2(self.cells.mean(2))
        waves *= np.hypot(np.fft.fftfreq(SIDE)[:, None], np.fft.rfftfreq(SIDE))
        power = (np.fft.irfft2(waves, (SIDE, SIDE)) ** 2).sum()
        return waves / max(power, 1e-6) ** 0.5


class Cuts:
    """Cuts are certain a few frames late: what looks like one may be a flash."""

    def __init__(self) -> None:
        self.found: list[int] = []
        self._count = 0
        self._last: Thumbnail | None = None
        self._suspect: tuple[int, Thumbnail] | None = None  # where a shot may begin, and what was before it

    def push(self, picture: Picture) -> bool:
        """Whether a shot may begin with this frame."""
        now, last, frame = Thumbnail(picture), self._last, self._count
        self._last, self._count = now, frame + 1
        if self._suspect is not None:
            begin, before = self._suspect
            if not _differ(before, now):
                self._suspect = None
                return False
            if frame - begin > FLASH:
                self.end()
        if last is None or not _differ(last, now):
            return False
        self._suspect = self._suspect or (frame, last)
        return True

    def end(self) -> None:
        """Nothing speaks against the last suspicion any more."""
        if self._suspect is not None:
            self.found.append(self._suspect[0])
        self._suspect = None


def _differ(before: Thumbnail, now: Thumbnail) -> bool:
    if before.apart(now) < CHANGE:
        return False
    alike, changed = before.alike(now), before.recoloured(now)
    return any(alike < most and changed > least for most, least in (OTHER, ALIKE_BUT_OTHER))
