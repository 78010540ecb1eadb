"""The icon and the banner: as the registry takes them, and as they are drawn."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from tools.pictures import shop


@pytest.fixture(scope="module")
def icon():
    return Image.open(shop.ASSETS / "icon.png")


@pytest.fixture(scope="module")
def banner():
    return Image.open(shop.ASSETS / "banner.png")


def test_the_icon_is_a_small_square(icon):
    assert icon.format == "PNG"
    assert icon.width == icon.height <= 400
    assert icon.getpixel((0, 0))[3] == 0  # clear corners


def test_the_banner_has_the_registrys_shape(banner):
    assert banner.format == "PNG"
    assert banner.width * 9 == banner.height * 21


def test_the_icon_is_drawn_by_the_script(icon):
    drawn = shop.icon()
    assert drawn.mode == icon.mode
    assert np.abs(np.asarray(icon).astype(int) - np.asarray(drawn)).mean() < 0.5  # libraries round differently
