"""VBench's measures against torchvision's pictures and plain loops, and that no cut of a film changes them."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from parity_vbench import glide, network
from torch import Tensor, nn
from torchvision.transforms import v2

from joyhallo.measures.amt import Between
from joyhallo.measures.streamed import MeasureError
from joyhallo.measures.vbench import (
    AT_ONCE,
    Background,
    Flicker,
    SmoothLinear,
    Smoothness,
    Streamed,
    Subject,
    background_pictures,
    consistency,
    likeness,
    mean_of_set,
    steadiness,
    subject_pictures,
)


def noise(count: int, height: int, width: int) -> Tensor:
    return torch.randint(256, (count, height, width, 3), dtype=torch.uint8)


def seen(measure: Streamed, *pieces: Tensor) -> Streamed:
    for piece in pieces:
        measure.see(piece)
    return measure


class Means(nn.Module):
    """Features that are the means of each picture's colours, cubed to be no straight function of them."""

    def __init__(self, turned: float = 0.0):
        super().__init__()
        self.turned = nn.Parameter(torch.tensor(turned))
        self.batches = list[int]()

    def forward(self, pictures: Tensor) -> Tensor:
        self.batches.append(len(pictures))
        return (pictures.mean((2, 3)) + self.turned) ** 3


class Halfway(nn.Module):
    """Guesses the mean of both."""

    def __init__(self) -> None:
        super().__init__()
        self.unused = nn.Parameter(torch.zeros(1))

    def forward(self, first: Tensor, second: Tensor) -> Between:
        assert all(side % 16 == 0 for side in first.shape[2:])
        return Between((first + second) / 2, [])


# ---- pictures


SIZES = [(300, 200), (200, 300), (126, 126), (224, 400), (337, 225), (61, 199), (450, 451), (227, 224)]


@pytest.mark.parametrize("size", SIZES)
def test_pictures_are_those_of_torchvision(size):
    frames = noise(2, *size)
    pictures = frames.permute(0, 3, 1, 2).float()
    subject = v2.Compose([
        v2.Resize(224, antialias=False),
        v2.Lambda(lambda x: x / 255),
        v2.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    ])  # fmt: skip
    background = v2.Compose([
        v2.Resize(224, v2.InterpolationMode.BICUBIC, antialias=False),
        v2.CenterCrop(224),
        v2.Lambda(lambda x: x / 255),
        v2.Normalize((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)),
    ])  # fmt: skip
    for ours, theirs in (subject_pictures, subject), (background_pictures, background):
        expected = theirs(pictures)
        assert ours(frames).shape == expected.shape
        assert (ours(frames) - expected).abs().max() < 1e-5


def test_colours_that_overshoot_stay_so():
    frames = torch.zeros(1, 100, 100, 3, dtype=torch.uint8)
    frames[:, 50:] = 255
    assert background_pictures(frames).amax() > (1 - 0.40821073) / 0.26130258 + 0.1


# ---- consistency


def test_likeness_is_clamped_to_nothing():
    same, other, opposite = torch.eye(4)[0], torch.eye(4)[1], -torch.eye(4)[0]
    assert consistency(likeness(torch.stack([same, 3 * same, same]))) == 1
    assert likeness(torch.stack([same, other, opposite, opposite, same])).tolist() == [0, 0, 0.5, 0.5]


def test_likeness_is_that_of_a_plain_loop():
    features = torch.randn(9, 5)
    units = [one.numpy() / np.linalg.norm(one.numpy()) for one in features]
    expected = [(max(0, a @ b) + max(0, units[0] @ b)) / 2 for a, b in pairwise(units)]
    assert np.abs(likeness(features).numpy() - expected).max() < 1e-6


@pytest.mark.parametrize("kind", [Subject, Background])
def test_consistency_of_a_film(kind):
    film, net = noise(2 * AT_ONCE + 3, 30, 40), Means(0.3)
    measure = seen(kind(net), film)
    pictures = (subject_pictures if kind is Subject else background_pictures)(film)
    assert (measure.features - net(pictures)).abs().max() < 1e-6
    assert torch.equal(measure.series, likeness(measure.features))
    still = seen(kind(net), film[:1].expand(5, -1, -1, -1))
    assert consistency(still.series) == pytest.approx(1)


# ---- differences


def plainly_guessed(before: Tensor, after: Tensor) -> np.ndarray:
    first, second = (frame.numpy().astype(np.float32) / np.float32(255) for frame in (before, after))
    return np.clip((first + second) / 2 * np.float32(255), 0, 255).astype(np.uint8)


@pytest.mark.parametrize("size", [(113, 130), (128, 160), (135, 121)])
def test_smoothness_cuts_fractions_off_and_leaves_out_what_was_padded(size):
    film = noise(6, *size)
    measure = seen(Smoothness(Halfway()), film)
    guesses = [plainly_guessed(film[at], film[at + 2]) for at in (0, 2)]
    assert np.array_equal(measure.guess(film[:1], film[2:3])[0].numpy(), guesses[0])
    expected = [
        np.abs(guess.astype(int) - film[at].numpy().astype(int)).mean()
        for guess, at in zip(guesses, (1, 3), strict=True)
    ]
    assert measure.series.tolist() == pytest.approx(expected, abs=1e-9)
    assert steadiness(measure.series) == pytest.approx((255 - np.mean(expected)) / 255)


