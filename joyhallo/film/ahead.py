"""Work on films that goes on beside other work: reading ahead, and writing behind."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

T = TypeVar("T")
R = TypeVar("R")

WAIT = 0.1  # seconds after which a full or empty queue is looked at again, in case the other side has stopped


class _End:
    """The last thing in a queue: there is no more, or what went wrong."""

    def __init__(self, error: BaseException | None = None):
        self.error = error

    def told(self) -> None:
        """Raise what went wrong, and forget it: an error that a frame of its own traceback holds would keep alive all
        that was worked with, networks too."""
        error, self.error = self.error, None
        if error is not None:
            try:
                raise error
            finally:
                del error


def read_ahead(coming: Iterable[T], most: int) -> Iterator[T]:
    """The same, read by another thread while the last one is worked on; at most `most` wait to be taken."""
    waiting: queue.Queue[Any] = queue.Queue(most)
    stopped = threading.Event()

    def read() -> None:
        end = _End()
        try:
            for each in coming:
                if not _put(waiting, each, stopped):
                    return
        except BaseException as error:  # raised again where it is waited for
            end = _End(error)
        finally:
            if (close := getattr(coming, "close", None)) is not None:
                close()
            if not _put(waiting, end, stopped):
                end.error = None

    reader = threading.Thread(target=read, name="joyhallo-read", daemon=True)
    reader.start()
    try:
        while not isinstance(each := waiting.get(), _End):
            yield each
        each.told()
    finally:
        stopped.set()
        reader.join()


class Abandoned(Exception):
    """What is written will not be whole: making it has failed."""


def write_behind(write: Callable[[Iterator[T]], R], coming: Iterable[T], most: int) -> R:
    """What `write` returns, which takes what comes in another thread, while this one makes the next.

    If that fails, `write` is told by an Abandoned.
    """
    waiting: queue.Queue[Any] = queue.Queue(most)
    stopped = threading.Event()
    result: list[R] = []
    failed = _End()

    def taken() -> Iterator[T]:
        while not isinstance(each := waiting.get(), _End):
            yield each
        each.told()

    def work() -> None:
        try:
            result.append(write(taken()))
        except BaseException as error:  # raised again below
            failed.error = error
        finally:
            stopped.set()

    writer = threading.Thread(target=work, name="joyhallo-write", daemon=True)
    writer.start()
    end = _End(Abandoned())
    try:
        for each in coming:
            if not _put(waiting, each, stopped):
                break
        end = _End()
    finally:
        abandoned = end.error is not None
        _put(waiting, end, stopped)
        writer.join()
        if abandoned:
            failed.error = None  # which says no more than that
    failed.told()
    return result[0]


def _put(waiting: queue.Queue[Any], each: Any, stopped: threading.Event) -> bool:
    """False if the other side has stopped."""
    while not stopped.is_set():
        try:
            waiting.put(each, timeout=WAIT)
        except queue.Full:
            continue
        return True
    return False
