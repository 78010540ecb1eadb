"""What is told about portraits and runs that work, but not well."""

from __future__ import annotations

import math
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from drawn_faces import drawn_mesh

from joyhallo.faces.boxes import Box
from joyhallo.faces.find import Face, FaceError
from joyhallo.methods.hallo.config import NetConfig
from joyhallo.methods.hallo.doubts import of_run, of_small_model
from joyhallo.methods.hallo.portrait import Finders, Prepared, Wishes, prepare
from joyhallo.sound.origin import CHINESE, ENGLISH

PICTURE = np.full((480, 640, 3), 100, np.uint8)


def keys(found) -> list[str]:
    return [notice.key for notice in found]


def turned(mesh: np.ndarray, degrees: float) -> np.ndarray:
    """Clockwise, about its middle."""
    middle, angle = mesh[0], math.radians(degrees)
    way = np.array([[math.cos(angle), math.sin(angle)], [-math.sin(angle), math.cos(angle)]])
    return (mesh - middle) @ way + middle


def portrait(*meshes: np.ndarray, **wishes) -> Prepared:
    return prepare(PICTURE, wishes=Wishes(mesh=np.stack(meshes), identity="neutral", **wishes))


# ---- portraits


@pytest.mark.parametrize(("size", "expected"), [(99, ["small_face"]), (101, [])])
def test_a_small_face(size, expected):
    found = portrait(drawn_mesh(320, 240, size)).notices
    assert keys(found) == expected
    assert all(f"{size}x" in str(notice) for notice in found)


@pytest.mark.parametrize("way", [1, -1])
@pytest.mark.parametrize(("degrees", "expected"), [(0, []), (29, []), (31, ["tilted_face"]), (44, ["tilted_face"])])
def test_a_tilted_face(degrees, way, expected):
    found = portrait(turned(drawn_mesh(320, 240, 150), way * degrees)).notices
    assert keys(found) == expected
    assert all(notice.values["degrees"] == str(degrees) for notice in found)


@pytest.mark.parametrize(
    ("degrees", "words"),
    [
        (46, "on its side, turned about 46 degrees clockwise.*by 270 degrees"),
        (90, "on its side, turned about 90 degrees clockwise.*by 270 degrees"),
        (-90, "on its side, turned about 90 degrees counterclockwise.*by 90 degrees"),
        (180, "upside down.*by 180 degrees"),
    ],
)
def test_a_face_on_its_side_is_refused(degrees, words):
    with pytest.raises(FaceError, match=words):
        portrait(turned(drawn_mesh(320, 240, 150), degrees))


LARGE, SMALL = drawn_mesh(200, 240, 200), drawn_mesh(500, 240, 120)


def test_several_faces_only_if_none_was_chosen():
    (notice,) = portrait(SMALL, LARGE).notices
    assert (notice.key, notice.values) == ("several_faces", {"count": "2", "number": "0"})
    mask = np.zeros((48, 64), np.uint8)
    mask[14:34, 10:30] = 255
    for wishes in ({"choice": 0}, {"choice": "largest"}, {"face_mask": mask}):
        assert not portrait(SMALL, LARGE, **wishes).notices


def test_faces_that_the_detector_is_unsure_of_are_counted():
    identity = np.ones(512, np.float32)
    sure = Face(Box(100, 140, 300, 340), 0.8, identity=identity)
    unsure = [Face(Box(x, 200, x + 40, 250), 0.4, identity=identity) for x in (400, 500)]
    for faces, expected in (([sure, *unsure], [("unsure_faces", {"count": "2"})]), ([sure], [])):
        finders = Finders(SimpleNamespace(seen=lambda _, faces=faces: faces))
        found = prepare(PICTURE, finders, Wishes(mesh=LARGE))
        assert [(notice.key, notice.values) for notice in found.notices] == expected
    with pytest.raises(FaceError, match=r"No face was found.*below about 48 pixels"):
        prepare(PICTURE, Finders(SimpleNamespace(seen=lambda _: unsure)), Wishes(mesh=LARGE))


def test_an_emptied_region_is_told_until_it_is_filled():
    found, nothing, some = portrait(LARGE), torch.zeros(1, 64, 64), torch.ones(1, 64, 64)
    emptied = found.at((512, 512), pose=nothing, lip=nothing)
    assert [notice.values["region"] for notice in emptied.notices] == ["pose", "lip"]
    assert "lip mask is empty" in str(emptied.notices[1])
    again = emptied.at((512, 512), pose=some, expression=some)
    assert [notice.values["region"] for notice in again.notices] == ["lip"]


# ---- runs

JOYHALLO, HALLO = NetConfig(), NetConfig(regional_audio=True)
OTHER = replace(JOYHALLO, audio_layers=3, audio_channels=16)


@pytest.mark.parametrize(
    ("net", "origin", "expected"),
    [
        (JOYHALLO, CHINESE, []),
        (JOYHALLO, ENGLISH, ["wrong_encoder"]),
        (JOYHALLO, "", []),
        (HALLO, ENGLISH, []),
        (HALLO, CHINESE, ["wrong_encoder"]),
        (HALLO, "", []),
        (OTHER, ENGLISH, []),
    ],
)
def test_the_encoder_of_the_other_network(net, origin, expected):
    found = list(of_run(net, SimpleNamespace(origin=origin), 512))
    assert keys(found) == expected
    assert all(f"Choose {ENGLISH if net is HALLO else CHINESE} " in str(notice) for notice in found)


@pytest.mark.parametrize(("side", "guidance", "expected"), [(128, 1.0, 0), (512, 1.0, 1), (128, 3.5, 1)])
def test_what_the_model_that_comes_along_draws_badly(side, guidance, expected):
    assert keys(of_small_model(side, guidance)) == ["small_model"] * expected


def test_a_size_far_above_that_of_the_training():
    speech, small = SimpleNamespace(origin=""), replace(JOYHALLO, channels=(32, 64))
    assert keys(of_run(JOYHALLO, speech, 832)) == ["large"]
    assert not keys(of_run(JOYHALLO, speech, 768))
    assert not keys(of_run(small, speech, 2048))
