"""Whole pictures in batches, each read while the one before it is worked on: `batches`, and `most` for how many fit."""

from __future__ import annotations

import math
import threading
import weakref
from collections.abc import Generator, Iterable, Iterator
from itertools import takewhile

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..faces.boxes import Size
from .ahead import read_ahead

PIXELS = 32 << 20  # of a batch


def most(size: Size, beside: int = 0) -> int:
    """Pictures of this size in a batch; beside: pixels that each is turned into, if those are more."""
    return max(1, PIXELS // max(math.prod(size), beside))


def batches(pictures: Iterable[Tensor], counts: Iterable[int]) -> Generator[Tensor, None, None]:
    """So many pictures each, (count, height, width, 3) of bytes; one batch is read ahead.

    pictures: (height, width, 3) each, of the same size. They are let go once they are copied. Whoever stops waits for
    one of them, not for a batch.
    """
    stopped = threading.Event()
    wanted = takewhile(lambda _: not stopped.is_set(), pictures)
    return read_ahead(_together(wanted, counts), 1, stopped)


def read_need(size: Size, count: int, device: torch.device) -> int:
    """Bytes of the computer's own memory that reading takes beside the batch that a device works on: the one that is
    read ahead and, unless that device is the CPU, the one that it was given."""
    return (1 if device.type == "cpu" else 2) * 3 * count * math.prod(size)


def _together(pictures: Iterable[Tensor], counts: Iterable[int]) -> Iterator[Tensor]:
    """By NumPy: torch would share the copies among threads, which wait for those that read and write films."""
    coming, pages = iter(pictures), _Pages()
    for count in counts:
        first = next(coming).numpy()
        batch = pages.empty((count, *first.shape))
        batch[0] = first
        for place in range(1, count):
            batch[place] = next(coming).numpy()
        yield torch.from_numpy(batch)
        del batch  # or its memory would not be free for the next one


class _Pages:
    """Memory for as many batches as are in use at the same time.

    Batches are of tens of megabytes. Asked for anew each time, they leave holes between whatever stays, into which the
    next ones do not fit: a long film would take more memory than a short one.
    """

    def __init__(self) -> None:
        self._free: list[NDArray[np.uint8]] = []

    def empty(self, shape: tuple[int, ...]) -> NDArray[np.uint8]:
        """Its memory serves another one as soon as nobody has this array any more, nor a tensor of it."""
        size = math.prod(shape)
        memory = self._free.pop() if self._free else np.empty(size, np.uint8)
        if len(memory) < size:
            memory = np.empty(size, np.uint8)
        array = memory[:size].reshape(shape)
        weakref.finalize(array, self._free.append, memory).atexit = False
        return array
