"""The loop of redub methods, with one that paints: what was heard is seen on the face, and nothing else changes."""

from fractions import Fraction

import numpy as np
import pytest
import torch
from painter import CORNERS, Painter

from joyhallo.config import SAMPLE_RATE
from joyhallo.faces.track import Track
from joyhallo.files.journal import Journal
from joyhallo.methods.redub import chunk_count, placed, redub
from joyhallo.sound.audio import Recording

HEIGHT, WIDTH, FRAMES = 90, 130, 23
RATE = Fraction(25)


@pytest.fixture(scope="module")
def pictures():
    return torch.rand(FRAMES, 3, HEIGHT, WIDTH, generator=torch.Generator().manual_seed(3))


def track(start: int = 0, count: int = FRAMES, turned: float = 0.0) -> Track:
    """A face of 48 pixels that moves to the right, `turned` in radians."""
    turn = np.array([[np.cos(turned), -np.sin(turned)], [np.sin(turned), np.cos(turned)]])
    around = (CORNERS - CORNERS.mean(0)) @ turn.T
    return Track(start, np.stack([around + np.array([40 + start + i, 45]) for i in range(count)]), count, 0)


def heard(count: int = FRAMES) -> torch.Tensor:
    return torch.linspace(0.1, 0.9, count)


def whole(painter: Painter, pictures, track, windows, **more) -> torch.Tensor:
    chunks = redub(painter, pictures, track, windows, **more)
    return torch.cat([placed(chunk, painter.crops(track), track) for chunk in chunks])


def test_the_mouth_shows_what_was_heard_and_nothing_else_changes(pictures):
    made = whole(Painter(), [pictures], track(), heard())
    for number, picture in enumerate(made):
        left = 40 + number - 32
        below = picture[:, 46:76, left + 1 : left + 62]
        assert torch.allclose(below, heard()[number].expand_as(below), atol=1e-5)
        assert torch.equal(picture[:, :44], pictures[number, :, :44])
        assert torch.equal(picture[:, 79:], pictures[number, :, 79:])
        assert torch.equal(picture[:, :, : max(0, left - 1)], pictures[number, :, :, : max(0, left - 1)])


@pytest.mark.parametrize("at_once", [1, 4, 16, 100])
@pytest.mark.parametrize("batch", [1, 7, 23])
def test_batches_and_chunks_of_any_size_give_the_same(pictures, at_once, batch):
    expected = whole(Painter(), [pictures], track(3, 17), heard())
    found = whole(Painter(at_once), pictures.split(batch), track(3, 17), heard())
    assert torch.equal(found, expected)


def test_frames_without_a_face_come_through_and_cost_no_others(pictures):
    painter = Painter()
    made = whole(painter, [pictures], track(7, 6), heard())
    assert torch.equal(made[:7], pictures[:7])
    assert torch.equal(made[13:], pictures[13:])
    assert all(not torch.equal(made[i], pictures[i]) for i in range(7, 13))
    assert painter.spoken == [3, 3]  # of the chunks 5 to 9 and 10 to 14


@pytest.mark.parametrize(("sound", "film", "made"), [(9, 23, 9), (40, 23, 23), (0, 23, 0), (10, 10, 10)])
def test_it_is_as_long_as_the_shorter_of_film_and_sound(pictures, sound, film, made):
    chunks = list(redub(Painter(), pictures[:film].split(4), track(), heard(sound)))
    assert sum(len(chunk.pictures) for chunk in chunks) == made
    assert len(chunks) <= chunk_count(Painter(), sound)


def test_pictures_are_read_as_they_are_needed(pictures):
    read = []

    def film():
        for number, picture in enumerate(pictures.split(1)):
            read.append(number)
            yield picture

    chunks = redub(Painter(4), film(), track(), heard(9))
    next(chunks)
    assert len(read) == 4
    list(chunks)
    assert len(read) == 9


def test_progress_counts_to_the_end(pictures):
    seen = []
    list(redub(Painter(), [pictures], track(), heard(), on_progress=seen.append))
    assert [(progress.done, progress.total) for progress in seen] == [(i + 1, 5) for i in range(5)]


def test_what_is_kept_is_not_done_again(pictures, tmp_path):
    expected = whole(Painter(), [pictures], track(2), heard())
    first, second = Painter(), Painter()
    kept = Journal(tmp_path, "key", (5, 3, 64, 64))
    chunks = redub(first, [pictures], track(2), heard(), kept=kept)
    for _ in range(3):
        next(chunks)
    chunks.close()
    assert torch.equal(whole(second, [pictures], track(2), heard(), kept=kept), expected)
    assert first.spoken + second.spoken == [3, 5, 5, 5, 3]


def test_a_turned_face_is_painted_where_it_is(pictures):
    """The middle of the painted half lies below the middle of the face, along its own axis."""
    turned = track(turned=np.pi / 6)
    made = whole(Painter(), [torch.zeros_like(pictures)], turned, torch.ones(FRAMES))
    ys, xs = torch.meshgrid(torch.arange(HEIGHT), torch.arange(WIDTH), indexing="ij")
    bright = made[5, 0]
    middle = torch.tensor([(bright * xs).sum(), (bright * ys).sum()]) / bright.sum()
    expected = torch.tensor([45 - 16 * np.sin(np.pi / 6), 45 + 16 * np.cos(np.pi / 6)])
    assert torch.allclose(middle, expected.float(), atol=0.6)


def test_listening_is_at_the_films_rate():
    recording = Recording(torch.linspace(0, 1, 2 * SAMPLE_RATE))
    for rate in (Fraction(25), Fraction(30_000, 1001), Fraction(60)):
        heard = Painter().listen(recording, rate)
        assert len(heard) == int(2 * rate)
        assert torch.allclose(heard, (torch.arange(len(heard)) + 0.5) / (2 * float(rate)), atol=1e-3)
