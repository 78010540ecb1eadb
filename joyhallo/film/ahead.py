"""Work on films that goes on beside other work: reading ahead, and writing behind."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Generator, Iterable, Iterator
from typing import Any, Generic, TypeVar

T = TypeVar("T")
P = TypeVar("P")
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


def read_ahead(coming: Iterable[T], most: int, stopped: threading.Event | None = None) -> Generator[T, None, None]:
    """The same, read by another thread while the last one is worked on.

    most: that wait, or are being read; stopped: set once nobody wants more, for what is read to end sooner
    """
    waiting: queue.SimpleQueue[Any] = queue.SimpleQueue()
    wanted, stopped = threading.Semaphore(most), stopped or threading.Event()

    def read() -> None:
        end = _End()
        try:
            following = iter(coming)
            while wanted.acquire() and not stopped.is_set():
                waiting.put(next(following))
        except StopIteration:
            pass
        except BaseException as error:  # raised again where it is waited for
            end = _End(error)
        finally:
            if (close := getattr(coming, "close", None)) is not None:
                close()
            if stopped.is_set():
                end.error = None
            waiting.put(end)

    reader = threading.Thread(target=read, name="joyhallo-read", daemon=True)
    reader.start()
    try:
        while not isinstance(each := waiting.get(), _End):
            wanted.release()
            yield each
        each.told()
    finally:
        stopped.set()
        wanted.release()
        reader.join()


class Abandoned(Exception):
    """What is written will not be whole: making it has failed."""


def as_one(each: Any) -> Iterable[Any]:
    return (each,)


def nothing() -> None:
    pass


class Behind(Generic[T, P, R]):
    """Another thread that writes what this one makes: `with Behind(write, most) as behind: behind.put(each)`.

    If this one fails, `write` is told by an Abandoned. If `write` fails, `put`, `check` or the end of the block raises
    its error.
    """

    def __init__(
        self,
        write: Callable[[Iterator[P]], R],
        most: int,
        parts: Callable[[T], Iterable[P]] = as_one,
        watch: Callable[[], object] = nothing,
    ):
        """most: that wait to be written; parts: turns each into what `write` takes, in its thread; watch: called while
        this thread waits for the other, it may raise."""
        self._parts, self._watch = parts, watch
        self._waiting: queue.Queue[Any] = queue.Queue(most)
        self._stopped, self._abandoned = threading.Event(), threading.Event()
        self._failed = _End()
        self._results: list[R] = []
        self._writer = threading.Thread(target=self._work, args=(write,), name="joyhallo-write", daemon=True)

    def __enter__(self) -> Behind[T, P, R]:
        self._writer.start()
        return self

    def put(self, each: T) -> bool:
        """False if nothing more is taken."""
        there = _put(self._waiting, each, self._stopped, self._watch)
        self.check()
        return there

    def check(self) -> None:
        """Raise what went wrong, which is worth knowing while something takes long to make."""
        self._failed.told()

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if kind is None:
                _put(self._waiting, _End(), self._stopped, self._watch)
                while self._writer.is_alive():
                    self._writer.join(WAIT)
                    self._watch()
        except BaseException:
            self._abandon()
            raise
        if kind is None:
            self.check()
        else:
            self._abandon()

    def result(self) -> R:
        return self._results[0]

    def _abandon(self) -> None:
        self._abandoned.set()
        _put(self._waiting, _End(Abandoned()), self._stopped)
        self._writer.join()
        self._failed.error = None  # which says no more than that

    def _work(self, write: Callable[[Iterator[P]], R]) -> None:
        try:
            self._results.append(write(self._taken()))
        except BaseException as error:  # raised again by the other thread
            self._failed.error = error
        finally:
            self._stopped.set()

    def _taken(self) -> Iterator[P]:
        while not isinstance(each := self._waiting.get(), _End):
            for part in self._parts(each):
                yield part
                if self._abandoned.is_set():
                    raise Abandoned
            each = part = None  # or they would be held while the next is waited for
        each.told()


def write_behind(write: Callable[[Iterator[T]], R], coming: Iterable[T], most: int) -> R:
    """What `write` returns, which takes what comes in another thread, while this one makes the next."""
    with Behind[T, T, R](write, most) as behind:
        for each in coming:
            if not behind.put(each):
                break
    return behind.result()


def _put(waiting: queue.Queue[Any], each: Any, stopped: threading.Event, watch: Callable[[], object] = nothing) -> bool:
    """False if the other side has stopped."""
    while not stopped.is_set():
        try:
            waiting.put(each, timeout=WAIT)
        except queue.Full:
            watch()
            continue
        return True
    return False
