"""Films that are shorter or longer than the sound, and pictures in any order."""

import numpy as np
import pytest
import torch

from joyhallo.film.lengths import BACKWARDS, in_order, places


@pytest.mark.parametrize(
    ("film", "wanted", "short", "long", "expected"),
    [
        (3, 8, "loop", "cut", [0, 1, 2, 0, 1, 2, 0, 1]),
        (3, 8, "bounce", "cut", [0, 1, 2, 1, 0, 1, 2, 1]),
        (1, 3, "bounce", "cut", [0, 0, 0]),
        (2, 5, "bounce", "cut", [0, 1, 0, 1, 0]),
        (3, 6, "hold", "cut", [0, 1, 2, 2, 2, 2]),
        (3, 6, "stretch", "cut", [0, 0, 1, 1, 2, 2]),
        (3, 4, "stretch", "cut", [0, 0, 1, 2]),
        (3, 9, "stop", "cut", [0, 1, 2]),
        (5, 3, "loop", "cut", [0, 1, 2]),
        (5, 3, "stretch", "keep", [0, 1, 2, 3, 4]),
        (5, 5, "bounce", "keep", [0, 1, 2, 3, 4]),
    ],
)
def test_which_picture_each_frame_shows(film, wanted, short, long, expected):
    assert places(film, wanted, short, long).tolist() == expected


def film(count, opened=None):
    def pictures(start):
        if opened is not None:
            opened.append(start)
        return (torch.tensor(number) for number in range(start, count))

    return pictures


@pytest.mark.parametrize("short", ["loop", "bounce", "hold", "stretch", "stop"])
@pytest.mark.parametrize("count", [1, 2, 7, 100])
def test_pictures_come_as_they_are_asked_for(short, count):
    where = places(count, 333, short, "cut")
    assert [int(picture) for picture in in_order(film(count), where)] == where.tolist()


def test_any_order_at_all():
    where = np.random.default_rng(3).integers(0, 20, 200)
    assert [int(picture) for picture in in_order(film(20), where)] == where.tolist()


def test_a_film_is_read_once_for_each_turn_and_backwards_in_parts():
    opened = []
    list(in_order(film(100, opened), places(100, 300, "loop", "cut")))
    assert opened == [0, 0, 0]
    opened.clear()
    list(in_order(film(100, opened), places(100, 199, "bounce", "cut")))
    assert opened[0] == 0
    assert len(opened) == 1 + -(-99 // BACKWARDS)


def test_after_an_early_end_the_last_picture_stays():
    assert [int(picture) for picture in in_order(film(3), np.arange(6))] == [0, 1, 2, 2, 2, 2]
    assert [int(picture) for picture in in_order(film(3), np.arange(6)[::-1])] == [2, 2, 2, 2, 1, 0]
    assert [int(picture) for picture in in_order(film(3), np.array([5, 4]))] == [2, 2]
    assert list(in_order(film(0), np.arange(2))) == []
