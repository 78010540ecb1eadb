"""Reading and writing beside other work: everything in order, every error where it is waited for, no thread left."""

import gc
import threading
import time
import weakref
from itertools import chain, count

import pytest

from joyhallo.film.ahead import Abandoned, Behind, read_ahead, write_behind


@pytest.fixture(autouse=True)
def none_left():
    before = set(threading.enumerate())
    yield
    assert not set(threading.enumerate()) - before


def test_everything_comes_in_order():
    assert list(read_ahead(range(50), 3)) == list(range(50))
    assert write_behind(list, range(50), 3) == list(range(50))
    assert list(read_ahead([], 1)) == []
    assert write_behind(list, [], 1) == []


def test_no_more_is_read_ahead_than_asked_for():
    read = []

    def film():
        for number in range(20):
            read.append(number)
            yield number

    coming = read_ahead(film(), 2)
    assert next(coming) == 0
    time.sleep(0.2)
    assert len(read) <= 4  # one is used, two wait, one is held until there is room
    coming.close()
    assert len(read) <= 4


def test_reading_goes_on_while_the_last_one_is_worked_on():
    read = threading.Event()

    def film():
        yield 0
        read.set()
        yield 1

    coming = read_ahead(film(), 1)
    next(coming)
    assert read.wait(5)
    assert list(coming) == [1]


@pytest.mark.parametrize("error", [ValueError("no"), KeyboardInterrupt()])
def test_errors_of_reading_come_where_they_are_waited_for(error):
    def film():
        yield 1
        raise error

    coming = read_ahead(film(), 2)
    assert next(coming) == 1
    with pytest.raises(type(error)):
        next(coming)


class Network:
    pass


@pytest.mark.parametrize("where", ["reading", "making", "writing"])
def test_what_was_worked_with_goes_at_once_after_an_error(where):
    """Without the garbage collector: an error must not be held by a frame of its own traceback."""

    def film(network, failing):
        yield network is not None
        if failing:
            raise ValueError("no")

    def write(frames, own):
        assert next(frames)
        if where == "writing":
            raise ValueError("no")
        list(frames)

    def work():
        network, own = Network(), Network()  # the writer has one, too
        gone.extend(map(weakref.ref, (network, own)))
        coming = read_ahead(film(network, where == "reading"), 1)
        write_behind(
            lambda frames: write(frames, own), (each for each in chain(coming, film(network, where == "making"))), 1
        )

    gone = []
    gc.collect()
    gc.disable()
    try:
        with pytest.raises(ValueError, match="no") as caught:
            work()
        del caught
        assert [each() for each in gone] == [None, None]
    finally:
        gc.enable()


def test_errors_of_making_stop_the_writer_which_learns_of_them():
    seen = []

    def write(frames):
        try:
            for frame in frames:
                seen.append(frame)
        except Abandoned:
            seen.append("stopped")
            raise

    def made():
        yield 1
        raise ValueError("tired")

    with pytest.raises(ValueError, match="tired"):
        write_behind(write, made(), 2)
    assert seen == [1, "stopped"]


def test_errors_of_writing_stop_the_making():
    made = []

    def write(frames):
        next(frames)
        raise OSError("disk full")

    def film():
        for number in range(1000):
            made.append(number)
            yield number

    with pytest.raises(OSError, match="disk full"):
        write_behind(write, film(), 2)
    assert len(made) < 1000


def test_parts_are_made_while_the_next_is():
    making = threading.Event()

    def parts(each):
        if each == 0:
            assert making.wait(5)
        return [each, -each]

    with Behind(list, 1, parts) as behind:
        behind.put(0)
        making.set()
        behind.put(1)
    assert behind.result() == [0, 0, 1, -1]


def test_a_failing_maker_does_not_wait_for_all_parts():
    def make():
        with Behind(lambda parts: sum(1 for _ in parts), 1, count) as behind:
            behind.put(0)
            raise ValueError("tired")

    with pytest.raises(ValueError, match="tired"):
        make()


def test_the_maker_can_ask_whether_writing_has_failed():
    def write(parts):
        raise OSError("disk full")

    def make():
        with Behind(write, 1) as behind:
            for _ in range(500):  # of one long piece of work
                time.sleep(0.01)
                behind.check()
            done.append(True)

    done = []
    with pytest.raises(OSError, match="disk full"):
        make()
    assert not done


@pytest.mark.parametrize("pieces", [1, 9], ids=["at the end", "in between"])
def test_waiting_for_the_writer_can_be_watched(pieces):
    held = threading.Event()

    def write(parts):
        held.wait(20)
        return list(parts)

    def cancelled():
        held.set()
        raise InterruptedError

    def make():
        with Behind(write, 1, watch=cancelled) as behind:
            for number in range(pieces):
                behind.put(number)

    with pytest.raises(InterruptedError):
        make()


def test_what_was_written_goes_before_the_next_comes():
    with Behind(list, 1, lambda network: [1]) as behind:
        network = Network()
        gone = weakref.ref(network)
        behind.put(network)
        del network
        for _ in range(500):
            if gone() is None:
                break
            time.sleep(0.01)
        assert gone() is None
