"""Boxes that the bridge of the nose halves, from whatever points there are."""

import pytest
import torch
from upright_face import BRIDGE_AT, CHIN_AT, LEFT, POINTS, RIGHT, SIZE, track

from joyhallo.methods.musetalk.boxes import Pads, boxes_of, halved


@pytest.mark.parametrize("scheme", POINTS)
def test_the_bridge_is_in_the_middle_and_the_chin_at_the_end(scheme):
    left, top, right, bottom = boxes_of(track(scheme), "original")[0].tolist()
    assert bottom == CHIN_AT
    assert (left, right) == pytest.approx((LEFT, RIGHT), abs=2), "the forehead does not count"
    assert (top + bottom) / 2 == pytest.approx(BRIDGE_AT, abs=3)


def test_the_box_moves_down_and_grows_as_wished():
    plain = boxes_of(track(), "original")[0]
    assert (boxes_of(track(), "original", shift=7)[0] - plain).tolist() == [0, 14, 0, 0]
    assert (boxes_of(track(), "original", shift=-7)[0] - plain).tolist() == [0, -14, 0, 0]
    assert (boxes_of(track(), "original", pads=Pads(bottom=10))[0] - plain).tolist() == [0, 0, 0, 10]
    assert boxes_of(track(), "original", pads=Pads(bottom=1000))[0, 3] == SIZE[1]


@pytest.mark.parametrize("scheme", POINTS)
def test_a_frame_without_a_face_keeps_its_place(scheme):
    found = [True, False, True, True, False]
    boxes = boxes_of(track(scheme, 5, found), "centred")
    assert len(boxes) == 5
    assert (boxes.any(1)).tolist() == found


def test_a_face_that_leaves_the_picture_is_cut_at_its_border():
    moved = track()
    moved.points[:, :, 0] -= 90
    moved.points[:, :, 1] += 100
    left, top, right, bottom = boxes_of(moved, "original")[0].tolist()
    assert (left, bottom) == (0, SIZE[1])
    assert 0 <= top < bottom
    assert right == pytest.approx(70, abs=2)


def test_where_points_make_no_box_the_finders_is_taken():
    points = torch.zeros(1, 3, 2).double()
    assert halved(points, torch.tensor([[5.0, 6, 70, 80]])).tolist() == [[5, 6, 70, 80]]


def test_smoothing_within_a_shot_alone():
    shaken = track(count=12, cuts=(6,))
    shaken.points[::2, :, 0] += 8
    shaken.points[6:] += 20
    plain, smooth = boxes_of(shaken, "original"), boxes_of(shaken, "centred")
    assert torch.equal(boxes_of(shaken, "none"), plain)
    assert plain[2:10, 0].diff().abs().max() >= 8
    assert max(smooth[:6, 0].diff().abs().max(), smooth[6:, 0].diff().abs().max()) <= 4
    assert smooth[5, 1] < smooth[6, 1] - 15
