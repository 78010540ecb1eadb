"""Faces known beforehand: those of the bundled pictures, and of no others."""

import numpy as np
import pytest
from PIL import Image

from joyhallo.faces.find import FaceError
from joyhallo.faces.known import KnownFaces, write_faces
from joyhallo.methods.hallo.portrait import Wishes, prepare
from tools.demo_model.bundle import FOLDER
from tools.pictures.portrait import COUPLE, SIDE, sitter


def picture(name: str) -> np.ndarray:
    return np.asarray(Image.open(FOLDER / name).convert("RGB"))


@pytest.fixture(scope="module")
def faces() -> KnownFaces:
    return KnownFaces(FOLDER / "faces.safetensors")


def test_bundled_pictures_have_the_meshes_they_were_drawn_with(faces):
    (alone,) = faces.landmarker.anywhere(picture("portrait.png"))
    left, right = faces.landmarker.anywhere(picture("couple.png"))
    drawn_left, drawn_right = (sitter(look).mesh() for look in COUPLE)
    for found, drawn in ((alone, drawn_left), (left, drawn_left), (right, drawn_right + np.array([SIDE, 0]))):
        np.testing.assert_allclose(found, drawn, atol=1e-3)


@pytest.mark.parametrize("number", [0, 1])
def test_either_of_two_people_is_prepared_without_any_model(faces, number):
    found = prepare(picture("couple.png"), faces, Wishes(choice=number, identity="neutral")).found
    assert len(found.boxes) == 2
    assert (found.face.box.center[0] > SIDE) == bool(number)


@pytest.mark.parametrize("change", [lambda p: p[::-1], lambda p: p[:, 1:], lambda p: np.where(p == 224, 223, p)])
def test_another_picture_is_refused_with_the_remedy(faces, change):
    with pytest.raises(FaceError, match="none of them; in Load JoyHallo Models choose face_analysis"):
        prepare(change(picture("portrait.png")).astype(np.uint8), faces, Wishes(identity="neutral"))


def test_what_was_written_is_known(tmp_path):
    shown, mesh = np.full((20, 30, 3), 7, np.uint8), np.arange(956.0).reshape(478, 2) / 40
    write_faces(tmp_path / "faces.safetensors", [(shown, [mesh])])
    (found,) = KnownFaces(tmp_path / "faces.safetensors").landmarker.meshes(shown)
    np.testing.assert_allclose(found, mesh, atol=1e-5)
