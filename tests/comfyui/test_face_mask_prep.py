"""FaceMaskPrep in ComfyUI: what each input changes, what comes out, what is said about what does not fit."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from drawn_faces import dots, drawn_mesh
from PIL import Image

import joyhallo.methods.hallo.portrait as engine

WIDTH, HEIGHT = 640, 480
LEFT, RIGHT = drawn_mesh(180, 240, 120), drawn_mesh(460, 240, 150)
DEFAULTS = {
    "which_face": "auto",
    "framing": "face",
    "face_expand": 1.2,
    "lip_expand": 2.0,
    "identity": "neutral",
}


def landmarks(*meshes: np.ndarray) -> dict:
    """As ComfyUI's MediaPipe Face Landmarker gives them."""
    faces = [{"landmarks_xy": mesh.astype(np.float32), "score": 0.9} for mesh in meshes]
    return {"frames": [faces], "image_size": (HEIGHT, WIDTH), "connection_sets": {}}


def picture(width: int = WIDTH, height: int = HEIGHT) -> torch.Tensor:
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return torch.from_numpy(pixels)[None].float() / 255


def mask(left: int, top: int, right: int, bottom: int, scale: int = 1) -> torch.Tensor:
    painted = torch.zeros(1, HEIGHT // scale, WIDTH // scale)
    painted[:, top // scale : bottom // scale, left // scale : right // scale] = 1
    return painted


FACE, LIPS = mask(110, 170, 250, 320), mask(150, 265, 210, 290)
INPUTS = {**DEFAULTS, "landmarks": landmarks(LEFT)}


@pytest.fixture
def node(pack):
    return pack.nodes.face_mask_prep.FaceMaskPrep


@pytest.fixture
def run(node):
    def run(image=None, **inputs):
        with torch.inference_mode():
            found = node.execute(picture() if image is None else image, **{**INPUTS, **inputs}).args
        return dict(zip(("face", "square", "pose", "expression", "lip", "overlay"), found, strict=True))

    return run


# ---- what comes out


def test_the_outputs_are_what_the_engine_gives(run):
    found = run()
    wishes = engine.Wishes(mesh=LEFT.astype(np.float32), identity="neutral")
    expected = engine.prepare(picture(), wishes=wishes)
    width, height = expected.crop.seen
    assert torch.equal(found["square"], torch.from_numpy(expected.window)[None] / 255)
    for name in ("pose", "expression", "lip"):
        assert found[name].shape == (1, height, width)
        assert 0 <= found[name].min() < 0.1 < 0.9 < found[name].max() <= 1
    assert found["overlay"].shape[0] == 1
    assert found["overlay"].shape[3] == 3
    for name in found.keys() - {"face"}:
        assert found[name].dtype == torch.float32
        assert found[name].device.type == "cpu"
    for size in ((256, 256), (512, 512)):
        ours, theirs = found["face"].at(size).portrait, expected.at(size).portrait
        assert torch.equal(ours.picture, theirs.picture)
        assert all(torch.equal(one, other) for one, other in zip(ours.masks, theirs.masks, strict=True))


def test_the_square_is_where_the_picture_shows_it(run):
    found, image = run(), picture()
    window = found["face"].crop.box
    assert torch.equal(found["square"], image[(slice(None), *window.slices)])


def test_the_regions_fed_back_are_the_regions(run):
    found = run()
    face = found["face"].at((512, 512))
    again = found["face"].at((512, 512), **{name: found[name] for name in ("pose", "expression", "lip")})
    for one, other in zip(face.portrait.masks, again.portrait.masks, strict=True):
        assert (one - other).abs().max() <= 0.01


# ---- what each input changes


def changed(before: dict, after: dict) -> set[str]:
    names = {name for name in ("square", "pose", "expression", "lip") if not same(before[name], after[name])}
    if not same(before["face"].identity, after["face"].identity):
        names.add("identity")
    if not same(before["face"].at((64, 64)).portrait.locator, after["face"].at((64, 64)).portrait.locator):
        names.add("locator")
    return names


def same(a: torch.Tensor, b: torch.Tensor) -> bool:
    return a.shape == b.shape and torch.equal(a, b)


EVERYWHERE = {"square", "pose", "expression", "lip", "locator"}
ROUND_FACE = {"face_mask": FACE, "landmarks": landmarks(LEFT)}


@pytest.mark.parametrize(
    ("given", "change", "expected"),
    [
        ({}, {"face_expand": 1.5}, {"pose", "expression", "locator"}),
        ({}, {"lip_expand": 1.2}, {"expression", "lip"}),
        ({}, {"lip_mask": LIPS}, {"expression", "lip"}),
        ({}, {"landmarks": landmarks(RIGHT)}, EVERYWHERE),
        ({"landmarks": landmarks(RIGHT, LEFT), "which_face": "largest"}, {"which_face": "1"}, set()),
        ({"landmarks": landmarks(RIGHT, LEFT), "which_face": "largest"}, {"which_face": "0"}, EVERYWHERE),
        (ROUND_FACE, {"face_expand": 1.5}, set()),
        (ROUND_FACE, {"face_mask": mask(100, 160, 260, 330)}, EVERYWHERE),
        ({**ROUND_FACE, "lip_mask": LIPS}, {"lip_expand": 1.2}, set()),
        ({**ROUND_FACE, "lip_mask": LIPS}, {"landmarks": None}, set()),
        ({"landmarks": landmarks(LEFT, RIGHT), "face_mask": FACE}, {"landmarks": landmarks(LEFT)}, set()),
    ],
    ids=lambda given: ", ".join(given),
)
def test_each_input_changes_what_it_says_and_nothing_else(run, given, change, expected):
    assert changed(run(**given), run(**{**given, **change})) == expected


def test_the_whole_picture_is_used_as_it_is_if_asked_for(run):
    image = picture(480, 480)
    marks = {**landmarks(LEFT), "image_size": (480, 480)}
    found = run(image, framing="whole picture", landmarks=marks)
    assert torch.equal(found["square"], image)
    assert run(image, landmarks=marks)["square"].shape[1] < 480


@pytest.fixture(scope="session")
def models(pack, tmp_path_factory):
    pytest.importorskip("onnx")
    pytest.importorskip("insightface")
    from face_models import write_models

    return pack.joyhallo.faces.find.FaceModels(write_models(tmp_path_factory.mktemp("faces")), None)


def test_the_identity_is_that_of_the_chosen_face(run, models):
    image = torch.from_numpy(dots((180, 240, 160), (460, 240, 160)))[None].float() / 255
    given = {"landmarks": landmarks(LEFT, RIGHT), "face_analysis": models}
    neutral = run(image, **given, which_face="0")
    left = run(image, **given, which_face="0", identity="from the picture")
    right = run(image, **given, which_face="1", identity="from the picture")
    assert not neutral["face"].identity.any()
    assert changed(neutral, left) == {"identity"}
    expected = models.detector.faces(dots((180, 240, 160), (460, 240, 160)))
    assert torch.equal(left["face"].identity, torch.from_numpy(expected[0].identity))
    assert torch.equal(right["face"].identity, torch.from_numpy(expected[1].identity))


# ---- what the node shows


def boxes_of(*meshes: np.ndarray) -> list:
    """As parts of the picture's width and height."""
    corners = [(*mesh.min(0), *mesh.max(0)) for mesh in meshes]
    return [pytest.approx(np.array(box) / (WIDTH, HEIGHT, WIDTH, HEIGHT), abs=2e-3) for box in corners]


def test_the_node_shows_the_faces_and_which_was_taken(node, pack):
    import folder_paths

    with torch.inference_mode():
        given = {**INPUTS, "landmarks": landmarks(LEFT, RIGHT), "which_face": "1"}
        found = node.execute(picture(), **given)
    (told,) = found.ui["joyhallo_faces"]
    assert told["faces"] == boxes_of(LEFT, RIGHT)
    assert told["chosen"] == 1
    assert told["image"]["type"] == "temp"
    seen = np.array(Image.open(Path(folder_paths.get_temp_directory(), told["image"]["filename"])))
    assert np.array_equal(seen, (found.args[5][0] * 255).round().byte().numpy())


class Page:
    """ComfyUI's server, as far as nodes send to it."""

    client_id = "who asked"

    def __init__(self):
        self.sent = []

    def send_sync(self, *event):
        self.sent.append(event)


def test_faces_are_offered_where_none_was_chosen(node, pack, monkeypatch):
    page, hidden = Page(), SimpleNamespace(unique_id="5:3")
    monkeypatch.setattr(pack.nodes.preview, "page", lambda: page)
    monkeypatch.setattr(node, "hidden", hidden)
    alike = drawn_mesh(460, 240, 121)
    with pytest.raises(ValueError, match="2 faces were found"):
        node.execute(picture(), **{**INPUTS, "landmarks": landmarks(LEFT, alike)})
    ((event, told, client),) = page.sent
    assert (event, told["node"], told["chosen"], client) == ("joyhallo.faces", "5:3", None, "who asked")
    assert told["faces"] == boxes_of(LEFT, alike)


# ---- what does not fit

EMPTY = torch.zeros(1, 64, 64)  # LoadImageMask's, of a picture without transparency


@pytest.mark.parametrize(
    ("inputs", "words"),
    [
        ({"landmarks": None}, "face landmarker, but there is none.*connect face_analysis from Load JoyHallo Models"),
        ({"identity": "from the picture"}, "InsightFace models, but there are none.*connect face_analysis.*neutral"),
        ({"face_analysis": "antelopev2"}, "`face_analysis` is the text .*; connect the output of Load JoyHallo Models"),
        ({"landmarks": "somewhere"}, "str that holds no points"),
        ({"landmarks": {"points": []}}, "unknown format"),
        ({"landmarks": landmarks()}, "No face was found"),
        ({"landmarks": {**landmarks(LEFT), "image_size": (64, 64)}}, "found in a picture of 64x64.*same picture"),
        ({"landmarks": landmarks(LEFT, RIGHT - (0, 1))}, "auto"),
        ({"landmarks": landmarks(LEFT, drawn_mesh(460, 240, 121))}, "2 faces were found.*by its number"),
        ({"which_face": "4"}, "Face 4 does not exist: 1 face was found"),
        ({"which_face": "the left one"}, "`which_face` is 'the left one'; choose one of: auto, largest, 0, 1"),
        ({"framing": "square"}, "`framing` is 'square'; choose one of: face, whole picture"),
        ({"identity": "mine"}, "`identity` is 'mine'; choose one of: from the picture, neutral"),
        ({"framing": "whole picture"}, "640x480 pixels.*frame the face, crop the picture"),
        ({"face_mask": EMPTY}, "face mask is empty"),
        ({"lip_mask": EMPTY}, "lip mask is empty"),
        ({"lip_mask": torch.ones(1, 64, 64)}, "lip region fills the whole frame"),
        ({"face_mask": torch.ones(3, 64, 64)}, "3 masks were given where one is needed"),
        ({"lip_mask": mask(0, 0, 40, 40)}, "The lip region lies outside the frame"),
        ({"face_expand": 4.0}, "face region fills the whole frame.*expand it less"),
        ({"landmarks": landmarks(drawn_mesh(180, 240, 30))}, "only 30x30 pixels"),
        ({"landmarks": landmarks(drawn_mesh(-20, 240, 120))}, "of the face lies in the picture"),
        ({"image": picture().expand(3, -1, -1, -1)}, "3 pictures, as of a video.*ImageFromBatch"),
        ({"image": picture() * torch.nan}, "not numbers"),
    ],
    ids=lambda given: ", ".join(given) if isinstance(given, dict) else "",
)
def test_what_does_not_fit_is_said_in_a_sentence(run, inputs, words):
    if words == "auto":  # one is clearly larger
        assert run(**inputs)["face"].found.number == 1
        return
    with pytest.raises((ValueError, TypeError, RuntimeError), match=words) as found:
        run(**inputs)
    assert type(found.value).__module__.startswith(("joyhallo_pack.", "builtins"))
    assert "\n" not in str(found.value)


def test_the_message_of_a_profile(run):
    turned = LEFT.copy()
    turned[1] += (90, 0)
    with pytest.raises(ValueError, match="turned away"):
        run(landmarks=landmarks(turned))


def test_inputs_stay_as_they_were(run):
    image, painted = picture(), LIPS.clone()
    run(image, lip_mask=painted)
    assert torch.equal(image, picture())
    assert torch.equal(painted, LIPS)
