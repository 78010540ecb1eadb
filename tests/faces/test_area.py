"""The resize against OpenCV's own."""

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from joyhallo.faces.area import area

SIDES = st.integers(1, 150)


@settings(max_examples=150, deadline=None)
@given(SIDES, SIDES, SIDES, SIDES, st.integers(0, 1 << 30))
@example(96, 96, 96, 96, 0)
@example(192, 192, 96, 96, 0)
@example(192, 100, 96, 96, 0)
@example(100, 56, 96, 96, 0)
@example(1, 1, 96, 96, 0)
@example(56, 84, 168, 168, 0)
@example(49, 3, 147, 5, 0)
@example(4, 30, 4, 9, 0)  # of which many lie halfway between two levels
@example(104, 66, 4, 66, 0)
def test_like_opencv(width, height, across, down, seed):
    cv2 = pytest.importorskip("cv2", reason="opencv is not installed, and these are its numbers")
    pictures = np.random.default_rng(seed).integers(0, 256, (2, height, width, 3), dtype=np.uint8)
    expected = np.stack([cv2.resize(one, (across, down), interpolation=cv2.INTER_AREA) for one in pictures])
    assert (area(torch.from_numpy(pictures), (across, down)).numpy() == expected).all()


def test_what_opencv_made_of_a_ramp():
    """Recorded, for where OpenCV is not installed."""
    ramp = torch.tensor([[0, 100, 200, 50], [10, 20, 255, 5]], dtype=torch.uint8)[None, :, :, None]
    assert area(ramp, (3, 2))[0, :, :, 0].tolist() == SMALLER
    assert area(ramp, (5, 3))[0, :, :, 0].tolist() == LARGER


SMALLER = [[25, 150, 88], [12, 138, 68]]
LARGER = [[0, 75, 150, 163, 50], [5, 46, 144, 178, 28], [10, 18, 138, 193, 5]]


@pytest.mark.parametrize("shape", [(1, 0, 5, 3), (5, 5, 3)])
def test_what_cannot_be_resized(shape):
    with pytest.raises(ValueError, match="expected bytes"):
        area(torch.zeros(shape, dtype=torch.uint8), (9, 9))
