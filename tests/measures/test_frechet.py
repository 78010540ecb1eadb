"""Fréchet's distance beside scipy's root of a matrix."""

import numpy as np
import pytest
import scipy.linalg
import torch

from joyhallo.measures.frechet import Moments, distance


@pytest.fixture
def dice():
    return np.random.default_rng(4)


def gathered(features, size=7):
    moments = Moments(features.shape[1])
    for start in range(0, len(features), size):
        moments.see(torch.from_numpy(features[start : start + size]))
    return moments


def expected(a, b, correction=1):
    first, second = (np.cov(x, rowvar=False, ddof=correction) for x in (a, b))
    root = scipy.linalg.sqrtm(first @ second).real
    return ((a.mean(0) - b.mean(0)) ** 2).sum() + np.trace(first + second - 2 * root)


def drawn(dice, count, width):
    return dice.normal(size=(count, width)) @ dice.normal(size=(width, width)) + dice.normal(size=width)


def test_distance_is_of_means_and_covariances(dice):
    a, b = drawn(dice, 90, 12), drawn(dice, 70, 12)
    found = distance(gathered(a), gathered(b))
    assert found == pytest.approx(expected(a, b), rel=1e-9)
    assert found != pytest.approx(expected(a, b, correction=0), rel=1e-3)


def test_fewer_features_than_numbers_are_no_trouble(dice):
    a, b = drawn(dice, 9, 30), drawn(dice, 12, 30)
    assert distance(gathered(a), gathered(b)) == pytest.approx(expected(a, b), rel=1e-5)


def test_a_set_is_at_no_distance_from_itself(dice):
    a = drawn(dice, 40, 20)
    assert distance(gathered(a), gathered(a[::-1].copy())) == pytest.approx(0, abs=1e-8)
    assert distance(gathered(a), gathered(a + 2)) == pytest.approx(20 * 4)


def test_moments_of_parts_add_up(dice):
    a = drawn(dice, 50, 8) + 100
    whole, parts = gathered(a, 50), gathered(a[:20]) + gathered(a[20:])
    assert parts.count == 50
    assert torch.allclose(parts.covariance, whole.covariance, rtol=1e-9)
    assert np.allclose(whole.covariance, np.cov(a, rowvar=False), rtol=1e-9)


def test_too_few_or_other_features_are_told(dice):
    moments = Moments(4)
    moments.see(torch.ones(1, 4, dtype=torch.float16))
    with pytest.raises(ValueError, match="1 features have no covariance"):
        distance(moments, moments)
    with pytest.raises(ValueError, match="expected"):
        moments.see(torch.ones(2, 5))
