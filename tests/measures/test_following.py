"""Whether mouths follow sounds, of made-up ones of which it is known."""

import numpy as np
import pytest

from joyhallo.measures.following import REACH, SHUFFLES, begun_elsewhere, between, followed


@pytest.fixture
def dice():
    return np.random.default_rng(7)


def smooth(noise):
    return np.convolve(noise, np.ones(3) / 3, "same")


@pytest.mark.parametrize("late", [-6, 0, 11])
def test_a_mouth_that_follows_is_told_from_chance_and_its_delay_found(dice, late):
    sound = smooth(dice.normal(size=250))
    mouth = np.roll(sound, late) + 0.3 * dice.normal(size=250)
    mouth[100:110] = np.nan
    found = followed(mouth, sound, 25)
    assert found.lag == late
    assert found.milliseconds == late * 40
    known = ~np.isnan(mouth)
    assert found.correlation == pytest.approx(np.corrcoef(mouth[known], np.roll(sound, late)[known])[0, 1], abs=0.06)
    assert found.z > 5
    assert len(found.chance) == SHUFFLES


def test_a_stranger_does_no_better_than_chance(dice):
    found = [followed(smooth(dice.normal(size=250)), smooth(dice.normal(size=250)), 25).z for _ in range(20)]
    assert abs(np.mean(found)) < 1
    assert max(found) < 5


def test_other_films_are_a_measure_of_chance(dice):
    sound = smooth(dice.normal(size=200))
    same = followed(sound, sound, 25, others=[sound, sound[:150], sound])
    assert len(same.chance) == 3
    assert same.chance[0] == pytest.approx(1)
    assert same.z < 2


def test_sounds_begin_elsewhere_by_more_than_the_lags():
    made = begun_elsewhere(np.arange(75.0))
    shifts = [int(one[0]) for one in made]
    assert all(min(shift, 75 - shift) > 2 * REACH for shift in shifts)
    assert all(np.array_equal(np.sort(one), np.arange(75)) for one in made)


def test_what_cannot_be_told_is_none(dice):
    sound = dice.normal(size=200)
    faceless = sound.copy()
    faceless[:100] = np.nan
    assert followed(faceless, sound, 25) is None
    assert followed(sound[:74], sound, 25) is None
    assert followed(np.ones(200), sound, 25).correlation == 0
    assert between(np.array([np.nan, 1, np.nan, 3, np.nan])).tolist() == [1, 1, 2, 3, 3]
