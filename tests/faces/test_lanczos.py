"""The resize against OpenCV's own: every bit the same."""

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from joyhallo.faces.lanczos import lanczos

SIDES = st.integers(1, 150)


@settings(max_examples=150, deadline=None)
@given(SIDES, SIDES, SIDES, SIDES, st.integers(1, 4), st.integers(0, 1 << 30))
@example(96, 96, 96, 96, 3, 0)
@example(192, 192, 96, 96, 3, 0)
@example(47, 309, 147, 100, 3, 0)
@example(1, 1, 96, 96, 3, 0)
def test_bit_for_bit(width, height, across, down, channels, seed):
    cv2 = pytest.importorskip("cv2", reason="opencv is not installed, and these are its bits")
    pictures = np.random.default_rng(seed).integers(0, 256, (2, height, width, channels), dtype=np.uint8)
    expected = [cv2.resize(picture, (across, down), interpolation=cv2.INTER_LANCZOS4) for picture in pictures]
    found = lanczos(torch.from_numpy(pictures), (across, down))
    assert np.array_equal(found.numpy(), np.stack(expected).reshape(found.shape))


@pytest.mark.parametrize(("width", "height"), [(570, 33), (226, 270), (699, 666), (466, 351), (256, 301)])
def test_crops_of_any_size_for_a_network_of_256_pixels(width, height):
    """The weights of some of these lie so near to a half that only single precision rounds them as OpenCV does."""
    cv2 = pytest.importorskip("cv2", reason="opencv is not installed, and these are its bits")
    picture = np.random.default_rng(width).integers(0, 256, (height, width, 3), dtype=np.uint8)
    expected = cv2.resize(picture, (256, 256), interpolation=cv2.INTER_LANCZOS4)
    assert np.array_equal(lanczos(torch.from_numpy(picture)[None], (256, 256))[0].numpy(), expected)


def test_what_opencv_made_of_a_ramp():
    """Recorded, for where OpenCV is not installed."""
    ramp = torch.tensor([[0, 100, 200, 50], [10, 20, 255, 5]], dtype=torch.uint8)[None]
    assert lanczos(ramp, (3, 4))[0].tolist() == RAMP


RAMP = [[8, 181, 76], [5, 177, 68], [0, 171, 54], [0, 167, 46]]


def test_without_channels_as_with_one():
    pictures = torch.randint(0, 256, (2, 31, 17), dtype=torch.uint8)
    assert torch.equal(lanczos(pictures, (9, 40)), lanczos(pictures[..., None], (9, 40))[..., 0])


def test_no_pictures_at_all():
    assert lanczos(torch.zeros(0, 5, 7, 3, dtype=torch.uint8), (9, 3)).shape == (0, 3, 9, 3)


@pytest.mark.parametrize("shape", [(1, 0, 5, 3), (5, 5)])
def test_what_cannot_be_resized(shape):
    with pytest.raises(ValueError, match="expected bytes"):
        lanczos(torch.zeros(shape, dtype=torch.uint8), (9, 9))
    with pytest.raises(ValueError, match="float32"):
        lanczos(torch.zeros(1, 5, 5, 3), (9, 9))
