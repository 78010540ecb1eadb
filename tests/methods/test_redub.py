"""The loop of redub methods, with one that paints: what was heard is seen on the face, and nothing else changes."""

from fractions import Fraction

import numpy as np
import pytest
import torch
from painter import CORNERS, Painter

from joyhallo.config import SAMPLE_RATE
from joyhallo.faces.blend import Blend, feathered
from joyhallo.faces.track import Track
from joyhallo.files.journal import Journal
from joyhallo.methods.redub import chunk_count, placed, redub, repainted
from joyhallo.methods.script import Script
from joyhallo.sound.audio import Recording

HEIGHT, WIDTH, FRAMES = 90, 130, 23
RATE = Fraction(25)


@pytest.fixture(scope="module")
def pictures():
    return torch.randint(0, 256, (FRAMES, HEIGHT, WIDTH, 3), generator=torch.Generator().manual_seed(3)).byte()


def track(turned: float = 0.0) -> Track:
    """A face of 48 pixels that moves to the right, `turned` in radians."""
    turn = np.array([[np.cos(turned), -np.sin(turned)], [np.sin(turned), np.cos(turned)]])
    around = (CORNERS - CORNERS.mean(0)) @ turn.T
    points = np.stack([around + np.array([40 + i, 45]) for i in range(FRAMES)]).astype(np.float32)
    boxes = np.concatenate([points.min(1), points.max(1)], axis=1)
    return Track(boxes, points, np.ones(FRAMES, np.float32), "marks", (WIDTH, HEIGHT), RATE)


def heard(count: int = FRAMES) -> torch.Tensor:
    return torch.linspace(0.1, 0.9, count)


def script(amounts=1.0, places=None) -> Script:
    places = np.arange(FRAMES) if places is None else np.array(places)
    return Script(places, np.broadcast_to(np.float32(amounts), places.shape))


def whole(painter: Painter, pictures, script: Script, blend: Blend | None = None, along=None, **more) -> torch.Tensor:
    crops = painter.crops(along or track())
    coming = (pictures[place] for place in script.places)
    chunks = redub(painter, coming, crops, heard(len(script)), script, **more)
    return torch.cat([placed(chunk, crops, script, blend or Blend()) for chunk in chunks])


def test_the_mouth_shows_what_was_heard_and_nothing_else_changes(pictures):
    made = whole(Painter(), pictures, script())
    for number, picture in enumerate(made):
        left = 40 + number - 32
        below = picture[46:76, left + 1 : left + 62].int()
        assert (below - 255 * heard()[number]).abs().max() <= 0.51
        assert torch.equal(picture[:44], pictures[number, :44])
        assert torch.equal(picture[79:], pictures[number, 79:])
        assert torch.equal(picture[:, : max(0, left - 1)], pictures[number, :, : max(0, left - 1)])


@pytest.mark.parametrize("at_once", [1, 4, 16, 100])
def test_chunks_of_any_size_give_the_same(pictures, at_once):
    amounts = [0.0 if i in (0, 1, 2, 9, 20, 21, 22) else 1.0 for i in range(FRAMES)]
    expected = whole(Painter(), pictures, script(amounts))
    assert torch.equal(whole(Painter(at_once), pictures, script(amounts)), expected)


def test_frames_without_a_face_come_through_and_cost_no_others(pictures):
    painter = Painter()
    made = whole(painter, pictures, script([float(7 <= i < 13) for i in range(FRAMES)]))
    assert torch.equal(made[:7], pictures[:7])
    assert torch.equal(made[13:], pictures[13:])
    assert all(not torch.equal(made[i], pictures[i]) for i in range(7, 13))
    assert painter.spoken == [3, 3]  # of the chunks 5 to 9 and 10 to 14


