"""PSNR and SSIM beside scikit-image's and scipy's."""

import numpy as np
import pytest
import scipy.ndimage
import torch
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from joyhallo.measures.similarity import INSIDE, OUTSIDE, Similarity, decibels, together

ORDINARY = {"channel_axis": 2, "data_range": 255}
GAUSSIAN = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}


@pytest.fixture
def films():
    """Frames (5, 21, 34, 3) of which the second is another, the third nearly one colour, the last the same."""
    dice = np.random.default_rng(5)
    a = dice.integers(0, 256, (5, 21, 34, 3), dtype=np.uint8)
    a[2] = 200 + a[2] // 200
    b = np.clip(a + dice.normal(0, 20, a.shape), 0, 255).astype(np.uint8)
    b[1], b[2], b[4] = dice.integers(0, 256, b[1].shape), 200, a[4]
    return a, b


def seen(a, b, *conventions, **places):
    found = Similarity(conventions)
    found.see(torch.from_numpy(a), torch.from_numpy(b), **places)
    return found


def compared(function, a, b, **options):
    return [function(x, y, **options) for x, y in zip(a, b, strict=True)]


def test_psnr_is_scikit_images(films):
    a, b = films
    found = seen(a, b)
    assert found.psnr()[:4].tolist() == pytest.approx(compared(peak_signal_noise_ratio, a, b)[:4])
    assert found.psnr()[4] == float("inf")
    whole = peak_signal_noise_ratio(a, b)
    assert decibels(found.errors().mean()).item() == pytest.approx(whole)


@pytest.mark.parametrize(("name", "options"), [("gaussian", GAUSSIAN), ("uniform", {})])
def test_ssim_is_scikit_images(films, name, options):
    expected = compared(structural_similarity, *films, **ORDINARY, **options)
    assert seen(*films, name).ssim(name).tolist() == pytest.approx(expected, abs=1e-9)


def test_reflected_ssim_has_windows_at_the_borders(films):
    def local(picture):
        return scipy.ndimage.gaussian_filter(picture, 1.5, mode="mirror", truncate=3.5)

    def expected(x, y):
        mx, my = local(x), local(y)
        covariance, vx, vy = local(x * y) - mx * my, local(x * x) - mx**2, local(y * y) - my**2
        first, second = (0.01 * 255) ** 2, (0.03 * 255) ** 2
        maps = (2 * mx * my + first) * (2 * covariance + second) / ((mx**2 + my**2 + first) * (vx + vy + second))
        return maps.mean()

    a, b = (film.astype(float) for film in films)
    wanted = [np.mean([expected(x[..., c], y[..., c]) for c in range(3)]) for x, y in zip(a, b, strict=True)]
    assert seen(*films, "reflected").ssim("reflected").tolist() == pytest.approx(wanted, abs=1e-9)


def test_a_region_counts_alone(films):
    a, b = films
    where = np.zeros((5, 21, 34), bool)
    where[:, 7:15, 9:20] = True
    where[3] = False
    found = seen(a, b, "gaussian", where=torch.from_numpy(where))
    assert found.psnr(INSIDE)[0].item() == pytest.approx(peak_signal_noise_ratio(a[0][where[0]], b[0][where[0]]))
    assert found.psnr(OUTSIDE)[0].item() == pytest.approx(peak_signal_noise_ratio(a[0][~where[0]], b[0][~where[0]]))
    assert found.errors(INSIDE)[3].isnan()
    assert torch.equal(found.errors(OUTSIDE)[3], found.errors()[3])
    _, maps = structural_similarity(a[0], b[0], full=True, **ORDINARY, **GAUSSIAN)
    maps, where = maps[5:-5, 5:-5].mean(2), where[0, 5:-5, 5:-5]
    assert found.ssim("gaussian", INSIDE)[0].item() == pytest.approx(maps[where].mean())
    assert found.ssim("gaussian", OUTSIDE)[0].item() == pytest.approx(maps[~where].mean())


def test_pieces_make_no_difference(films):
    a, b = (torch.from_numpy(film) for film in films)
    pieces = Similarity(("uniform",))
    for one, other in together(a.split(3), b[:4].split([1, 1, 2])):
        pieces.see(one, other)
    whole = seen(films[0][:4], films[1][:4], "uniform")
    assert torch.equal(pieces.errors(), whole.errors())
    assert torch.equal(pieces.ssim("uniform"), whole.ssim("uniform"))


def test_what_cannot_be_compared_is_told(films):
    a, b = films
    for x, y, message in (
        (a, b[:, :-1], "bring both to one size"),
        (a.astype(float), b.astype(float), "expected bytes"),
        (a[:, :9], b[:, :9], "too small for SSIM: 11"),
    ):
        with pytest.raises(ValueError, match=message):
            seen(x, y, "gaussian")
    with pytest.raises(ValueError, match="The region is"):
        seen(a, b, where=torch.ones(3, 3, dtype=torch.bool))
    with pytest.raises(ValueError, match="choose from gaussian"):
        Similarity(("ssim",))
    assert len(seen(a[:, :2], b[:, :2]).psnr()) == 5
