"""Of a mesh a track keeps what methods read alone: with it they do the same as with all of its points."""

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
import torch

from joyhallo.faces.blend import lower_face
from joyhallo.faces.boxes import around
from joyhallo.faces.regions import FOLLOWED, OUTLINE
from joyhallo.faces.sights import Sights
from joyhallo.faces.track import Track
from joyhallo.methods.latentsync.alignment import matrices
from joyhallo.methods.musetalk.boxes import boxes_of as musetalk_boxes
from joyhallo.methods.musetalk.method import faces_of
from joyhallo.methods.ultralight.boxes import boxes_of as ultralight_boxes

FRAMES, LOOKS = 9, np.array([0, 4, 8])


@pytest.fixture
def whole():
    """A face of any shape, seen three times."""
    dice = np.random.default_rng(3)
    seen = dice.uniform(150, 350, size=(len(LOOKS), 478, 2)).astype(np.float32)
    turns = np.linspace(0, 2 * np.pi, len(OUTLINE), endpoint=False)
    seen[:, list(OUTLINE)] = 250 + 110 * np.stack([np.sin(turns), -np.cos(turns)], 1)
    points = Sights.of(seen, LOOKS, FRAMES)
    points.bridge(0, 4)
    points.bridge(4, 8)
    boxes = np.array([[box.left, box.top, box.right, box.bottom] for box in map(around, points[:])], np.float32)
    return Track(boxes, points, np.ones(FRAMES, np.float32), "mesh", (512, 512), Fraction(25))


@pytest.fixture
def followed(whole):
    some = replace(whole.points, seen=whole.points.seen[:, list(FOLLOWED)], kept=np.array(FOLLOWED))
    return replace(whole, points=some)


def _musetalk(track):
    faces = faces_of(track, musetalk_boxes(track, "original"), "jaw")
    return torch.stack([faces.patch(torch.zeros(3, 256, 256), frame).weights.sum() for frame in range(FRAMES)]).numpy()


@pytest.mark.parametrize(
    "made",
    [
        _musetalk,
        lambda track: musetalk_boxes(track, "centred").numpy(),
        lambda track: ultralight_boxes(track).numpy(),
        lambda track: matrices(track, 256, "original"),
        lambda track: np.stack([lower_face(track, frame) for frame in range(FRAMES)]),
    ],
    ids=["musetalk's seams", "musetalk", "ultralight", "latentsync", "mouth"],
)
def test_methods_need_no_other_points(whole, followed, made):
    there = made(whole)
    assert np.isfinite(there).all()
    assert np.ptp(there) > 0
    np.testing.assert_array_equal(made(followed), there)
