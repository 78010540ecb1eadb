"""`Portrait`: how somebody looks in one frame; `Gallery`: whether another one shows the same person.

By the recogniser's identity where there is one, else by colours and their places in and around the face.
"""

from __future__ import annotations

from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from .boxes import Picture
from .finders import Finder, Seen

SAME_IDENTITY = 0.3  # least cosine of two identities of one person
SAME_LOOK = 0.52  # least resemblance of two looks of one person
NEARLY_SAME = 0.9  # looks that tell nothing new
KEPT = 8  # portraits of each person
SIDE = 24  # pixels of a look
BINS = 6
MARGIN = 0.2  # of the face's size, on top and beside: hair tells people apart


class Portrait:
    """What is not needed of it is not computed. It holds the picture, so it must not be kept."""

    def __init__(self, picture: Picture, face: Seen, finder: Finder):
        self.picture, self.face, self.finder = picture, face, finder

    @cached_property
    def identity(self) -> NDArray[np.float32] | None:
        if not self.finder.recognises:
            return None
        found = self.finder.identity(self.picture, self.face)
        return None if found is None else found / max(float(np.linalg.norm(found)), 1e-9)

    @cached_property
    def look(self) -> Look:
        return Look(self.picture, self.face)


class Look:
    """Colours of a face, whatever the light: a small picture, and how often each colour is in it."""

    def __init__(self, picture: Picture, face: Seen):
        box, (height, width) = face.box, picture.shape[:2]
        wide, high = MARGIN * box.width, MARGIN * box.height
        columns = np.linspace(box.left - wide, box.right + wide, SIDE).clip(0, width - 1).astype(int)
        rows = np.linspace(box.top - high, box.bottom, SIDE).clip(0, height - 1).astype(int)
        pixels = picture[rows[:, None], columns].astype(np.float32)
        pixels /= max(pixels.mean(), 1.0)  # as bright on average as all others
        self.cells = pixels.reshape(SIDE // 3, 3, SIDE // 3, 3, 3).mean((1, 3)).ravel()
        self.cells -= self.cells.mean()
        self.cells /= max(float(np.linalg.norm(self.cells)), 1e-6)
        self.colours = _colours(pixels.reshape(-1, 3))

    def like(self, other: Look) -> float:
        """1 for the same picture."""
        shared = float(np.minimum(self.colours, other.colours).sum())
        return (shared + float(self.cells @ other.cells)) / 2


def _colours(pixels: NDArray[np.float32]) -> NDArray[np.float64]:
    """A histogram of lightness, and of how much redder than green and bluer than green they are; its sum is 1."""
    light = pixels.mean(1)
    tints = (pixels[:, [0, 2]] - pixels[:, [1]]) / (light[:, None] + 0.1)
    places = np.stack([light / 2, (tints[:, 0] + 0.5) / 1.5, (tints[:, 1] + 1) / 1.5], 1)
    red, green, blue = (places * BINS).clip(0, BINS - 1).astype(np.intp).T
    return np.bincount((red * BINS + green) * BINS + blue, minlength=BINS**3) / len(pixels)


class Gallery:
    """Portraits of one person or, of those who are not meant, of several. The first one stays, as it is certain."""

    def __init__(self) -> None:
        self.looks: list[Look] = []
        self.identities: list[NDArray[np.float32]] = []

    def add(self, portrait: Portrait) -> None:
        if len(self.looks) > 1 and self.looks[-1].like(portrait.look) > NEARLY_SAME:
            self.looks.pop()
        _append(self.looks, portrait.look)

    def add_identity(self, portrait: Portrait) -> None:
        if portrait.identity is not None:
            _append(self.identities, portrait.identity)

    def same(self, portrait: Portrait) -> float:
        """Above 0 for the same person, the surer the higher; -1 where nothing is known."""
        if (identity := portrait.identity) is not None:
            return max((float(one @ identity) - SAME_IDENTITY for one in self.identities), default=-1.0)
        return max((one.like(portrait.look) - SAME_LOOK for one in self.looks), default=-1.0)

    def looks_same(self, portrait: Portrait) -> bool:
        """At little cost: as the person did just before."""
        return bool(self.looks) and self.looks[-1].like(portrait.look) > SAME_LOOK


def _append(kept: list, new: object) -> None:
    kept.append(new)
    if len(kept) > KEPT:
        del kept[1]
