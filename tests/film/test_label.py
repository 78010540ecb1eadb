"""The visible label, found again in the pixels of films that FFmpeg decodes."""

from __future__ import annotations

from fractions import Fraction

import av
import numpy as np
import pytest
import torch

from joyhallo.film.label import CHINESE, ENGLISH, TEXTS, Label
from joyhallo.film.marks import Labels
from joyhallo.film.write import write

SIZES = ((512, 512), (1920, 1080), (1080, 1920))


def grey(frames: int, width: int, height: int, level: float = 0.5) -> torch.Tensor:
    return torch.full((frames, height, width, 3), level)


def seen(path) -> np.ndarray:
    with av.open(str(path)) as file:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in file.decode(video=0)])


def lossless(tmp_path, frames: torch.Tensor, label: Label | None, rate=25) -> np.ndarray:
    path = tmp_path / f"{len(list(tmp_path.iterdir()))}.mkv"
    return seen(write(path, frames.split(7), rate, None, "mkv", "small", labels=Labels(visible=label)))


def ink(picture: np.ndarray) -> np.ndarray:
    """Where words are, in white."""
    return (picture > 200).all(-1)


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize(("width", "height"), SIZES)
def test_words_are_as_high_as_the_rule_asks(tmp_path, width, height, text):
    words = ink(lossless(tmp_path, grey(1, width, height), Label(text))[0])
    rows, columns = np.flatnonzero(words.any(1)), np.flatnonzero(words.any(0))
    gaps = np.flatnonzero(np.diff(columns) > 1)
    first = words[:, columns[0] : columns[gaps[0]] + 1]  # the A
    capital = np.flatnonzero(first.any(1))
    assert capital[-1] - capital[0] + 1 >= 0.05 * min(width, height)
    assert rows[-1] - rows[0] + 1 >= capital[-1] - capital[0] + 1
    assert rows[0] < 0.1 * min(width, height), "it is in a corner"
    assert columns[0] < 0.1 * min(width, height)
    assert columns[-1] < 0.8 * width, "it is all to be seen"


@pytest.mark.parametrize("level", [0.0, 1.0])
def test_words_are_read_on_black_and_on_white(tmp_path, level):
    picture = lossless(tmp_path, grey(1, 512, 512, level), Label(CHINESE))[0].astype(int)
    inside = picture[20:60, 20:140]
    assert inside.max() - inside.min() > 120


@pytest.mark.parametrize(("rate", "expected"), [(25, 50), (Fraction(30_000, 1001), 60), (Fraction(25, 2), 25)])
def test_it_is_there_for_two_seconds_and_then_gone(tmp_path, rate, expected):
    frames = lossless(tmp_path, grey(64, 128, 128), Label(ENGLISH), rate)
    assert [bool(ink(frame).any()) for frame in frames] == [True] * expected + [False] * (64 - expected)
    assert expected / rate >= 2


def test_it_stays_if_asked_for(tmp_path):
    assert all(ink(frame).any() for frame in lossless(tmp_path, grey(60, 128, 128), Label(ENGLISH, None)))


def test_everything_else_stays_as_it_was(tmp_path):
    frames = torch.rand(60, 96, 128, 3, generator=torch.Generator().manual_seed(0))
    before, plain = frames.clone(), lossless(tmp_path, frames, None)
    labelled = lossless(tmp_path, frames, Label(ENGLISH))
    changed = (plain != labelled).any((0, 3))
    assert changed.sum() > 500
    rows, columns = np.flatnonzero(changed.any(1)), np.flatnonzero(changed.any(0))
    assert rows[-1] < 16
    assert columns[-1] < 66
    assert (plain[50:] == labelled[50:]).all()
    assert torch.equal(frames, before), "what others hold is not drawn on"


def test_frames_of_one_channel_are_not_drawn_on():
    frames = torch.full((2, 1, 64, 64), 0.5)
    shared = frames.expand(-1, 3, -1, -1)
    assert (Label(ENGLISH).on(shared, 0, Fraction(25)) != 0.5).any()
    assert (frames == 0.5).all()


@pytest.mark.parametrize(("width", "height"), [(2, 2), (16, 16), (1000, 20), (20, 1000)])
def test_odd_sizes_get_what_fits(width, height):
    frames = torch.full((1, 3, height, width), 0.5)
    assert Label(ENGLISH).on(frames, 0, Fraction(25)).shape == frames.shape
