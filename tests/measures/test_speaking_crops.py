"""Faces followed through a film, and their crops, against a plain transcription of SyncNet's pipeline."""

import numpy as np
import pytest
import torch

from joyhallo.faces.regions import OUTLINE
from joyhallo.faces.rescale import rescale
from joyhallo.measures.lipsync import SyncError
from joyhallo.measures.speaking_crops import SpeakingCrops, Stretch, boxes_of, longest, stretches, whole_frames

NOBODY = (np.nan,) * 4


def wandering(count: int, side: float = 110, size: tuple[int, int] = (320, 240)) -> np.ndarray:
    """(count, 4): a box that moves by a few pixels, partly beyond the picture."""
    steps = np.random.default_rng(1).normal(0, 2, (count, 2)).cumsum(0)
    middle = np.array(size) / 2 + steps - (95, 60)
    half = side / 2 + 5 * np.sin(np.arange(count) / 7)
    return np.concatenate([middle - half[:, None], middle + half[:, None] * (1, 1.2)], axis=1)


def film(count: int, size: tuple[int, int] = (320, 240)) -> torch.Tensor:
    return torch.randint(0, 256, (count, size[1], size[0], 3), dtype=torch.uint8)


# ---- stretches


def test_gaps_are_crossed_in_even_steps():
    boxes = wandering(130)
    seen = boxes.copy()
    seen[40:48] = seen[90] = NOBODY
    (found,) = stretches(seen)
    assert (found.start, found.stop, found.seen, found.counts) == (0, 130, 121, True)
    expected = boxes[39] + (boxes[48] - boxes[39]) * (np.arange(8)[:, None] + 1) / 9
    np.testing.assert_allclose(found.boxes[40:48], expected)
    np.testing.assert_allclose(found.boxes[:40], boxes[:40])


@pytest.mark.parametrize(("unseen", "parts"), [(24, 1), (25, 2)])
def test_the_longest_gap(unseen, parts):
    """Of 24 frames: then the next one that shows the face is the twenty-fifth."""
    boxes = np.tile([10.0, 10, 130, 130], (200, 1))
    boxes[60 : 60 + unseen] = NOBODY
    assert len(stretches(boxes)) == parts


@pytest.mark.parametrize(("shift", "parts"), [(39, 1), (40, 2)])
def test_a_jump_begins_another_stretch(shift, parts):
    """Boxes of 120 pixels share half of their union when they are 40 apart, and that is not enough."""
    boxes = np.tile([10.0, 10, 130, 130], (100, 1))
    boxes[50:, [0, 2]] += shift
    found = stretches(boxes)
    assert [len(stretch) for stretch in found] == [100 // parts] * parts


def test_one_wild_frame_is_left_out():
    boxes = np.tile([10.0, 10, 130, 130], (120, 1))
    boxes[50] += 300
    whole, wild = stretches(boxes)
    assert (len(whole), whole.seen, whole.boxes.max()) == (120, 119, 130)
    assert (wild.start, len(wild), wild.counts) == (50, 1, False)


def test_cuts_end_a_stretch():
    boxes = np.tile([10.0, 10, 130, 130], (120, 1))
    assert [(found.start, len(found)) for found in stretches(boxes, [0, 30, 120])] == [(0, 30), (30, 90)]


def test_several_faces_in_any_order():
    left, right = np.tile([10.0, 10, 130, 130], (90, 1)), np.tile([200.0, 10, 320, 130], (90, 1))
    left[30:35] = NOBODY
    faces = np.stack([left, right], 1)
    faces[::2] = faces[::2, ::-1]
    found = stretches(faces)
    assert [(one.seen, len(one)) for one in found] == [(90, 90), (85, 90)]
    np.testing.assert_array_equal(found[0].boxes, right)


@pytest.mark.parametrize(("frames", "side", "counts"), [(101, 101, True), (100, 101, False), (101, 100, False)])
def test_what_the_original_leaves_out(frames, side, counts):
    (found,) = stretches(np.tile([0.0, 0, side, 50], (frames, 1)))
    assert found.counts == counts


def test_the_longest_of_those_that_count():
    boxes = np.full((400, 4), np.nan)
    boxes[:200], boxes[250:] = (0, 0, 90, 90), (0, 0, 150, 150)
    small, large = stretches(boxes)
    assert longest([small, large]) is large
    assert longest([small]) is small
    with pytest.raises(SyncError, match="The face is in no frame"):
        longest(stretches(np.full((10, 4), np.nan)))


# ---- crops


def filtered(values: np.ndarray) -> list[float]:
    padded = np.concatenate([np.zeros(6), values, np.zeros(6)])
    return [sorted(padded[start : start + 13])[6] for start in range(len(values))]


def transcribed(frames: np.ndarray, boxes: np.ndarray) -> list[np.ndarray]:
    half = filtered(np.maximum(boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1]) / 2)
    xs, ys = filtered((boxes[:, 0] + boxes[:, 2]) / 2), filtered((boxes[:, 1] + boxes[:, 3]) / 2)
    crops = []
    for frame, s, x, y in zip(frames, half, xs, ys, strict=True):
        p = int(1.8 * s)
        wide = np.pad(frame, ((p, p), (p, p), (0, 0)), constant_values=110)
        rows = slice(int(y + p - s), int(y + p + 1.8 * s))
        crops.append(wide[rows, int(x + p - 1.4 * s) : int(x + p + 1.4 * s)])
    return crops


