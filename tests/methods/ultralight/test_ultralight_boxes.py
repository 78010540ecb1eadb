"""Squares from ear to ear, from whatever points there are."""

from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from upright_face import BRIDGE_AT, LEFT, POINTS, RIGHT, SIZE, track

from joyhallo.faces.regions import OUTLINE
from joyhallo.faces.track import Track
from joyhallo.methods.ultralight.boxes import boxes_of, squares
from joyhallo.methods.ultralight.method import boxed


@pytest.mark.parametrize("scheme", POINTS)
def test_the_square_reaches_from_ear_to_ear_and_from_the_nose_as_far_down(scheme):
    left, top, right, bottom = boxes_of(track(scheme))[0].tolist()
    assert (left, right) == pytest.approx((LEFT, RIGHT), abs=2), "the forehead does not count"
    assert top == pytest.approx(BRIDGE_AT, abs=3)
    assert bottom - top == right - left


def test_whole_pixels_are_cut_and_not_rounded():
    moved = track()
    moved.points[..., 1] += 0.9
    assert boxes_of(moved)[0, 1] == BRIDGE_AT
    assert squares(torch.tensor([[3, 5, 13]])).tolist() == [[3, 5, 13, 15]]
    assert squares(torch.tensor([[3, 5, 13]]), shift=-2).tolist() == [[3, 3, 13, 13]]


def test_the_square_starts_lower_as_wished():
    plain = boxes_of(track())[0]
    assert (boxes_of(track(), shift=7)[0] - plain).tolist() == [0, 7, 0, 7]
    assert (boxes_of(track(), shift=-7)[0] - plain).tolist() == [0, -7, 0, -7]


@pytest.mark.parametrize("scheme", POINTS)
@pytest.mark.parametrize("smoothing", ["original", "centred"])
def test_a_frame_without_a_person_keeps_its_place(scheme, smoothing):
    found = [True, False, True, True, False]
    boxes = boxes_of(track(scheme, 5, found), smoothing, shift=5)
    assert len(boxes) == 5
    assert (boxes.any(1)).tolist() == found
    assert torch.equal(boxes[2], boxes_of(track(scheme), shift=5)[0])


def test_a_square_is_cut_at_the_borders_of_the_picture():
    moved = track()
    moved.points[:, :, 0] -= 90
    moved.points[:, :, 1] += 100
    assert boxes_of(moved)[0].tolist() == pytest.approx([0, BRIDGE_AT + 100, 70, SIZE[1]], abs=2)
    moved.points[:, :, 0] -= 400
    left, _, right, _ = boxes_of(moved)[0].tolist()
    assert left == right == 0


@given(
    corners=st.lists(st.tuples(*[st.floats(-300, 500, width=32)] * 2, *[st.floats(0, 400, width=32)] * 2), min_size=1),
    lost=st.booleans(),
    smoothing=st.sampled_from(["original", "centred"]),
    shift=st.integers(-200, 200),
)
@settings(deadline=None)
def test_whatever_is_usable_can_be_cut_and_put_back(corners, lost, smoothing, shift):
    boxes = np.array([(left, top, left + width, top + height) for left, top, width, height in corners], np.float32)
    if lost:
        boxes[::2] = np.nan
    nothing = np.zeros((len(boxes), 0, 2), np.float32)
    seen = Track(boxes, nothing, np.ones(len(boxes), np.float32), "none", SIZE, Fraction(25))
    faces, picture = boxed(boxes_of(seen, smoothing, shift)), torch.zeros(1, *SIZE[::-1], 3, dtype=torch.uint8)
    assert not faces.usable[~seen.found].any()
    for frame in np.flatnonzero(faces.usable).tolist():
        patch = faces.patch(faces.cut(picture, [frame])[0], frame)
        assert patch is not None
        assert picture[0][patch.box.slices].shape == patch.pixels.shape


def test_squares_are_smoothed_within_a_shot_alone_and_stay_squares():
    shaken = track(count=12, cuts=(6,))
    shaken.points[::2, :, 0] += 8
    shaken.points[::3, list(OUTLINE[:18]), 0] += 5
    shaken.points[6:, :, 1] += 10
    plain, smooth = boxes_of(shaken, "original"), boxes_of(shaken, "centred")
    assert torch.equal(boxes_of(shaken, "none"), plain)
    assert plain[:6, 0].diff().abs().max() >= 8
    assert max(smooth[:6, 0].diff().abs().max(), smooth[6:, 0].diff().abs().max()) <= 4
    assert smooth[6, 1] - smooth[5, 1] == 10
    assert torch.equal(smooth[:, 2] - smooth[:, 0], smooth[:, 3] - smooth[:, 1])
