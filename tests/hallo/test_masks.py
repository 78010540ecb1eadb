import numpy as np
import pytest
import torch
from PIL import Image

from joyhallo.faces.boxes import Box
from joyhallo.faces.regions import drawn
from joyhallo.methods.hallo import masks

SIZES = [(64, 64), (128, 128), (1, 1), (3, 200), (128, 64), (37, 501), (640, 480), (65, 63)]


def noise(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width), dtype=np.uint8)


@pytest.mark.parametrize("shape", SIZES, ids=str)
def test_the_arithmetic_is_opencvs(shape):
    cv2 = pytest.importorskip("cv2", reason="OpenCV comes with insightface")
    base = masks.shrunk(noise(*shape), 64)
    assert np.array_equal(base, cv2.resize(noise(*shape), (64, 64)))
    for size in (masks.FACE_BLUR, masks.LIP_BLUR):
        blurred = masks.blurred(base // 2 + 3, size)
        assert np.array_equal(blurred, cv2.GaussianBlur(base // 2 + 3, (size, size), 0))
        expected = cv2.normalize(blurred, None, 0, 255, cv2.NORM_MINMAX)
        assert np.abs(masks.stretched(blurred).astype(int) - expected).max() <= 1  # depends on the processor's FMA


def test_regions_are_where_they_should_be():
    size = (200, 200)
    soft = masks.soft_masks(drawn(Box(40, 40, 160, 180), size), drawn(Box(80, 130, 120, 150), size))
    assert soft.pose[2, 2] == 255
    assert soft.expression[25, 32] > 128 > soft.expression[44, 32]
    assert soft.lip[44, 32] > 200
    assert soft.lip[10, 32] < 10


def test_masks_of_one_value_are_graceful():
    for value in (0, 255):
        soft = masks.soft_masks(np.full((50, 40), value, np.uint8), np.zeros((50, 40), np.uint8))
        assert soft.lip.max() == 0
        assert soft.pose.min() == 255


def test_a_users_masks_of_any_size_replace_the_rectangles():
    def ellipse(width: int, height: int) -> np.ndarray:
        y, x = np.ogrid[:height, :width]
        return (((x / width - 0.5) ** 2 + (y / height - 0.5) ** 2 < 0.08) * 255).astype(np.uint8)

    small, large = masks.softened(ellipse(100, 80), 51), masks.softened(ellipse(1000, 800), 51)
    assert np.abs(small.astype(int) - large).max() < 20  # half a pixel of the base


@pytest.mark.parametrize("size", [(64, 64), (512, 512), (512, 320), (64, 192)], ids=str)
def test_the_pyramid_is_pils_at_every_level(size):
    soft = masks.SoftMasks(noise(64, 64, 1), noise(64, 64, 2), noise(64, 64, 3))
    levels = masks.pyramid(soft, size)
    assert len(levels) == 4
    for level, found in enumerate(levels):
        width, height = size[0] // 8 >> level, size[1] // 8 >> level
        assert found.shape == (3, width * height)
        assert found.dtype == torch.float32
        for row, mask in zip(found, (soft.pose, soft.expression, soft.lip), strict=True):
            expected = Image.fromarray(mask).resize((width, height), Image.Resampling.BILINEAR)
            assert np.array_equal((row.numpy() * 255).round().reshape(height, width), np.array(expected))


def test_pixels_and_locator():
    picture = np.random.default_rng(0).integers(0, 256, (90, 120, 3), dtype=np.uint8)
    found = masks.pixels(picture, (128, 64))
    expected = np.array(Image.fromarray(picture).resize((128, 64), Image.Resampling.BILINEAR))
    assert np.allclose((found.permute(1, 2, 0).numpy() + 1) * 127.5, expected, atol=1e-4)
    where = masks.locator(drawn(Box(30, 0, 90, 90), (120, 90)), (128, 64))
    assert where.shape == found.shape
    assert where[:, 32, 64].tolist() == [1, 1, 1]
    assert where[:, 32, 2].tolist() == [0, 0, 0]