def ramp(count: int, step: int) -> Tensor:
    return (torch.arange(count) * step + 7).byte()[:, None, None, None].expand(-1, 20, 30, 3)


def test_linear_smoothness():
    even = seen(SmoothLinear(), ramp(50, 4))
    assert even.series.tolist() == [0] * 24
    assert steadiness(even.series) == 1
    film = noise(8, 5, 6)
    values = film.double().numpy()
    expected = np.abs((values[0:-2:2] + values[2::2]) / 2 - values[1:-1:2]).mean((1, 2, 3))
    assert seen(SmoothLinear(), film).series.tolist() == pytest.approx(expected, abs=1e-9)


def test_flickering():
    assert seen(Flicker(), ramp(40, 5)).series.tolist() == [5] * 39
    film = noise(5, 4, 6)
    expected = np.abs(np.diff(film.double().numpy(), axis=0)).mean((1, 2, 3))
    assert seen(Flicker(), film).series.tolist() == pytest.approx(expected, abs=1e-9)
    assert steadiness(seen(Flicker(), film[:1], film[:1]).series) == 1


# ---- pieces


CUTS = [[1] * 41, [41], [7, 0, 20, 14], [3, 38], [40, 1]]


@pytest.mark.parametrize("made", [lambda: Subject(Means(0.3)), lambda: Background(Means()), SmoothLinear, Flicker],
                         ids=["subject", "background", "linear", "flicker"])  # fmt: skip
def test_no_cut_of_a_film_changes_anything(made):
    film = noise(41, 20, 30)
    found = [seen(made(), *film.split(cut)).series for cut in CUTS]
    assert all(torch.equal(one, found[0]) for one in found)


def test_no_cut_of_a_film_changes_what_a_network_is_given():
    film, batches = noise(41, 20, 30), []
    for cut in CUTS:
        net = Means()
        assert len(seen(Subject(net), *film.split(cut)).features) == 41
        batches.append(net.batches)
    assert batches == [[AT_ONCE, AT_ONCE, 41 - 2 * AT_ONCE]] * len(CUTS)


def test_no_cut_of_a_film_changes_its_smoothness():
    film, net = glide("cut", 6, [128, 128], [1.0, 2.0]), network("amt_s", "")
    found = [seen(Smoothness(net), *film.split(cut)).series for cut in ([6], [1] * 6, [2, 4])]
    assert len(found[0]) == 2
    assert all(torch.equal(one, found[0]) for one in found)


def test_a_film_may_go_on_after_it_was_asked():
    film = noise(30, 20, 30)
    for made in lambda: Subject(Means()), SmoothLinear, Flicker:
        measure = seen(made(), film[:5])
        assert torch.equal(measure.series, seen(made(), film[:5]).series)
        assert torch.equal(seen(measure, film[5:]).series, seen(made(), film).series)


@pytest.mark.parametrize(
    ("made", "count", "said"),
    [
        (lambda: Subject(Means()), 1, "A film of 1 frame has no subject consistency. Choose one of at least 2."),
        (lambda: Background(Means()), 0, "A film of 0 frames has no background consistency"),
        (lambda: Smoothness(Halfway()), 2, "A film of 2 frames has no smoothness. Choose one of at least 3."),
        (SmoothLinear, 2, "A film of 2 frames has no smoothness"),
        (Flicker, 1, "A film of 1 frame has no flickering. Choose one of at least 2."),
    ],
)
def test_films_that_are_too_short(made, count, said):
    measure = seen(made(), noise(count, 128, 128))
    with pytest.raises(MeasureError, match=said):
        _ = measure.series


def test_a_film_that_nothing_was_seen_of():
    with pytest.raises(MeasureError, match="A film of 0 frames"):
        _ = Flicker().series


def test_frames_of_another_size_or_kind():
    with pytest.raises(MeasureError, match="Frames of 9x8 pixels follow frames of 8x8"):
        seen(Flicker(), noise(2, 8, 8), noise(2, 8, 9))
    for odd in torch.zeros(2, 8, 8, 3), noise(2, 8, 8)[0], noise(2, 8, 8)[..., :1], noise(2, 0, 8):
        with pytest.raises(ValueError, match="Expected frames as bytes"):
            Flicker().see(odd)


# ---- several films


def test_sets():
    films = [torch.tensor([1.0, 0.5, 0.0]), torch.tensor([1.0])]
    scores = [consistency(film) for film in films]
    assert mean_of_set(scores, [3, 1]) == pytest.approx(2.5 / 4)
    assert mean_of_set(scores, [1, 1]) == pytest.approx(0.75)
