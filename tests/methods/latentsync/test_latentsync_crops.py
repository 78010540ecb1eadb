"""LatentSync's faces: how they are aligned over time, cut out and put back."""

from fractions import Fraction

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from joyhallo.faces.blend import blended
from joyhallo.faces.boxes import Box
from joyhallo.faces.track import Track
from joyhallo.methods.latentsync.alignment import MESH, aligned, canvas, fitted, lagging, matrices, scale, three_points
from joyhallo.methods.latentsync.crops import Faces, bell, blurred, least, mirrored
from joyhallo.methods.latentsync.masks import AREAS, drawn, in_latents, mask
from joyhallo.methods.redub import Wishes

SIZE = 200, 180
FACE = np.array([[75.0, 60], [125, 62], [101, 92]])  # brows and nose


def points(shift=(0.0, 0.0), turn=0.0, large=1.0):
    c, s = np.cos(turn) * large, np.sin(turn) * large
    middle = FACE.mean(0)
    return (FACE - middle) @ np.array([[c, s], [-s, c]]) + middle + shift


def track(each, found=None, cuts=(), size=SIZE):
    """By the points of the mesh, of which only those that count are anywhere."""
    mesh = np.zeros((len(each), 478, 2), np.float32)
    for frame, three in enumerate(each):
        for group, place in zip(MESH, three, strict=True):
            mesh[frame, list(group)] = place
    boxes = np.tile(np.array([50, 30, 150, 150], np.float32), (len(each), 1))
    if found is not None:
        mesh[~np.array(found)], boxes[~np.array(found)] = np.nan, np.nan
    return Track(boxes, mesh, np.ones(len(each), np.float32), "mesh", size, Fraction(25), cuts)


def picture(size=SIZE, seed=0):
    small = torch.rand(1, 3, 5, 6, generator=torch.Generator().manual_seed(seed))
    big = F.interpolate(0.3 + 0.4 * small, (size[1], size[0]), mode="bicubic")
    return (big[0].permute(1, 2, 0) * 255).byte().contiguous()


# ---- over time


def jumping():
    return [points((3 * frame, -2 * (frame % 2)), 0.05 * frame) for frame in range(6)]


@pytest.mark.parametrize("smoothing", ["original", "centred"])
def test_nothing_passes_over_a_cut_or_a_gap(smoothing):
    each = jumping()
    whole = matrices(track(each), 256, smoothing)
    cut = matrices(track(each, cuts=(3,)), 256, smoothing)
    gap = matrices(track([*each[:3], points(), *each[3:]], [True] * 3 + [False] + [True] * 3), 256, smoothing)
    begun = matrices(track(each[3:]), 256, smoothing)
    assert np.array_equal(cut[3:], begun)
    assert np.array_equal(gap[4:], begun)
    assert np.isnan(gap[3]).all()
    assert not np.allclose(whole[3], cut[3], atol=1e-3)


def test_only_the_shift_lags_behind():
    each = np.stack([one.round() for one in jumping()])
    plain, left = fitted(each, 256)
    smooth = matrices(track(each), 256, "original")
    assert np.array_equal(smooth[:, :, :2], plain[:, :, :2])
    lag = left[0]
    for frame in range(len(each)):
        lag = 0.2 * lag + 0.8 * left[frame]
        assert smooth[frame, :, 2] - plain[frame, :, 2] == pytest.approx(lag)
    none = matrices(track(each), 256, "none")
    assert none[:, :, 2] - plain[:, :, 2] == pytest.approx(left)


def test_points_are_rounded_as_for_training_unless_they_are_averaged():
    near = [points((0.0, 0.0)), points((0.2, -0.2))]
    rounded, averaged = (matrices(track(near), 256, smoothing) for smoothing in ("none", "centred"))
    assert np.array_equal(rounded[0], rounded[1])
    assert not np.array_equal(averaged[0], rounded[0])


def test_points_of_the_template_stay_where_they_are():
    template = np.array([[17.0, 20], [58, 20], [37.5, 40]]) * scale(512)
    (found,) = aligned(template[None], 512)
    assert found == pytest.approx(np.eye(2, 3), abs=1e-9)


def test_three_points_in_one_place_are_no_face_and_do_not_spoil_the_next():
    each = [points(), np.full((3, 2), 50.0), points()]
    faces = Faces(matrices(track(each), 256, "original"), 256, SIZE)
    assert faces.usable.tolist() == [True, False, True]
    assert np.array_equal(faces.matrices[2], faces.matrices[0])


def test_unknown_shifts_are_forgotten():
    assert np.isfinite(lagging(np.array([[1.0, 2], [np.nan, np.nan], [3, 4]]), 0.2)[2]).all()


@pytest.mark.parametrize("smoothing", ["original", "centred", "none"])
def test_five_points_or_a_box_will_do(smoothing):
    """They put brows and nose about where the mesh of the same face has them."""
    marks = np.array([[80.0, 80], [120, 80], [100, 104], [85, 125], [115, 125]], np.float32)[None]
    box = np.array([[52, 37, 148, 150]], np.float32)
    for scheme, some in (("marks", marks), ("none", np.zeros((1, 0, 2), np.float32))):
        seen = Track(box, some, np.ones(1, np.float32), scheme, SIZE, Fraction(25))
        left, right, nose = three_points(seen)[0]
        assert left == pytest.approx((76, 63), abs=6)
        assert right == pytest.approx((124, 63), abs=6)
        assert nose == pytest.approx((100, 98), abs=6)
        assert Faces(matrices(seen, 256, smoothing), 256, SIZE).usable.all()