def test_each_frame_shows_the_picture_that_the_script_says(pictures):
    places = [5, 4, 3, 3, 4, 22, 0]
    made = whole(Painter(), pictures, script(places=places))
    assert torch.equal(made[:, :44], pictures[places][:, :44])
    assert len({int(picture[60, 40 + place, 0]) for picture, place in zip(made, places, strict=True)}) == len(places)


def test_pictures_are_read_as_they_are_needed(pictures):
    read = []

    def film():
        for number, picture in enumerate(pictures):
            read.append(number)
            yield picture

    painter = Painter(4)
    chunks = redub(painter, film(), painter.crops(track()), heard(9), script(places=range(9)))
    next(chunks)
    assert len(read) <= 8  # its own, and those of one chunk ahead
    list(chunks)
    assert len(read) == 9


def test_progress_counts_to_the_end(pictures):
    seen = []
    whole(Painter(), pictures, script(), on_progress=seen.append)
    assert [(progress.done, progress.total) for progress in seen] == [(i + 1, 5) for i in range(5)]


def test_what_is_kept_is_not_done_again(pictures, tmp_path):
    half = script([0.0, 0.0, *[1.0] * (FRAMES - 2)])
    expected = whole(Painter(), pictures, half)
    first, second = Painter(), Painter()
    kept = Journal(tmp_path, "key", (5, 3, 64, 64))
    chunks = redub(first, iter(pictures), first.crops(track()), heard(), half, kept=kept)
    for _ in range(3):
        next(chunks)
    chunks.close()
    assert torch.equal(whole(second, pictures, half, kept=kept), expected)
    assert first.spoken + second.spoken == [3, 5, 5, 5, 3]


def test_half_as_much_counts_half_as_much(pictures):
    full, half = whole(Painter(), pictures, script()), whole(Painter(), pictures, script(0.5))
    assert ((full.float() + pictures) / 2 - half).abs().max() <= 1
    assert not torch.equal(full, half)


def test_what_is_repainted_is_told_for_each_frame(pictures):
    painter, blend, amounts = Painter(), Blend(feathered(0.3)), script([0.0, *[0.7] * (FRAMES - 1)])
    crops, made = painter.crops(track()), whole(Painter(), pictures, amounts, blend)
    for number in (0, 1, FRAMES - 1):
        told = repainted(crops, painter.size, amounts, number, blend, (HEIGHT, WIDTH))
        changed = (made[number] != pictures[number]).any(-1)
        assert not (changed & (told == 0)).any()
        assert (changed.sum() > 1000) == (told.max() > 0.5) == (number > 0)


def test_a_turned_face_is_painted_where_it_is():
    """The middle of the painted half lies below the middle of the face, along its own axis."""
    dark = torch.zeros(FRAMES, HEIGHT, WIDTH, 3, dtype=torch.uint8)
    made = whole(Painter(), dark, script(), along=track(np.pi / 6))
    ys, xs = torch.meshgrid(torch.arange(HEIGHT), torch.arange(WIDTH), indexing="ij")
    bright = made[5, ..., 0].float()
    middle = torch.tensor([(bright * xs).sum(), (bright * ys).sum()]) / bright.sum()
    expected = torch.tensor([45 - 16 * np.sin(np.pi / 6), 45 + 16 * np.cos(np.pi / 6)])
    assert torch.allclose(middle, expected.float(), atol=0.6)


def test_there_are_as_many_chunks_as_frames_need():
    assert [chunk_count(Painter(5), script(places=range(n))) for n in (0, 1, 5, 6)] == [0, 1, 1, 2]


def test_listening_is_at_the_films_rate():
    recording = Recording(torch.linspace(0, 1, 2 * SAMPLE_RATE))
    for rate in (Fraction(25), Fraction(30_000, 1001), Fraction(60)):
        heard = Painter().listen(recording, rate)
        assert len(heard) == int(2 * rate)
        assert torch.allclose(heard, (torch.arange(len(heard)) + 0.5) / (2 * float(rate)), atol=1e-3)
