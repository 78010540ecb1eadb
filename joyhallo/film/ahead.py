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
            _put(waiting, end, stopped)

    reader = threading.Thread(target=read, name="joyhallo-read", daemon=True)
    reader.start()
    try:
        while not isinstance(each := waiting.get(), _End):
            yield each
        if each.error is not None:
            raise each.error
    finally:
        stopped.set()
        reader.join()


def write_behind(write: Callable[[Iterator[T]], R], coming: Iterable[T], most: int) -> R:
    """What `write` returns, which takes what comes in another thread, while this one makes the next."""
    waiting: queue.Queue[Any] = queue.Queue(most)
    stopped = threading.Event()
    result: list[R] = []
    failed: list[BaseException] = []

    def taken() -> Iterator[T]:
        while not isinstance(each := waiting.get(), _End):
            yield each
        if each.error is not None:
            raise each.error

    def work() -> None:
        try:
            result.append(write(taken()))
        except BaseException as error:  # raised again below
            failed.append(error)
        finally:
            stopped.set()

    writer = threading.Thread(target=work, name="joyhallo-write", daemon=True)
    writer.start()
    end = _End()
    try:
        for each in coming:
            if not _put(waiting, each, stopped):
                break
    except BaseException as error:
        end = _End(error)
        raise
    finally:
        _put(waiting, end, stopped)
        writer.join()
    if failed:
        raise failed[0]
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
