"""The resize against OpenCV's own: every bit the same."""

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from joyhallo.faces.rescale import rescale

SIDES = st.integers(1, 150)


@settings(max_examples=150, deadline=None)
@given(SIDES, SIDES, SIDES, SIDES, st.integers(0, 1 << 30))
@example(96, 96, 96, 96, 0)
@example(192, 192, 96, 96, 0)
@example(192, 100, 96, 96, 0)
@example(1, 1, 96, 96, 0)
def test_bit_for_bit(width, height, across, down, seed):
    cv2 = pytest.importorskip("cv2", reason="opencv is not installed, and these are its bits")
    pictures = np.random.default_rng(seed).integers(0, 256, (2, height, width, 3), dtype=np.uint8)
    expected = [cv2.resize(picture, (across, down), interpolation=cv2.INTER_LINEAR) for picture in pictures]
    assert np.array_equal(rescale(torch.from_numpy(pictures), (across, down)).numpy(), np.stack(expected))


def test_what_opencv_made_of_a_ramp():
    """Recorded, for where OpenCV is not installed."""
    ramp = torch.tensor([[0, 100, 200, 50], [10, 20, 255, 5]], dtype=torch.uint8)[None, :, :, None]
    assert rescale(ramp, (3, 4))[0, :, :, 0].tolist() == RAMP


RAMP = [[16, 150, 75], [15, 147, 68], [13, 141, 53], [11, 137, 46]]


def test_no_pictures_at_all():
    assert rescale(torch.zeros(0, 5, 7, 3, dtype=torch.uint8), (9, 3)).shape == (0, 3, 9, 3)


@pytest.mark.parametrize("shape", [(1, 0, 5, 3), (5, 5, 3)])
def test_what_cannot_be_resized(shape):
    with pytest.raises(ValueError, match="expected bytes"):
        rescale(torch.zeros(shape, dtype=torch.uint8), (9, 9))
    with pytest.raises(ValueError, match="float32"):
        rescale(torch.zeros(1, 5, 5, 3), (9, 9))


@pytest.mark.parametrize("size", [(96, 96), (20, 30), (15, 20), (250, 300)])
def test_tensors_are_resized_like_numpy_s_arrays(size, monkeypatch):
    """A CPU takes the latter, other devices the former."""
    pictures = torch.randint(0, 256, (2, 60, 40, 3), dtype=torch.uint8)
    expected = rescale(pictures, size)
    monkeypatch.setattr("joyhallo.faces.rescale.unshared", lambda numbers: numbers)
    assert torch.equal(rescale(pictures, size), expected)
