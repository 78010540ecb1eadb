"""Sights: as the array of all points would say."""

from dataclasses import replace

import numpy as np
import pytest

from joyhallo.faces.sights import Sights

LOOKS = np.array([0, 4, 8, 9, 14, 16])  # of twenty frames


@pytest.fixture
def seen():
    return np.random.default_rng(0).normal(size=(len(LOOKS), 7, 2)).astype(np.float32)


@pytest.fixture
def sights(seen):
    """Bridged from 0 to 8, from 9 to 14 and, held, from 16 to 17."""
    found = Sights.of(seen, LOOKS, 20)
    for before, after in ((0, 4), (4, 8), (9, 14)):
        found.bridge(before, after)
    found.hold(16, 18)
    return found


@pytest.fixture
def whole(seen):
    found = np.full((20, 7, 2), np.nan, np.float32)
    found[LOOKS] = seen
    for frame, before, after in ((1, 0, 4), (2, 0, 4), (3, 0, 4), (6, 4, 8), (12, 9, 14)):
        share = np.float32((frame - before) / (after - before))
        found[frame] = found[before] + share * (found[after] - found[before])
    found[17] = seen[-1]
    return found


SURE = [0, 1, 2, 3, 4, 6, 8, 9, 12, 14, 15, 16, 17, 18]  # of those between two looks some say enough


def test_each_frame_is_what_was_seen_or_on_the_way(sights, whole):
    assert np.shape(sights) == whole.shape
    for frame in SURE:
        np.testing.assert_array_equal(sights[frame], whole[frame])


def test_some_frames_and_some_points(sights, whole):
    np.testing.assert_array_equal(sights[SURE], whole[SURE])
    np.testing.assert_array_equal(sights[:, [5, 2]][SURE], whole[SURE][:, [5, 2]])
    np.testing.assert_array_equal(sights[:, 3, 1][SURE], whole[SURE][:, 3, 1])
    np.testing.assert_array_equal(np.asarray(sights)[SURE], whole[SURE])


def test_only_some_points_are_kept(sights, whole, seen):
    some = replace(sights, seen=seen[:, [1, 3, 5]], kept=np.array([1, 3, 5]))
    np.testing.assert_array_equal(some[:, [5, 1]][SURE], whole[SURE][:, [5, 1]])
    np.testing.assert_array_equal(some[12, [3, 5]], whole[12, [3, 5]])
    np.testing.assert_array_equal(some[12, 3], whole[12, 3])
    np.testing.assert_array_equal(some.at(np.array([17, 12]))[:, 3, 1], whole[[17, 12], 3, 1])
    for asked in (lambda: some[12], lambda: some[:, [1, 2]], lambda: some[12, 6]):
        with pytest.raises(IndexError):
            asked()


def test_frames_in_another_order(sights, whole):
    order = np.array([17, 2, 2, 0, 18, 12])
    np.testing.assert_array_equal(sights.at(order)[:], whole[order])
    assert len(sights.at(slice(5))) == 5


def test_a_copy_is_bridged_alone(sights):
    filled = sights.copy()
    filled.bridge(14, 16)
    assert np.isnan(sights[15]).all()
    np.testing.assert_array_equal(filled[15], filled[14] + np.float32(0.5) * (filled[16] - filled[14]))
