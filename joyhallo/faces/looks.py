"""`Looks`: what was seen of one face in the frames of a film that were looked at."""

from __future__ import annotations

from array import array
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from .finders import Seen


class Looks:
    """A film has many thousands of them, so there is no object for each."""

    def __init__(self, kept: Sequence[int] | None = None) -> None:
        """kept: numbers of the points that are, of each face; None: all"""
        self.kept = kept
        self.last: Seen | None = None
        self._frames, self._turned, self._facing = (array("q") for _ in range(3))
        self._boxes, self._scores, self._points = (array("f") for _ in range(3))

    def __len__(self) -> int:
        return len(self._frames)

    def add(self, frame: int, face: Seen | None) -> None:
        """Of frames one after the other. A face that looks to the side counts as none."""
        self.last = face
        self._frames.append(frame)
        if face is None:
            return
        if face.is_turned_away:
            self._turned.append(frame)
            return
        self._facing.append(frame)
        self._boxes.extend((face.box.left, face.box.top, face.box.right, face.box.bottom))
        self._scores.append(face.score)
        points = face.points if self.kept is None else face.points[list(self.kept)]
        self._points.frombytes(np.asarray(points, np.float32).tobytes())

    @property
    def frames(self) -> NDArray[np.int64]:
        return np.array(self._frames)

    @property
    def turned(self) -> NDArray[np.int64]:
        """Frames in which the face looks to the side."""
        return np.array(self._turned, np.int64)

    @property
    def facing(self) -> NDArray[np.int64]:
        """Those with a face, of which all that follows is."""
        return np.array(self._facing, np.int64)

    @property
    def boxes(self) -> NDArray[np.float32]:
        return np.array(self._boxes, np.float32).reshape(-1, 4)

    @property
    def scores(self) -> NDArray[np.float32]:
        return np.array(self._scores, np.float32)

    @property
    def points(self) -> NDArray[np.float32]:
        """(faces, points, 2), not to be changed: it is not copied."""
        return np.frombuffer(self._points, np.float32).reshape(len(self._facing), -1, 2)
