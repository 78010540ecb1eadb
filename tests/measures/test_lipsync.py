"""Scores of lip sync, against a transcription of the formulas, and what they say of lags that are known."""

import numpy as np
import pytest
import torch

from joyhallo.measures import lipsync
from joyhallo.measures.lipsync import SyncError, distances, scored, windows_of
from joyhallo.measures.medians import medians


def features(windows: int, lag: int, width: int = 64) -> tuple[torch.Tensor, torch.Tensor]:
    """Of pictures and of a sound that says what is shown so many windows later."""
    drawn = torch.randn(windows + 64, width)
    return drawn[32 : 32 + windows], drawn[32 + lag : 32 + lag + windows] + 0.3 * torch.randn(windows, width)


def apart(seen: np.ndarray, heard: np.ndarray, span: int) -> np.ndarray:
    found = np.zeros((len(seen), 2 * span + 1))
    for window in range(len(seen)):
        for lag in range(2 * span + 1):
            place = window + lag - span
            sound = heard[place] if 0 <= place < len(heard) else np.zeros(heard.shape[1])
            found[window, lag] = np.sqrt(np.sum((seen[window] - sound + 1e-6) ** 2))
    return found


def filtered(values: np.ndarray, width: int) -> list[float]:
    padded = np.concatenate([np.zeros(width // 2), values, np.zeros(width // 2)])
    return [sorted(padded[start : start + width])[width // 2] for start in range(len(values))]


@pytest.mark.parametrize(("windows", "span"), [(60, 15), (9, 15), (1, 15), (33, 10), (20, 0)])
def test_the_same_as_the_formulas(windows, span):
    seen, heard = features(windows, 3)
    expected = apart(seen.double().numpy(), heard.double().numpy(), span)
    found = scored(seen, heard, span)
    np.testing.assert_allclose(distances(seen, heard, span).numpy(), expected, rtol=0, atol=1e-4)
    means = expected.mean(0)
    best = int(means.argmin())
    np.testing.assert_allclose(found.curve.numpy(), means, rtol=0, atol=1e-4)
    assert found.offset == span - best
    assert found.windows == windows
    assert (found.distance, found.median) == pytest.approx((means.min(), np.median(means)), abs=1e-4)
    assert found.confidence == pytest.approx(np.median(means) - means.min(), abs=1e-4)
    framewise = filtered(np.median(means) - expected[:, best], 9)
    np.testing.assert_allclose(found.framewise.numpy(), framewise, rtol=0, atol=1e-4)


def test_parts_of_a_long_film_leave_no_seam(monkeypatch):
    seen, heard = features(70, 2)
    whole = distances(seen, heard)
    monkeypatch.setattr(lipsync, "AT_ONCE", 7)
    assert torch.equal(distances(seen, heard), whole)


@pytest.mark.parametrize("lag", [-15, -7, 0, 4, 15])
def test_a_lag_that_was_planted(lag):
    """Sound that says early what the picture shows late has to be delayed, which is a positive offset."""
    found = scored(*features(80, lag))
    assert found.offset == found.overlap.offset == lag
    assert 5 < found.confidence < found.overlap.confidence


def test_both_scores_are_of_means():
    """One window far off moves the mean of its lag; medians over all windows would not notice it."""
    seen, heard = features(41, 0)
    before = scored(seen, heard, 5).distance
    heard[20] *= 100
    assert scored(seen, heard, 5).distance > before + 10


def test_the_silence_beyond_the_ends_lowers_the_confidence_of_short_films():
    short, long = scored(*features(12, 0)), scored(*features(400, 0))
    assert short.confidence < long.confidence - 2
    assert short.overlap.confidence == pytest.approx(long.overlap.confidence, rel=0.1)


def test_without_relation_the_least_distance_is_at_the_silence():
    seen, heard = torch.randn(2, 40, 1024)
    assert abs(scored(seen, heard).offset) == 15
    assert scored(seen, heard).confidence > 3 * scored(seen, heard).overlap.confidence


def test_overlap_is_of_pairs_that_there_are():
    seen, heard = features(20, 2)
    each = apart(seen.double().numpy(), heard.double().numpy(), 15)
    expected = np.full(31, np.nan)
    for lag in range(-10, 11):  # ten pairs at least
        pairs = [each[window, lag + 15] for window in range(20) if 0 <= window + lag < 20]
        expected[lag + 15] = np.mean(pairs)
    found = scored(seen, heard).overlap
    np.testing.assert_allclose(found.curve.numpy(), expected, rtol=0, atol=1e-4)
    assert found.distance == pytest.approx(np.nanmin(expected), abs=1e-4)
    assert found.confidence == pytest.approx(np.nanmedian(expected) - np.nanmin(expected), abs=1e-4)


def test_nineteen_windows_have_nine_lags_either_way():
    assert torch.isfinite(scored(*features(19, 0)).overlap.curve).nonzero().flatten().tolist() == list(range(6, 25))


# ---- how many windows


@pytest.mark.parametrize(
    ("frames", "samples", "windows"), [(30, 19_500, 25), (28, 15_999, 19), (6, 1 << 20, 1), (1 << 20, 3840, 1)]
)
def test_windows(frames, samples, windows):
    assert windows_of(frames, samples) == windows


@pytest.mark.parametrize(("frames", "samples"), [(5, 1 << 20), (100, 3839), (0, 0)])
def test_too_short(frames, samples):
    with pytest.raises(SyncError, match=f"at least 6 frames.* the film has {frames} .*sound for {samples // 640}"):
        windows_of(frames, samples)


@pytest.mark.parametrize("shapes", [((0, 64), (0, 64)), ((5, 64), (6, 64)), ((64,), (64,))])
def test_features_that_do_not_belong_together(shapes):
    with pytest.raises(ValueError, match="expected as many of both"):
        scored(*map(torch.zeros, shapes))


@pytest.mark.parametrize("broken", [float("nan"), float("inf")])
def test_broken_weights(broken):
    seen, heard = features(20, 0)
    seen[3, 5] = broken
    with pytest.raises(SyncError, match="not finite"):
        scored(seen, heard)


# ---- medians


@pytest.mark.parametrize("count", [1, 4, 6, 7, 40])
def test_medians_have_zeros_beyond_the_ends(count):
    values = torch.rand(2, count, dtype=torch.float64) + 1
    expected = [filtered(row, 13) for row in values.numpy()]
    assert medians(values, 13).tolist() == expected
    assert bool(medians(values, 13).any()) == (count > 6)
