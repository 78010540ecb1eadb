"""What the picture to look at shows, told from its pixels."""

import mesh as true_mesh
import numpy as np
import pytest
import torch
from drawn_faces import drawn_mesh
from PIL import Image

from joyhallo.faces.boxes import Box
from joyhallo.faces.regions import OUTLINE
from joyhallo.methods.hallo.overlay import DIMMED, SIDES, TINTS, numbered, overlay
from joyhallo.methods.hallo.portrait import Framing, Prepared, Wishes, prepare

GRAY = 120


def flat(width: int, height: int) -> np.ndarray:
    return np.full((height, width, 3), GRAY, np.uint8)


def prepared(*meshes: np.ndarray, width: int = 1000, height: int = 800, choice="auto", **framing) -> Prepared:
    wishes = Wishes(choice, np.stack(meshes), identity="neutral")
    return prepare(flat(width, height), wishes=wishes, framing=Framing(**framing))


def masked(width: int, height: int) -> Prepared:
    face, lips = torch.zeros(height, width), torch.zeros(height, width)
    face[height // 4 : height // 2, width // 4 : width // 2] = 1
    lips[3 * height // 8 : 7 * height // 16, width // 3 : width * 5 // 12] = 1
    return prepare(flat(width, height), wishes=Wishes(face_mask=face, lip_mask=lips, identity="neutral"))


def lines(picture: np.ndarray) -> np.ndarray:
    """Where something white is drawn."""
    return (picture == 255).all(2)


def test_the_window_is_framed_and_what_is_outside_dimmed():
    found = prepared(drawn_mesh(500, 400, 150))
    window = found.crop.box
    shown = overlay(found)
    assert shown.shape == (800, 1000, 3)
    outside = np.ones((800, 1000), bool)
    outside[int(window.top) - 2 : int(window.bottom) + 2, int(window.left) - 2 : int(window.right) + 2] = False
    assert (shown[outside] == int(GRAY * DIMMED)).all()
    drawn = lines(shown)
    for row in (window.top, window.bottom - 4):
        assert drawn[int(row) : int(row) + 4, int(window.left) + 9 : int(window.right) - 9].any(0).all()
    for column in (window.left, window.right - 4):
        assert drawn[int(window.top) + 9 : int(window.bottom) - 9, int(column) : int(column) + 4].any(1).all()


def test_each_region_has_its_tint():
    """Where one region alone is at work, its colour is mixed in as strongly as is said; the lips' is the strongest."""
    found = masked(1000, 800)
    window, shown = found.crop.box, overlay(found)
    masks = found.regions
    assert max(TINTS, key=lambda name: TINTS[name][1]) == "lip"
    for name, (color, strength) in TINTS.items():
        alone = getattr(masks, name).astype(int) - sum(getattr(masks, other) for other in TINTS if other != name)
        row, column = np.unravel_index(alone.argmax(), alone.shape)
        x, y = (int(low + (at + 0.5) * window.width / 64) for low, at in ((window.left, column), (window.top, row)))
        x, y = np.clip(x, int(window.left) + 9, int(window.right) - 9), np.clip(y, int(window.top) + 9, None)
        expected = GRAY + strength * (np.array(color) - GRAY) * alone.max() / 255
        assert np.abs(shown[y, x] - expected).max() < 8, name


def test_the_outline_and_the_mouth_are_drawn_where_they_are():
    mesh = drawn_mesh(500, 400, 150)
    drawn = lines(overlay(prepared(mesh)))
    for point in (*mesh[list(OUTLINE)], mesh[61], mesh[291], mesh[0], mesh[17]):
        x, y = point.round().astype(int)
        assert drawn[y - 2 : y + 3, x - 2 : x + 3].any()
    assert not drawn[395:405, 495:505].any()  # the nose is not


def test_no_line_leads_through_the_mouth():
    """Lip points are listed as two arcs from the left; joined as they are listed, a line would cross the mouth."""
    mesh = drawn_mesh(500, 400, 300)
    angles = np.pi + np.linspace(0, np.pi, 11)
    upper, lower = (61, 185, 40, 39, 37, 0, 267, 269, 270, 409, 291), (146, 91, 181, 84, 17, 314, 405, 321, 375)
    mesh[list(upper)] = np.stack([500 + 60 * np.cos(angles), 480 + 30 * np.sin(angles)], 1)
    angles = np.pi - np.linspace(0, np.pi, 11)[1:-1]
    mesh[list(lower)] = np.stack([500 + 60 * np.cos(angles), 480 + 30 * np.sin(angles)], 1)
    drawn = lines(overlay(prepared(mesh)))
    assert not drawn[470:490, 460:540].any()
    assert drawn[505:515, 495:505].any()


def test_several_faces_are_numbered_and_the_chosen_one_stands_out():
    meshes = drawn_mesh(200, 400, 120), drawn_mesh(800, 400, 120)
    shown = {choice: overlay(prepared(*meshes, choice=choice)) for choice in (0, 1)}
    for choice, x in ((0, 200), (1, 800)):
        label = (slice(300, 338), slice(x - 58, x - 36))  # above the left corner of the face's box
        inked = {number: lines(picture)[label].mean() for number, picture in shown.items()}
        assert inked[choice] > 0.5  # black on white
        assert 0.01 < inked[1 - choice] < 0.5  # white on black
    undecided = numbered(flat(1000, 800), [Box(140, 340, 260, 460), Box(740, 340, 860, 460)])
    assert 0.01 < lines(undecided)[300:338, 142:164].mean() < 0.5
    assert (undecided[600:] == GRAY).all()
    alone = lines(overlay(prepared(meshes[0])))
    assert not alone[308:330, 142:164].any()


def test_a_face_without_a_mesh_is_boxed():
    class Seeing:
        def seen(self, picture):
            from joyhallo.faces.find import Face

            return [Face(Box(420, 320, 580, 480), identity=np.ones(512, np.float32))]

    from joyhallo.methods.hallo.portrait import Finders

    mask = torch.zeros(800, 1000)
    mask[300:500, 400:600] = 1
    lips = torch.zeros(800, 1000)
    lips[430:450, 470:530] = 1
    found = prepare(flat(1000, 800), Finders(Seeing()), Wishes(face_mask=mask, lip_mask=lips))
    drawn = lines(overlay(found))
    assert drawn[318:323, 430:570].any(0).all()
    assert drawn[330:470, 578:583].any(1).all()


@pytest.mark.parametrize(
    ("width", "height"), [(64, 64), (300, 200), (1000, 800), (4000, 3000), (16, 1500), (5000, 60)], ids=str
)
def test_pictures_of_any_size_are_shown_at_a_size_to_look_at(width, height):
    shown = overlay(masked(width, height))
    longest = min(max(width, height, SIDES[0]), SIDES[1])
    assert max(shown.shape[:2]) == longest
    assert abs(shown.shape[1] * height - shown.shape[0] * width) <= max(width, height)
    assert shown.dtype == np.uint8
    assert lines(shown).any()


def test_a_window_beyond_the_picture_is_framed_at_its_border():
    found = prepared(drawn_mesh(150, 140, 270), width=300, height=300)
    assert found.crop.box.left < 0
    shown = overlay(found)
    assert shown.shape == (768, 768, 3)
    drawn = lines(shown)
    assert drawn[:4, 9:-9].any(0).all()
    assert drawn[9:-9, -4:].any(1).all()


def test_the_tints_of_a_true_face_differ_for_everyone():
    """Brightness aside, neighbouring regions keep apart in colour: as they are, and for both red-green blindnesses."""
    picture = np.array(pytest.importorskip("skimage.data").astronaut())
    found = prepare(picture, wishes=Wishes(mesh=true_mesh.mesh(picture), identity="neutral"))
    shown = Image.fromarray(overlay(found)).resize(picture.shape[1::-1], Image.Resampling.BOX)
    window = np.asarray(shown)[found.crop.box.slices]
    window = np.asarray(Image.fromarray(window).resize((64, 64), Image.Resampling.BOX)) / 255
    for blindness in (np.eye(3), DEUTERANOPIA, PROTANOPIA):
        seen = (window**2.2 @ blindness.T).clip(0, 1) ** (1 / 2.2)
        opponent = np.stack([seen[..., 0] - seen[..., 1], seen[..., 2] - seen[..., :2].mean(2)], -1)
        mean = {name: opponent[getattr(found.regions, name) > 230].mean(0) for name in ("pose", "lip")}
        mean["expression"] = opponent[found.regions.expression > 200].mean(0)
        for one, other in (("pose", "expression"), ("expression", "lip"), ("pose", "lip")):
            assert np.linalg.norm(mean[one] - mean[other]) > 0.1, (one, other)


# How the blind to green and to red see linear RGB (Machado, Oliveira and Fernandes 2009).
DEUTERANOPIA = np.array([[0.367, 0.861, -0.228], [0.280, 0.673, 0.047], [-0.012, 0.043, 0.969]])
PROTANOPIA = np.array([[0.152, 1.053, -0.205], [0.115, 0.786, 0.099], [-0.004, -0.048, 1.052]])
