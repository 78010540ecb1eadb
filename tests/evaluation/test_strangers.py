"""Another person takes over: what is compared with the truth sees it the more, the more there is of it."""

import numpy as np
import pytest
import torch

from joyhallo.evaluation.strangers import figures, measured, scenes
from joyhallo.libraries import LibraryError
from joyhallo.measures.lip_reader import open_lip_reader


@pytest.fixture(scope="module")
def scene():
    try:
        return next(scenes(1, seconds=2.0, seed=7))
    except LibraryError as error:
        pytest.skip(str(error))


def test_measures_against_a_truth_see_a_stranger_and_lips_still_fit(scene):
    reader = open_lip_reader().build(dtype=torch.float32)
    found = {name: list(values.values()) for name, values in measured(reader, [scene], (0.0, 0.5, 1.0)).items()}
    for name, way in (("psnr", -1), ("ssim", -1), ("lmd", 1), ("akd", 1)):
        assert (way * np.diff(found[name]) > 0).all(), name
    assert found["lmd"][0] == found["akd"][0] == 0
    assert np.ptp(found["lip_sync"]) < 0.1 < 0.5 < min(found["lip_sync"])
    assert found["drift"][1] > 5 > max(found["drift"][0], found["drift"][2])  # it knows one film's own change alone
    assert figures(reader, scene, 0.5) == {name: values[1] for name, values in found.items()}


def test_both_say_the_same_in_the_same_room(scene):
    """Eyes and mouths move alike, and only the person differs."""
    person, stranger = scene.person, scene.stranger
    assert torch.equal(person.pictures[:, 0, 0], stranger.pictures[:, 0, 0])  # the wall
    assert not torch.equal(person.pictures, stranger.pictures)
    openings = [np.ptp(shown.meshes[:, [13, 14], 1], axis=1) for shown in (person, stranger)]
    assert np.corrcoef(*openings)[0, 1] > 0.99
    joined = person.followed(stranger, 0.25)
    own = round(0.75 * len(person.pictures))
    assert torch.equal(joined.pictures[:own], person.pictures[:own])
    assert torch.equal(joined.pictures[own:], stranger.pictures[own:])
    assert joined.boxes == [*person.boxes[:own], *stranger.boxes[own:]]