@pytest.mark.parametrize("length", [1, 7, 40])
def test_crops_are_those_of_the_pipeline(length):
    frames, boxes = film(40), wandering(40)
    cutting = SpeakingCrops(longest(stretches(boxes)))
    found = torch.cat([cutting.cut(piece) for piece in frames.split(length)])
    expected = [rescale(torch.from_numpy(crop.copy())[None], (224, 224)) for crop in transcribed(frames.numpy(), boxes)]
    assert torch.equal(found, torch.cat(expected))
    assert bool((found == 110).all(3).any())  # beyond the picture


def test_only_frames_of_the_stretch_are_cut():
    frames, boxes = film(60), wandering(60)
    boxes[:11] = boxes[45:] = NOBODY
    cutting = SpeakingCrops(longest(stretches(boxes)))
    assert [len(cutting.cut(piece)) for piece in frames.split(9)] == [0, 7, 9, 9, 9, 0, 0]
    again = SpeakingCrops(longest(stretches(boxes[11:45])))
    cutting = SpeakingCrops(longest(stretches(boxes)))
    assert torch.equal(cutting.cut(frames), again.cut(frames[11:45]))


def test_the_ends_lean_low():
    boxes = np.tile([100.0, 100, 220, 220], (30, 1))
    boxes[:, [0, 2]] += np.arange(30)[:, None]
    half, x, _ = SpeakingCrops(longest(stretches(boxes))).places
    assert half.tolist() == [60] * 30
    assert x[0] == 160  # the least of seven, where a median would be 163
    assert x[15] == 175


def test_seven_frames_at_least():
    boxes = wandering(7)
    assert SpeakingCrops(longest(stretches(boxes))).cut(film(7)).shape == (7, 224, 224, 3)
    with pytest.raises(SyncError, match="in 6 frames in a row"):
        SpeakingCrops(longest(stretches(boxes[:6])))


def test_a_face_outside_the_picture():
    boxes = np.tile([900.0, 100, 1000, 200], (20, 1))
    with pytest.raises(SyncError, match=r"no area inside the picture of 320x240 pixels.*around \(950, 150\)"):
        SpeakingCrops(Stretch(0, boxes, 20)).cut(film(20))


def test_whole_frames_are_stretched():
    assert whole_frames(film(2, (300, 100))).shape == (2, 224, 224, 3)


# ---- boxes of other finders


def test_boxes_of_a_mesh_reach_from_the_hairline_to_the_chin():
    points = np.full((3, 478, 2), 50.0)
    points[:, OUTLINE] = 60, 70
    points[:, 234, 0], points[:, 454, 0] = 20, 95
    points[:, 10, 1], points[:, 152, 1] = 15, 110
    points[:, 33] = 0, 0  # not of the outline
    points[2] = np.nan
    found = boxes_of(points, "mesh")
    assert found[:2].tolist() == [[20, 15, 95, 110]] * 2
    assert np.isnan(found[2]).all()


def test_boxes_of_five_marks():
    marks = np.array([[[80.0, 100], [120, 100], [100, 125], [85, 150], [115, 150]]])
    assert boxes_of(marks, "marks")[0].tolist() == pytest.approx([50, 52.5, 150, 182.5])
    with pytest.raises(ValueError, match="no box but its own"):
        boxes_of(np.zeros((1, 0, 2)), "none")
