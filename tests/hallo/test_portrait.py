"""What is prepared once, at any size, with regions that someone edited; and who is asked for what is not given."""

import dataclasses
import logging

import mesh as true_mesh
import numpy as np
import pytest
import torch
from drawn_faces import DrawnMeshes, astronaut, drawn_mesh
from PIL import Image

from joyhallo.faces import find as faces
from joyhallo.faces.boxes import Box
from joyhallo.faces.find import Face, FaceError, FaceModels, Undecided
from joyhallo.libraries import LibraryError
from joyhallo.methods.hallo.portrait import Finders, Framing, Prepared, Wishes, prepare

REGIONS = ("pose", "expression", "lip")


def scene(width: int = 640, height: int = 480) -> np.ndarray:
    coarse = np.random.default_rng(0).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    return np.array(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC))


def prepared(face: float = 150, **framing) -> Prepared:
    wishes = Wishes(mesh=drawn_mesh(320, 240, face), identity="neutral")
    return prepare(scene(), wishes=wishes, framing=Framing(**framing))


def as_comfyui(mask: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(mask)[None].float() / 255


def same(a, b) -> bool:
    ours, theirs = ([one.picture, one.identity, one.locator, *one.masks] for one in (a, b))
    return all(torch.equal(one, other) for one, other in zip(ours, theirs, strict=True))


# ---- at any size


@pytest.mark.parametrize("size", [(256, 256), (512, 512), (704, 704)], ids=str)
def test_another_size_is_the_same_as_preparing_for_it(size):
    assert same(prepared().at(size).portrait, prepared(size=size).portrait)
    assert prepared().at(size).crop == prepared(size=size).crop


def test_a_window_of_any_shape_keeps_its_shape():
    for face in (61, 83, 150):
        wide = prepared(face, size=(384, 256))
        assert same(wide.at((768, 512)).portrait, prepared(face, size=(768, 512)).portrait)
        with pytest.raises(ValueError, match="stretched to frames of 512x512"):
            wide.at((512, 512))


def test_sizes_that_the_networks_do_not_take_are_refused():
    with pytest.raises(ValueError, match=r"frames are 500x500.* multiples of 64; try 512x512"):
        prepared().at((500, 500))


def test_at_changes_nothing_in_place():
    once = prepared()
    before = once.portrait
    once.at((256, 256), lip=torch.zeros(1, 9, 9))
    assert same(once.portrait, before)
    assert same(prepared().portrait, before)


# ---- edited regions


@pytest.mark.parametrize("face", [40, 50, 90, 200, 1100])
@pytest.mark.parametrize("lip_expand", [1.5, 2.0, 3.0])
def test_regions_fed_back_unedited_stay_within_one_percent(face, lip_expand):
    picture, mesh = scene(2000, 2000), drawn_mesh(1000, 1000, face)
    found = prepare(
        picture,
        wishes=Wishes(mesh=mesh, identity="neutral"),
        framing=Framing(lip_expand=lip_expand),
        limits=faces.Limits(smallest=1),
    )
    fed_back(found)


@pytest.mark.parametrize("side", [100, 300, 512])
def test_regions_of_a_true_face_fed_back_stay_within_one_percent(side):
    picture = np.array(Image.fromarray(astronaut()[:300, 70:370]).resize((side, side)))
    mesh = true_mesh.mesh(astronaut()[:300, 70:370]) * side / 300
    fed_back(prepare(picture, wishes=Wishes(mesh=mesh, identity="neutral"), limits=faces.Limits(smallest=1)))


def fed_back(found: Prepared) -> None:
    shown = found.regions.at(found.crop.seen)
    again = found.at((512, 512), **{name: as_comfyui(getattr(shown, name)) for name in REGIONS})
    for expected, level in zip(found.at((512, 512)).portrait.masks, again.portrait.masks, strict=True):
        assert (level - expected).abs().max() <= 0.01
    assert again.regions.lip.max() - again.regions.lip.min() > 250  # there is something to compare


@pytest.mark.parametrize("name", REGIONS)
@pytest.mark.parametrize("shape", [(1, 480, 480), (333, 333), (1, 64, 64), (50, 50)], ids=str)
def test_an_edited_region_replaces_its_own_alone(name, shape):
    mask = torch.zeros(shape)
    mask[..., : shape[-1] // 2] = 0.8
    found, before = prepared().at((256, 256), **{name: mask}).portrait, prepared().at((256, 256)).portrait
    for level, (regions, original) in enumerate(zip(found.masks, before.masks, strict=True)):
        side = 32 >> level
        for row, other, region in zip(regions, original, REGIONS, strict=True):
            if region != name:
                assert torch.equal(row, other)
                continue
            left, right = row.reshape(side, side)[:, : side // 4], row.reshape(side, side)[:, -side // 4 :]
            assert (left - 0.8).abs().max() < 0.01
            assert right.max() < 0.01
    assert torch.equal(found.locator, before.locator)


def test_a_hard_edge_stays_where_it_is_and_does_not_ring():
    mask = torch.zeros(1, 640, 640)
    mask[:, 200:400, 200:400] = 1
    lip = prepared().at((512, 512), lip=mask).regions.lip
    assert extent(lip) == Box(20, 20, 40, 40)
    assert lip[22:38, 22:38].min() >= 253
    assert lip[:18].max() <= 2


def test_what_cannot_be_a_region_is_said(caplog):
    found = prepared()
    for mask, words in (
        (
            torch.ones(1, 480, 640),
            r"expression mask is 640x480 pixels, and its aspect ratio does not match the crop of 250x250",
        ),
        (torch.ones(2, 64, 64), "2 masks were given where one is needed"),
        (torch.full((1, 64, 64), torch.nan), "not numbers"),
        ("a mask", "shape"),
    ):
        with pytest.raises(ValueError, match=words):
            found.at((512, 512), expression=mask)
    with caplog.at_level(logging.WARNING):
        silent = found.at((512, 512), expression=torch.zeros(1, 64, 64))
    assert "expression mask is empty" in caplog.text
    assert not silent.portrait.masks[0][1].any()


# ---- expanding


def extent(region: np.ndarray) -> Box:
    rows, columns = np.nonzero(region.max(1) >= 128)[0], np.nonzero(region.max(0) >= 128)[0]
    return Box(columns[0], rows[0], columns[-1] + 1, rows[-1] + 1)


def test_lips_and_face_are_expanded_each_for_itself():
    usual, lips, face = prepared(), prepared(lip_expand=3.5), prepared(expand=1.5)
    assert extent(lips.regions.lip).width > extent(usual.regions.lip).width + 4
    assert np.array_equal(lips.face_region, usual.face_region)
    assert np.array_equal(lips.regions.pose, usual.regions.pose)
    assert extent(face.face_region).width == pytest.approx(150 * 1.5, abs=2)
    assert extent(usual.face_region).width == pytest.approx(150 * 1.2, abs=2)
    assert np.array_equal(face.regions.lip, usual.regions.lip)


# ---- which face

THREE = [drawn_mesh(x, 240, size) for x, size in ((500, 100), (100, 100), (300, 110))]
COMFYUI = {"frames": [[{"landmarks_xy": mesh.astype(np.float32)} for mesh in THREE]], "image_size": (480, 640)}


@pytest.mark.parametrize("landmarks", [np.stack(THREE), COMFYUI], ids=["array", "ComfyUI"])
def test_landmarks_are_chosen_among_from_left_to_right(landmarks):
    for choice, x in ((0, 100), (1, 300), (2, 500), ("largest", 300)):
        found = prepare(scene(), wishes=Wishes(choice, landmarks, identity="neutral"))
        assert found.face.box.center[0] == pytest.approx(x, abs=1)
        assert [round(box.center[0]) for box in found.found.boxes] == [100, 300, 500]
        assert found.found.number == {100: 0, 300: 1, 500: 2}[x]
    with pytest.raises(Undecided, match="3 faces were found") as undecided:
        prepare(scene(), wishes=Wishes("auto", landmarks, identity="neutral"))
    assert [round(box.center[0]) for box in undecided.value.boxes] == [100, 300, 500]
    with pytest.raises(FaceError, match="Face 3 does not exist: 3 faces"):
        prepare(scene(), wishes=Wishes(3, landmarks, identity="neutral"))


def test_a_face_mask_tells_which_face_unless_one_is_asked_for():
    mask = torch.zeros(1, 48, 64)
    mask[:, 19:29, 46:54] = 1
    for choice, x in (("auto", 500), (0, 100), ("largest", 300)):
        wishes = Wishes(choice, np.stack(THREE), face_mask=mask, identity="neutral")
        lips = torch.zeros(1, 48, 64)
        lips[:, 25:27, 48:52] = 1
        found = prepare(scene(), wishes=dataclasses.replace(wishes, lip_mask=lips))
        assert found.face.box.center[0] == pytest.approx(x, abs=1)


def test_landmarks_that_cannot_be_used_are_said():
    for landmarks, words in (
        ({**COMFYUI, "frames": COMFYUI["frames"] * 2}, "those of 2 pictures"),
        ({**COMFYUI, "frames": [[]]}, "No face was found"),
        ({**COMFYUI, "frames": [[{"landmarks_xy": "points"}]]}, "a str that holds no points"),
        ("points", "a str that holds no points"),
        (7, r"shape \(\)"),
        ([], "No face was found"),
    ):
        with pytest.raises(FaceError, match=words):
            prepare(scene(), wishes=Wishes(mesh=landmarks, identity="neutral"))


# ---- what is not needed is not loaded


class Loaded:
    """Notes when one is made, in place of the libraries that would make it."""

    made: list[str]

    def __init__(self, monkeypatch, *missing: str):
        self.made = []
        known = Face(Box(245, 165, 395, 315), identity=np.ones(512, np.float32))
        makers = {
            "InsightFace": lambda folder: type("Detector", (), {"seen": lambda _, picture: [known]})(),
            "FaceMesh": lambda task: DrawnMeshes(drawn_mesh(320, 240, 150)),
        }
        for name, make in makers.items():
            monkeypatch.setattr(faces, name, self.noting(name, make, name in missing))

    def noting(self, name, make, missing):
        def made(place):
            self.made.append(name)
            if missing:
                raise LibraryError(f"{name} is missing")
            return make(place)

        return made


MASKS = {"face_mask": np.zeros((48, 64), np.uint8), "lip_mask": np.zeros((48, 64), np.uint8)}
MASKS["face_mask"][16:32, 24:40] = 255
MASKS["lip_mask"][26:29, 29:35] = 255


def test_white_may_be_a_level_short():
    """As newer versions of ComfyUI read it from grey pictures: 0.9961."""
    whole, short = (
        prepare(scene(), wishes=Wishes(**masks, identity="neutral"))
        for masks in (MASKS, {name: torch.from_numpy(mask) / 256 for name, mask in MASKS.items()})
    )
    assert np.array_equal(short.face_region, whole.face_region)
    for name in ("pose", "expression", "lip"):
        assert np.array_equal(getattr(short.regions, name), getattr(whole.regions, name))


@pytest.mark.parametrize(
    ("wishes", "needed"),
    [
        (Wishes(), ["InsightFace", "FaceMesh"]),
        (Wishes(identity="neutral"), ["FaceMesh"]),
        (Wishes(mesh=drawn_mesh(320, 240, 150)), ["InsightFace"]),
        (Wishes(**MASKS), ["InsightFace"]),
        (Wishes(face_mask=MASKS["face_mask"], identity="neutral"), ["FaceMesh"]),
        (Wishes(mesh=drawn_mesh(320, 240, 150), identity="neutral"), []),
        (Wishes(**MASKS, identity="neutral"), []),
        (Wishes(**MASKS, identity=torch.ones(512)), []),
    ],
    ids=["all", "neutral", "landmarks", "masks", "face mask, neutral", "landmarks, neutral", "masks, neutral", "known"],
)
def test_models_are_loaded_once_and_only_if_they_are_needed(monkeypatch, wishes, needed):
    loaded = Loaded(monkeypatch)
    models = FaceModels("folder", "task")
    assert loaded.made == []
    for _ in range(2):
        prepare(scene(), models, wishes)
    assert loaded.made == needed
    others = {"InsightFace", "FaceMesh"} - set(needed)
    Loaded(monkeypatch, *others)
    prepare(scene(), FaceModels("folder", "task"), wishes)
    for missing in needed:
        broken = Loaded(monkeypatch, missing)
        models = FaceModels("folder", "task")
        for _ in range(2):  # what could not be loaded is tried again: it may have been installed since
            with pytest.raises(LibraryError, match=missing):
                prepare(scene(), models, wishes)
        assert broken.made.count(missing) == 2


@pytest.mark.parametrize(
    ("finders", "wishes", "words"),
    [
        (None, Wishes(), "InsightFace models, but there are none.*Load JoyHallo Models.*neutral"),
        (FaceModels(), Wishes(), "InsightFace models, but there are none"),
        (Finders(), Wishes(identity="neutral"), r"MediaPipe's face landmarker, but there is none.*landmarks, or masks"),
        (FaceModels(), Wishes(face_mask=MASKS["face_mask"], identity="neutral"), "face landmarker, but there is none"),
    ],
)
def test_what_is_missing_is_said_with_what_to_do(finders, wishes, words):
    with pytest.raises(LibraryError, match=words):
        prepare(scene(), finders, wishes)
