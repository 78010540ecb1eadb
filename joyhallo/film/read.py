"""Videos that are there already: their frames a few at a time, and their sound."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..libraries import brief, library
from ..sound.audio import Sound
from .write import VideoError

AT_ONCE = 8  # frames


@dataclass(frozen=True)
class Facts:
    width: int
    height: int
    rate: Fraction  # frames per second
    seconds: float  # as the file says

    @property
    def count(self) -> int:
        """Frames, as near as the file's own length tells."""
        return round(self.seconds * self.rate)


def facts(source: Any) -> Facts:
    """Of a path, or of a file that can be read from its beginning."""
    with _opened(source) as (file, picture):
        length = file.duration
        seconds = float(length / 1_000_000) if length else float((picture.duration or 0) * (picture.time_base or 0))
        return Facts(picture.width, picture.height, Fraction(picture.average_rate or 1), seconds)


def frames(source: Any, at_once: int = AT_ONCE) -> Iterator[Tensor]:
    """All of them in order: (up to at_once, height, width, 3) in 0..1"""
    with _opened(source) as (file, picture):
        picture.thread_type = "AUTO"
        batch: list[np.ndarray] = []
        for frame in file.decode(picture):
            batch.append(frame.to_ndarray(format="rgb24"))
            if len(batch) == at_once:
                yield _as_tensor(batch)
                batch = []
        if batch:
            yield _as_tensor(batch)


class Reel:
    """The frames of a video, taken off as they are needed."""

    def __init__(self, coming: Iterator[Tensor]):
        """coming: batches of frames"""
        self._coming = coming
        self._rest = torch.zeros(0)
        self._last: Tensor | None = None

    @classmethod
    def of(cls, source: Any) -> Reel:
        return cls(frames(source))

    def take(self, count: int) -> Tensor:
        """The next frames (count, height, width, 3) in 0..1; after the end the last one stays."""
        while len(self._rest) < count and (batch := next(self._coming, None)) is not None:
            self._rest = torch.cat([self._rest, batch]) if len(self._rest) else batch
        taken, self._rest = self._rest[:count], self._rest[count:]
        if len(taken):
            self._last = taken[-1:].clone()
        missing = count - len(taken)
        if not missing:
            return taken
        if self._last is None:
            raise VideoError("The video holds no frame; choose another one.")
        held = self._last.expand(missing, -1, -1, -1)
        return torch.cat([taken, held]) if len(taken) else held


def read_sound(source: Any) -> Sound | None:
    """The sound of a video; None where it has none."""
    av = library("av", "Reading the sound of a video")
    with av.open(source) as file:
        if not file.streams.audio:
            return None
        floats = av.AudioResampler(format="flt")
        pieces = (piece for frame in file.decode(file.streams.audio[0]) for piece in floats.resample(frame))
        blocks = [frame.to_ndarray().reshape(-1, frame.layout.nb_channels).T for frame in pieces]
        rate = file.streams.audio[0].rate
    return (torch.from_numpy(np.concatenate(blocks, axis=1)), rate) if blocks else None


@contextmanager
def _opened(source: Any) -> Iterator[tuple[Any, Any]]:
    """The file and its first stream of pictures."""
    av = library("av", "Reading videos")
    try:
        with av.open(source) as file:
            if not file.streams.video:
                raise VideoError("The video holds sound alone; choose one with pictures.")
            yield file, file.streams.video[0]
    except (OSError, av.error.FFmpegError) as error:
        raise VideoError(f"The video cannot be read ({brief(error)}); choose another one, or make it again.") from error


def _as_tensor(batch: list[np.ndarray]) -> Tensor:
    return torch.from_numpy(np.stack(batch)).float().div_(255)
