"""Faces cut out of a film and put back: what came back as it was changes nothing."""

from fractions import Fraction

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional as F

from joyhallo.faces.blend import Blend, feathered
from joyhallo.faces.cutouts import Cutouts, resized
from joyhallo.faces.find import FaceError
from joyhallo.faces.track import Track
from joyhallo.methods.handed import cut_out, handed_back
from joyhallo.methods.redub import placed
from joyhallo.methods.script import Script

WIDTH, HEIGHT, FRAMES = 150, 110, 9


def track(missing=(), left=40.0, cuts=()) -> Track:
    """A face of 40 by 50 pixels that moves to the right."""
    boxes = np.array([[left + 2 * i, 30, left + 40 + 2 * i, 80] for i in range(FRAMES)], np.float32)
    boxes[list(missing)] = np.nan
    points = np.empty((FRAMES, 0, 2), np.float32)
    return Track(boxes, points, np.ones(FRAMES, np.float32), "none", (WIDTH, HEIGHT), Fraction(25), tuple(cuts))


@pytest.fixture(scope="module")
def pictures():
    return torch.randint(0, 256, (FRAMES, HEIGHT, WIDTH, 3), generator=torch.Generator().manual_seed(1)).byte()


def faces_of(cutouts: Cutouts, pictures) -> torch.Tensor:
    cut = list(cut_out((pictures[number] for number in cutouts.frames), cutouts, "cpu"))
    return torch.stack(cut).movedim(1, -1)


def back(cutouts: Cutouts, pictures, faces, blend: Blend | None = None, amounts=1.0, at_once=4) -> torch.Tensor:
    script = Script(np.arange(FRAMES), np.float32(amounts) * cutouts.usable)
    chunks = handed_back(iter(pictures.clone()), cutouts, faces, FRAMES, at_once, "cpu")
    return torch.cat([placed(chunk, cutouts, script, blend or Blend()) for chunk in chunks])


@pytest.mark.parametrize("side", [80, 128, 333])
@pytest.mark.parametrize("left", [40.0, -25.0])
def test_what_came_back_as_it_was_changes_nothing(pictures, side, left):
    cutouts = Cutouts.of(track(missing=(3,), left=left), side, 0.5, range(FRAMES))
    faces = faces_of(cutouts, pictures)
    assert faces.shape == (FRAMES - 1, side, side, 3)
    for blend in (Blend(), Blend(feathered(0.1), matched=True)):
        assert torch.equal(back(cutouts, pictures, faces, blend), pictures)


def test_a_smaller_cutout_loses_what_it_cannot_hold_within_its_square_alone(pictures):
    smooth = F.interpolate(pictures[:, ::10, ::10].permute(0, 3, 1, 2).float(), (HEIGHT, WIDTH), mode="bicubic")
    smooth = smooth.clamp(0, 255).byte().permute(0, 2, 3, 1).contiguous()
    cutouts = Cutouts.of(track(), 40, 0.5, range(FRAMES))
    made = back(cutouts, smooth, faces_of(cutouts, smooth))
    off = (made.int() - smooth.int()).abs()
    number, square = 4, cutouts.box(4)
    rows, columns = square.slices
    there = Image.fromarray(smooth[number, rows, columns].numpy())
    for side in (40, int(square.width)):
        there = there.resize((side, side), Image.Resampling.BICUBIC)
    assert (made[number, rows, columns].int() - torch.from_numpy(np.array(there)).int()).abs().max() <= 2
    assert off[number].max() > 2
    outside = torch.ones_like(off, dtype=torch.bool)
    for number in range(FRAMES):
        outside[number][cutouts.box(number).slices] = False
    assert not off[outside].any()


def test_what_was_changed_is_seen_where_the_face_is(pictures):
    cutouts = Cutouts.of(track(), 128, 0.0, range(FRAMES))
    white = torch.ones(FRAMES, 64, 64, 3)  # of another size than was cut out
    made = back(cutouts, pictures, white)
    for number in range(FRAMES):
        square = cutouts.box(number)
        rows, columns = square.slices
        assert (square.width, square.height) == (50, 50)
        inner = made[number, rows, columns].float()
        assert inner.mean() > 220  # detail that a square of 128 pixels holds is replaced
        rest = made[number].clone()
        rest[rows, columns] = pictures[number, rows, columns]
        assert torch.equal(rest, pictures[number])


def test_squares_are_steadied_and_stay_around_the_face():
    shaken = track()
    shaken.boxes[:] += np.random.default_rng(0).normal(0, 3, (FRAMES, 1)).astype(np.float32)
    steps = np.diff(Cutouts.of(shaken, 64, 0.5, range(FRAMES)).boxes[:, 0])
    assert np.abs(steps - 2).mean() < 0.6 * np.abs(np.diff(shaken.boxes[:, 0]) - 2).mean()
    boxes = Cutouts.of(track(), 64, 0.5, range(FRAMES)).boxes
    sides = boxes[:, 2:] - boxes[:, :2]
    assert (sides == 75).all()
    middle = (boxes[:, :2] + boxes[:, 2:]) / 2
    assert np.abs(middle[2:-2] - [[60 + 2 * i, 55] for i in range(2, FRAMES - 2)]).max() <= 0.5


def test_shots_do_not_pull_at_each_other():
    cut = track(cuts=(4,))
    cut.boxes[4:] += 30
    boxes = Cutouts.of(cut, 64, 0.5, range(FRAMES)).boxes
    alone = Cutouts.of(track(), 64, 0.5, range(4)).boxes
    assert (boxes[:2] == alone[:2]).all()
    assert (np.diff(boxes[:, 0])[3]) > 25


def test_parts_of_a_film_put_together_are_the_whole(pictures):
    whole = Cutouts.of(track(), 100, 0.5, range(FRAMES))
    expected = back(whole, pictures, 1 - faces_of(whole, pictures))
    made = pictures
    for part in (range(5), range(5, FRAMES)):
        cutouts = Cutouts.of(track(), 100, 0.5, part)
        assert cutouts.frames.tolist() == list(part)
        made = back(cutouts, made, 1 - faces_of(cutouts, made), at_once=2)
    assert torch.equal(made, expected)


def test_half_of_it_is_halfway(pictures):
    cutouts = Cutouts.of(track(), 75, 0.5, range(FRAMES))
    half, all = (back(cutouts, pictures, 1 - faces_of(cutouts, pictures), amounts=some) for some in (0.5, 1.0))
    assert (half.float() - (pictures.float() + all.float()) / 2).abs().max() <= 1


def test_without_a_face_it_says_where_it_looked():
    with pytest.raises(FaceError, match=r"None of the frames 2 to 3 shows the face"):
        Cutouts.of(track(missing=(2, 3)), 64, 0.5, range(2, 4))
    with pytest.raises(FaceError, match="None of the frames 0 to 8"):
        Cutouts.of(track(left=-400.0), 64, 0.5, range(FRAMES))


def test_a_smaller_picture_is_that_of_pillow(pictures):
    found = resized(pictures[0, :100, :100].permute(2, 0, 1).float() / 255, 31)
    expected = Image.fromarray(pictures[0, :100, :100].numpy()).resize((31, 31), Image.Resampling.BICUBIC)
    off = (found * 255).permute(1, 2, 0) - torch.from_numpy(np.array(expected)).float()
    assert off.abs().max() <= 1.01
