"""How curves go together, beside scipy's and numpy's word for it."""

import numpy as np
import pytest
import scipy.stats

from joyhallo.measures import curves


@pytest.fixture
def dice():
    return np.random.default_rng(3)


def test_correlation_is_pearsons(dice):
    a, b = dice.normal(size=(2, 60))
    assert curves.correlation(a, a + b) == pytest.approx(scipy.stats.pearsonr(a, a + b).statistic)
    assert curves.correlation(a, np.ones(60)) == 0


def test_partial_correlation_is_that_of_the_inverse_covariance(dice):
    given = dice.normal(size=(80, 2))
    a, b = given @ [1.0, 2.0] + dice.normal(size=80), given @ [2.0, -1.0] + dice.normal(size=80)
    b += 0.5 * a
    precision = np.linalg.inv(np.cov(np.stack([a, b, *given.T])))
    expected = -precision[0, 1] / np.sqrt(precision[0, 0] * precision[1, 1])
    assert curves.partial(a, b, given) == pytest.approx(expected)
    assert curves.partial(given[:, 0], b, given[:, 0]) == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("late", [-7, -1, 0, 4])
def test_a_delay_is_found(late, dice):
    curve = dice.normal(size=120)
    later, truth = np.roll(curve, late)[20:-20], curve[20:-20]
    found = curves.lagged(later, truth, 10)
    assert curves.best_lag([found]) == late
    assert found[10 + late] == pytest.approx(1)
    assert found[10] == pytest.approx(np.corrcoef(later, truth)[0, 1])