# ---- there and back


@pytest.mark.parametrize("size", [64, 96, 256])
@pytest.mark.parametrize("place", [points(), points((-60, -40), 0.3), points((80, 70), -0.2, 1.4)], ids=range(3))
def test_a_face_that_did_not_change_changes_nothing(size, place):
    """But for what the square loses; at the picture's border, where grey lies beyond; nothing where nothing counts."""
    before = picture()
    faces = Faces(matrices(track([place]), size, "original"), size, SIZE)
    crop = faces.cut(before[None], [0])[0].float() / 127.5 - 1
    patch = faces.patch(crop, 0)
    assert patch is not None
    assert patch.weights is not None
    after = before.clone()
    blended(after, patch, patch.weights, 1.0, False)
    away = (after.int() - before.int()).abs()
    counts = torch.zeros(before.shape[:2])
    counts[patch.box.slices] = patch.weights
    border = int(np.ceil(4 / np.linalg.norm(faces.matrices[0, :, 0])))  # as far as Lanczos reaches
    inner = slice(border, -border), slice(border, -border)
    assert away[inner][counts[inner] > 0.9].max() <= 3
    assert away[inner].max() <= 12, "the rim is darker, as in the original"
    assert not away[counts == 0].any()
    assert counts.max() > 0.99


def test_a_patch_is_what_opencv_makes_of_the_whole_picture():
    cv2 = pytest.importorskip("cv2")
    for place in (points(), points((-70, -45), 0.4), points((90, 90)), points((0, 0), 0.1, 0.05)):
        faces = Faces(matrices(track([place]), 96, "original"), 96, SIZE)
        width, height = canvas(96)
        ones = np.ones((height, width), np.float32)
        inverse = cv2.invertAffineTransform(faces.matrices[0])
        there = cv2.warpAffine(ones, inverse, SIZE, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT)
        eroded = cv2.erode(there, np.ones((2, 2)))
        edge = int(eroded.sum() ** 0.5) // 20
        core = cv2.erode(eroded, np.ones((2 * edge, 2 * edge))) if edge else cv2.erode(eroded, None)
        expected = cv2.GaussianBlur(core, (2 * edge + 1, 2 * edge + 1), 0)
        patch = faces.patch(torch.zeros(3, 96, 96), 0)
        found = torch.zeros(SIZE[1], SIZE[0])
        found[patch.box.slices] = patch.weights
        assert (found - torch.from_numpy(expected)).abs().max() < 0.03  # warpAffine's places are 32nds of pixels


@pytest.mark.parametrize(("before", "after"), [(1, 0), (3, 2), (1, 1)])
def test_the_least_is_opencvs_erosion(before, after):
    cv2 = pytest.importorskip("cv2")
    numbers = torch.rand(23, 31)
    side = before + after + 1
    expected = cv2.erode(numbers.numpy(), np.ones((side, side)), anchor=(before, before))
    assert np.array_equal(least(numbers, before, after).numpy(), expected)


@pytest.mark.parametrize("radius", [0, 1, 2, 3, 5, 12])
@pytest.mark.parametrize("size", [(40, 30), (9, 7), (5, 1)])
def test_the_blur_is_opencvs_also_in_part_of_a_picture(radius, size):
    cv2 = pytest.importorskip("cv2")
    width, height = size
    whole = torch.zeros(height, width)
    box = Box(0, 0, max(1, width - 3), max(1, height - 2))
    whole[box.slices] = torch.rand(box.shape)
    expected = torch.from_numpy(
        cv2.GaussianBlur(whole.numpy(), (2 * radius + 1, 2 * radius + 1), 0).reshape(height, width)
    )
    found = blurred(whole[box.slices], radius, box, size)
    assert (found - expected[box.slices]).abs().max() < 1e-5


def test_places_are_mirrored_without_repeating_the_border():
    assert mirrored(0, 4, 4, 3).tolist() == [3, 2, 1, 0, 1, 2, 3, 2, 1, 0]
    assert mirrored(2, 2, 6, 1).tolist() == [2, 0, 1, 2]
    assert bell(3, torch.device("cpu"))[0] == bell(3, torch.device("cpu")).max()


def test_a_face_beyond_the_picture_is_not_usable():
    faces = Faces(matrices(track([points((900, 0)), points()]), 64, "original"), 64, SIZE)
    assert faces.usable.tolist() == [False, True]
    assert faces.patch(torch.zeros(3, 64, 64), 0) is None


# ---- masks


@pytest.mark.parametrize("area", AREAS)
def test_a_mask_keeps_all_but_the_area(area):
    kept = mask(area, 256)[0, 0]
    assert torch.equal(kept * 255, drawn(area).float())
    larger = mask(area, 512)[0, 0]
    assert ((larger > 0) & (larger < 1)).float().mean() < 0.05
    assert (F.avg_pool2d(larger[None], 2)[0] - kept).abs().mean() < 0.01
    assert in_latents(kept).shape == (32, 32)
    assert kept[:60].all()


def test_areas_are_of_different_sizes():
    painted = [float((mask(area, 256) == 0).float().mean()) for area in ("mask3", "mask2", "mask", "mask4")]
    assert painted == sorted(painted)
    assert painted == pytest.approx([0.193, 0.338, 0.407, 0.584], abs=1e-3)
    assert set(AREAS) >= {Wishes().area or "mask"}
