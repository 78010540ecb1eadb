"""Whatever picture comes: a portrait that the sampler takes, or an error of our own."""

import traceback

import numpy as np
import pytest
import torch
from drawn_faces import DrawnMeshes, drawn_mesh
from PIL import Image

from joyhallo.faces.boxes import Box
from joyhallo.faces.crops import paste
from joyhallo.faces.find import Face
from joyhallo.libraries import LibraryError
from joyhallo.methods.hallo.config import NetConfig
from joyhallo.methods.hallo.overlay import overlay
from joyhallo.methods.hallo.portrait import Finders, Framing, Wishes, prepare
from joyhallo.methods.hallo.sampling import Settings, check

hypothesis = pytest.importorskip("hypothesis")
from hypothesis import given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402

FEW = settings(max_examples=60, deadline=None, derandomize=True)
MODES = (
    "1",
    "L",
    "LA",
    "P",
    "RGB",
    "RGBA",
    "CMYK",
    "I",
    "I;16",
    "F",
    "YCbCr",
    "HSV",
    "float",
    "half",
    "uint16",
    "batch",
)
sides = st.one_of(st.integers(1, 40), st.integers(41, 400))
anywhere = st.floats(-200, 600)


class KnownFaces:
    def __init__(self, faces):
        self.known = faces

    def seen(self, picture):
        return sorted(self.known, key=lambda face: face.box.center)


def picture(mode: str, width: int, height: int):
    values = np.random.default_rng(width * height).integers(0, 256, (height, width, 3), dtype=np.uint8)
    arrays = {
        "float": lambda: torch.from_numpy(values).float()[None] / 255,
        "half": lambda: torch.from_numpy(values).half() / 255,
        "uint16": lambda: values.astype(np.uint16) * 257,
        "batch": lambda: torch.zeros(width % 3, height, width, 3),
        "I;16": lambda: Image.fromarray(values[..., 0].astype(np.uint16) * 257),
        "I": lambda: Image.fromarray(values[..., 0].astype(np.int32) * 200),
    }
    return arrays[mode]() if mode in arrays else Image.fromarray(values).convert(mode)


def attempt(*arguments, **keywords):
    """The result; or nothing, if the error was raised by the package itself."""
    try:
        return prepare(*arguments, **keywords)
    except (ValueError, LibraryError) as error:
        if not ours(error):
            raise
        return None


def ours(error: Exception) -> bool:
    last = traceback.extract_tb(error.__traceback__)[-1].filename
    return "joyhallo" in last.replace("\\", "/").split("/") and len(str(error)) > 30


def sound(found) -> None:
    check(NetConfig(), found.portrait, torch.zeros(1, 5, 12, 768), Settings())
    portrait = found.portrait
    for tensor in (portrait.picture, portrait.locator, portrait.identity, *portrait.masks):
        assert tensor.isfinite().all()
    assert all(0 <= mask.min() <= mask.max() <= 1 for mask in portrait.masks)
    assert portrait.masks[0][2].max() > 0.5
    height, width = found.picture.shape[:2]
    frames = (portrait.picture[None] + 1) / 2
    assert paste(frames, found.picture, found.crop).shape == (1, 3, height, width)
    shown(found)


def shown(found) -> None:
    regions = found.regions.at(found.crop.seen)
    found.at(found.crop.size, pose=regions.pose, expression=regions.expression, lip=regions.lip)
    assert overlay(found).dtype == np.uint8


@FEW
@given(mode=st.sampled_from(MODES), width=sides, height=sides, where=st.tuples(anywhere, anywhere, st.floats(0, 500)))
def test_pictures_and_places(mode, width, height, where):
    wishes = Wishes(mesh=drawn_mesh(*where), identity="neutral")
    found = attempt(picture(mode, width, height), wishes=wishes, framing=Framing(size=(128, 128)))
    if found is not None:
        sound(found)
        assert found.crop.box.width == found.crop.box.height


@FEW
@given(
    places=st.lists(st.tuples(st.integers(0, 400), st.integers(0, 300), st.integers(0, 300)), max_size=5),
    choice=st.one_of(st.sampled_from(["auto", "largest"]), st.integers(-1, 5), st.builds(Box, *[anywhere] * 4)),
    size=st.sampled_from([(64, 64), (128, 192), (100, 100)]),
    kind=st.sampled_from(["face", "whole"]),
)
def test_any_number_of_faces(places, choice, size, kind):
    meshes = [drawn_mesh(*place) for place in places]
    known = [
        Face(Box(x - s / 2, y - s / 2, x + s / 2, y + s / 2), identity=np.ones(512, np.float32)) for x, y, s in places
    ]
    finders = Finders(KnownFaces(known), DrawnMeshes(*meshes))
    found = attempt(picture("RGB", 400, 300), finders, Wishes(choice=choice), Framing(kind, size))
    if found is not None:
        sound(found)
        assert any(found.face.mesh is mesh for mesh in meshes)
        assert found.face.box in [face.box for face in known]


@FEW
@given(
    face=st.tuples(sides, sides, st.integers(0, 255)),
    lips=st.tuples(sides, sides, st.integers(0, 255)),
    width=sides,
    height=sides,
    kind=st.sampled_from(["face", "whole"]),
)
def test_any_masks(face, lips, width, height, kind):
    def mask(width: int, height: int, seed: int) -> np.ndarray:
        values = np.zeros((height, width), np.uint8)
        left, top, right, bottom = np.random.default_rng(seed).integers(0, 400, 4)
        values[top % height : bottom % height + 1, left % width : right % width + 1] = 255
        return values

    wishes = Wishes(face_mask=mask(*face), lip_mask=mask(*lips), identity="neutral")
    found = attempt(picture("RGB", width, height), wishes=wishes, framing=Framing(kind, (128, 128)))
    if found is not None:
        assert all(tensor.isfinite().all() for tensor in found.portrait.masks)
        check(NetConfig(), found.portrait, torch.zeros(1, 5, 12, 768), Settings())
        shown(found)


def test_the_fuzz_reaches_results():
    """The bounds above must not be such that every example is refused."""
    places = [(100, 100, 90), (300, 150, 120)]
    meshes = [drawn_mesh(*place) for place in places]
    known = [
        Face(Box(x - s / 2, y - s / 2, x + s / 2, y + s / 2), identity=np.ones(512, np.float32)) for x, y, s in places
    ]
    finders = Finders(KnownFaces(known), DrawnMeshes(*meshes))
    found = prepare(picture("RGB", 400, 300), finders, Wishes(choice=1), Framing(size=(128, 192)))
    sound(found)
