import numpy as np
import pytest

from joyhallo.faces.boxes import Box, covered
from joyhallo.faces.regions import LIPS, drawn, expanded, lip_rectangle


def test_a_rectangle_larger_than_the_picture_is_cut_at_its_borders():
    assert expanded(Box(-5, 40, 98, 95), 1.2, (100, 100)) == Box(0, 34, 100, 100)
    assert expanded(Box(10, 10, 95, 95), 2.0, (100, 100)) == Box(0, 0, 100, 100)


def test_a_rectangle_that_leaves_the_picture_moves_into_it():
    assert expanded(Box(60, 0, 100, 20), 1.2, (100, 100)) == Box(52, 0, 100, 24)


def test_halves_round_to_even():
    assert expanded(Box(10.5, 11.5, 20.5, 21.5), 1.0, (100, 100)) == Box(10, 12, 20, 22)


def test_the_box_of_a_mask():
    assert covered(drawn(Box(3, 4, 10, 9), (20, 20))) == Box(3, 4, 10, 9)
    assert covered(np.full((5, 5), 127, np.uint8)) is None


def test_lips_are_expanded_by_the_originals_ratio_unless_told_otherwise():
    points = np.full((478, 2), 100.0)
    points[list(LIPS)] = [[80 + 2 * i, 95 + i % 11] for i in range(20)]
    assert lip_rectangle(points, (200, 200)).width == pytest.approx(2 * 38, abs=2)
    assert lip_rectangle(points, (200, 200), 1.5).width == pytest.approx(1.5 * 38, abs=2)
