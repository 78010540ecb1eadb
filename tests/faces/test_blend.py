"""What is pasted: nothing beside it changes, seams are soft, colours match, and what was not changed comes back."""

from fractions import Fraction

import numpy as np
import pytest
import torch

from joyhallo.faces.blend import Blend, Patch, around_mouths, blended, both, feathered, lower_face, painted
from joyhallo.faces.boxes import Box
from joyhallo.faces.rescale import rescale
from joyhallo.faces.track import Track, gaps
from joyhallo.methods.boxed import Boxed

BOX = Box(20, 10, 60, 70)
CPU = torch.device("cpu")


def picture(level: int = 100) -> torch.Tensor:
    noise = torch.randint(0, 9, (90, 100, 3), generator=torch.Generator().manual_seed(2))
    return (noise + level).byte()


def track(scheme, points) -> Track:
    boxes = np.array([[20, 10, 60, 70]], np.float32)
    return Track(boxes, np.array([points], np.float32), np.ones(1, np.float32), scheme, (100, 90), Fraction(25))


MARKS = [(32, 32), (48, 32), (40, 42), (34, 54), (46, 54)]


@pytest.mark.parametrize("size", [(96, 96), (40, 60)])
def test_an_unchanged_crop_comes_back(size):
    """Of a box as large as a crop to the bit, of a smaller one nearly."""
    frame = torch.randint(0, 256, (1, 200, 200, 3), generator=torch.Generator().manual_seed(1)).byte()
    smooth = torch.nn.functional.avg_pool2d(frame.permute(0, 3, 1, 2).float(), 31, 1, 15).permute(0, 2, 3, 1).byte()
    boxes = Boxed(torch.tensor([[30, 20, 30 + size[0], 20 + size[1]]]), 96, rescale)
    made = smooth[0].clone()
    patch = boxes.patch(boxes.cut(smooth, [0])[0], 0)
    blended(made, patch, Blend().of(patch, 0), 1.0, False)
    off = (made.int() - smooth[0].int()).abs()
    assert off.max() <= (0 if size == (96, 96) else 1)


@pytest.mark.parametrize("weights", [feathered(0.2), around_mouths(track("marks", MARKS))])
def test_borders_are_soft_and_colours_match(weights):
    before, made = picture(), picture()
    rows, columns = BOX.slices
    patch = Patch(BOX, picture(130)[rows, columns])
    share = Blend(weights).of(patch, 0)
    assert share.min() < 0.01
    assert 0.9 < share.max() <= 1
    assert max(share.diff(dim=side).abs().max() for side in (0, 1)) < 0.5  # the face is but 40 pixels wide
    blended(made, patch, share, 1.0, False)
    assert (made[rows, columns].float().mean() - before[rows, columns].float().mean()) > 3
    matched = picture()
    blended(matched, patch, share, 1.0, True)
    assert (matched.float() - before.float()).abs().mean() < 1
    for changed in (made, matched):
        changed[rows, columns] = before[rows, columns]
        assert torch.equal(changed, before)


def test_a_mask_and_a_region_count_together():
    mask = torch.zeros(2, 90, 100)
    mask[1, 30:50] = 1
    region = both(painted(mask), feathered(0.2))
    assert region(0, BOX, CPU).max() == 0
    found = region(7, BOX, CPU)  # after the last mask that stays
    assert torch.equal(found, mask[1, 10:70, 20:60] * feathered(0.2)(0, BOX, CPU))
    assert both(Blend().weights, Blend().weights)(0, BOX, CPU) is None


@pytest.mark.parametrize(("scheme", "points"), [("marks", MARKS), ("none", [])])
def test_the_lower_face_holds_the_mouth_but_not_the_eyes(scheme, points):
    points = np.array(points, np.float32).reshape(-1, 2)
    outline = lower_face(track(scheme, points), 0)
    weights = around_mouths(track(scheme, points))(0, BOX, CPU)
    assert weights[54 - 10, 40 - 20] > 0.9
    assert weights[32 - 10, 32 - 20] == weights[32 - 10, 48 - 20] == 0
    assert outline[:, 1].min() > 36


def test_gaps():
    assert gaps(np.array([False, True, True, False, False])) == [range(0, 1), range(3, 5)]
    assert gaps(np.array([True])) == gaps(np.zeros(0, bool)) == []
