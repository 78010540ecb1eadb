"""The look of faces over time, beside scipy's Laplacian and changes that were made on purpose."""

import numpy as np
import pytest
import scipy.ndimage
import torch

from joyhallo.faces.boxes import Box
from joyhallo.measures.looks import SIDE, Looks, changed, drift, drifting, look

BOX = Box(40, 20, 40 + SIDE, 20 + SIDE)


@pytest.fixture
def film():
    """Frames of a face that fill the box, with room around it."""
    still = scipy.ndimage.gaussian_filter(np.random.default_rng(2).normal(size=(180, 220, 3)), (1, 1, 0)) * 60 + 120
    return torch.from_numpy(np.repeat(still[None], 60, 0).clip(0, 255).astype(np.uint8))


def test_a_look_is_what_the_pixels_say(film):
    found = look(film[:1], [BOX])
    face = film[0, 20 : 20 + SIDE, 40 : 40 + SIDE].numpy().astype(float)
    grey = face @ [0.299, 0.587, 0.114]
    assert found.colour[0].tolist() == pytest.approx(face.mean((0, 1)))
    assert found.contrast[0].item() == pytest.approx(grey.std())
    assert found.sharpness[0].item() == pytest.approx(scipy.ndimage.laplace(grey)[1:-1, 1:-1].var())


def test_drift_tells_what_has_changed(film):
    film[-25:, ..., 0] = film[-25:, ..., 0] + 12
    blurred = scipy.ndimage.gaussian_filter(film[-25:].float().numpy(), (0, 1, 1, 0))
    film[-25:] = torch.from_numpy(blurred.round().astype(np.uint8))
    looks = Looks()
    for start in range(0, 60, 7):
        piece = film[start : start + 7]
        looks.see(piece, [BOX] * len(piece))
    found = drift(looks.look, 25)
    assert found.colour == pytest.approx(4, abs=0.2)
    assert found.sharpness < 0.5
    still, middle, _ = drifting(looks.look, 25)
    assert (still.colour, still.contrast, still.sharpness) == (0, 1, 1)
    assert found.sharpness < middle.sharpness < 1


def test_faces_of_another_size_are_compared_as_one():
    def picture(scale):
        y, x = (np.mgrid[: 180 * scale, : 220 * scale] + 0.5) / scale
        waves = 128 + 100 * np.sin(x / 4) * np.cos(y / 3)
        return torch.from_numpy(np.repeat(waves[None, ..., None], 3, 3).round().astype(np.uint8))

    larger = Box(*(3 * side for side in (BOX.left, BOX.top, BOX.right, BOX.bottom)))
    found = changed(look(picture(3), [larger]), look(picture(1), [BOX]))
    assert found.colour == pytest.approx(0, abs=0.1)
    assert found.sharpness == pytest.approx(1, abs=0.1)


def test_frames_without_a_face_do_not_count(film):
    found = look(film[:3], [BOX, None, Box(500, 0, 600, 50)])
    assert found.sharpness.isnan().tolist() == [False, True, True]
    assert changed(found, look(film[:1], [BOX])).sharpness == pytest.approx(1)
    with pytest.raises(ValueError, match="one for each"):
        look(film[:3], [BOX])
