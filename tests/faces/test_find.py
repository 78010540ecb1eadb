"""InsightFace and MediaPipe as they are, with stand-ins for their models where these cannot be had."""

import os
import subprocess
import sys
import zipfile

import mesh as true_mesh
import numpy as np
import pytest
import torch
from drawn_faces import DrawnMeshes, astronaut, dots, drawn_mesh
from PIL import Image
from shared import REPOSITORY, shared_folder

from joyhallo import libraries
from joyhallo.faces import find as faces
from joyhallo.faces.boxes import Box
from joyhallo.faces.find import FaceError, FaceMesh, InsightFace, Limits
from joyhallo.faces.regions import LIPS, OUTLINE
from joyhallo.libraries import LibraryError
from joyhallo.methods.hallo.config import NetConfig
from joyhallo.methods.hallo.portrait import Finders, Framing, Wishes, prepare
from joyhallo.methods.hallo.sampling import Settings, check

SIZE = (640, 480)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    pytest.importorskip("onnx", reason="the stand-ins for the face models are made with onnx")
    from face_models import write_models

    return write_models(tmp_path_factory.mktemp("face_analysis") / "models")


@pytest.fixture(scope="module")
def detector(folder):
    pytest.importorskip("insightface")
    return InsightFace(folder)


# ---- InsightFace


@pytest.mark.parametrize(("width", "height"), [(640, 480), (400, 800), (1280, 1280), (333, 217)])
def test_what_insightface_itself_finds(detector, folder, width, height):
    from insightface.app import FaceAnalysis

    picture = dots(
        (width // 4, height // 2, 80),
        (width // 2, height // 2, 160),
        (3 * width // 4, height // 2, 80),
        width=width,
        height=height,
    )
    analysis = FaceAnalysis(name=str(folder), root=str(folder), providers=["CPUExecutionProvider"])
    analysis.prepare(ctx_id=-1, det_size=(640, 640))
    expected = sorted(analysis.get(np.ascontiguousarray(picture[..., ::-1])), key=lambda face: face.bbox[0])
    found = sorted(detector.faces(picture), key=lambda face: face.box.left)
    assert len(found) == len(expected) >= 2
    for ours, theirs in zip(found, expected, strict=True):
        assert [ours.box.left, ours.box.top, ours.box.right, ours.box.bottom] == theirs.bbox.tolist()
        assert np.array_equal(ours.marks, theirs.kps)
        assert np.array_equal(ours.identity, theirs.embedding)
        assert ours.identity.shape == (512,)
        assert abs(np.linalg.norm(ours.identity) - 1) > 0.01  # raw, not made unit length


def test_faces_come_from_left_to_right(detector):
    found = detector.faces(dots((500, 100, 80), (100, 300, 80), (300, 200, 160)))
    assert [round(face.box.center[0], -2) for face in found] == [100, 300, 500]


def test_a_face_that_the_detector_is_unsure_of_is_seen_but_not_found(detector):
    picture = dots((160, 240, 160), (480, 240, 160))
    pale = np.array([17, 238, 17], np.uint8)
    picture[:, 320:][(picture[:, 320:] == (0, 255, 0)).all(-1)] = pale
    (found,) = detector.faces(picture)
    sure, unsure = detector.seen(picture)
    assert sure.box == found.box
    assert abs(unsure.box.center[0] - 480) < 20
    assert unsure.score < faces.SURE <= sure.score


def test_a_face_that_fills_the_picture_is_found_with_a_border(detector, monkeypatch):
    picture, look = dots(), detector._look
    picture[200:280, 280:360] = (0, 255, 0)
    shapes = []

    def fussy(seen):
        shapes.append(seen.shape)
        return look(seen) if len(shapes) > 1 else []

    monkeypatch.setattr(detector, "_look", fussy)
    (face,) = detector.faces(picture)
    assert shapes == [(480, 640, 3), (480 + 640, 640 + 640, 3)]
    assert abs(face.box.center[0] - 320) < 40
    assert abs(face.box.center[1] - 240) < 40  # cells are 32 pixels wide at half size


def test_models_of_the_current_folder_are_not_taken(folder, tmp_path, monkeypatch):
    """InsightFace 2.1 looks there if the name is empty."""
    pytest.importorskip("insightface")
    (tmp_path / "other.onnx").write_bytes(b"not a network")
    monkeypatch.chdir(tmp_path)
    for place in (folder, folder.parent):
        InsightFace(place)


def test_missing_models(tmp_path):
    with pytest.raises(LibraryError, match=r"glintr100.*no \.onnx file.*non-commercial"):
        InsightFace(tmp_path / "nowhere")
    (tmp_path / "w600k_r50.onnx").touch()
    with pytest.raises(LibraryError, match=r"but w600k_r50\.onnx was found.*non-commercial"):
        InsightFace(tmp_path)


def test_damaged_models(folder, tmp_path):
    pytest.importorskip("insightface")
    for name in (faces.DETECTOR, faces.RECOGNISER):
        (tmp_path / name).write_bytes((folder / name).read_bytes()[:100])
    with pytest.raises(LibraryError, match=r"cannot be read.*again"):
        InsightFace(tmp_path)


# ---- MediaPipe


@pytest.fixture(scope="module")
def task(tmp_path_factory):
    """A landmarker with an older mesh: of its 478 points, every third is an even one of the true mesh."""
    pytest.importorskip("mediapipe")
    return true_mesh.as_task(tmp_path_factory.mktemp("task"))


@pytest.mark.parametrize("window", [None, Box(120, 20, 340, 250)], ids=["whole", "part"])
def test_mediapipe_finds_the_true_points(task, window):
    picture = astronaut()
    (found,) = FaceMesh(task).meshes(picture, window)
    assert found.shape == (478, 2)
    true = true_mesh.mesh(picture)
    distance = np.linalg.norm(found[: 3 * 159 : 3] - true[: 2 * 159 : 2], axis=1)
    assert distance.mean() < 0.03 * np.ptp(true[:, 0])


@pytest.mark.parametrize(("width", "height", "left", "top"), [(1000, 1500, 600, 100), (1500, 1000, 100, 600)])
def test_a_small_face_is_looked_for_in_parts_of_the_picture(task, width, height, left, top):
    picture = np.full((height, width, 3), 100, np.uint8)
    picture[top : top + 384, left : left + 384] = np.array(Image.fromarray(astronaut()).resize((384, 384)))
    landmarker = FaceMesh(task)
    assert landmarker.meshes(picture) == []
    (found,) = landmarker.anywhere(picture)
    true = true_mesh.mesh(astronaut()) * 0.75 + (left, top)
    distance = np.linalg.norm(found[: 3 * 159 : 3] - true[: 2 * 159 : 2], axis=1)
    assert distance.mean() < 0.1 * np.ptp(true[:, 0])


def test_parts_cover_the_picture_and_each_face_is_told_once():
    people = [drawn_mesh(x, y, 60) for x, y in ((60, 60), (600, 450), (320, 240), (320, 60))]

    class Shortsighted(DrawnMeshes):
        def meshes(self, picture, window=None, most=10):
            return super().meshes(picture, window) if window is not None else []

    found = Shortsighted(*people).anywhere(dots())
    assert len(found) == len(people)
    assert all(any(mesh is person for mesh in found) for person in people)
    assert Shortsighted().anywhere(dots(width=16, height=30)) == []


def test_mediapipe_finds_nobody(task):
    assert FaceMesh(task).meshes(np.full((200, 200, 3), 90, np.uint8)) == []


def test_a_damaged_or_missing_task_file(tmp_path):
    with pytest.raises(LibraryError, match=r"gone\.task does not exist"):
        FaceMesh(tmp_path / "gone.task")
    pytest.importorskip("mediapipe")
    (tmp_path / "bad.task").write_bytes(b"bad" * 99)
    with pytest.raises(LibraryError, match=r"download the \.task file again"):
        FaceMesh(tmp_path / "bad.task").meshes(np.zeros((64, 64, 3), np.uint8))
    with zipfile.ZipFile(tmp_path / "other.task", "w") as archive:
        archive.writestr("a/b.txt", "nothing")
    landmarker = FaceMesh(tmp_path / "other.task")
    with pytest.raises(LibraryError, match=r"download the \.task file again"):
        landmarker.meshes(np.zeros((64, 64, 3), np.uint8))
    with pytest.raises(LibraryError, match=r"download the \.task file again"), landmarker.at_work():
        pass


def test_what_takes_a_task_files_place(tmp_path):
    (tmp_path / "page.task").write_bytes(b"<!DOCTYPE html><html>")
    (tmp_path / "none.task").touch()
    os.mkfifo(tmp_path / "pipe.task")  # which would be waited for for ever
    (tmp_path / "circle.task").symlink_to("circle.task")
    with (tmp_path / "long.task").open("wb") as file:
        file.write(b"PK")
        file.truncate(1 << 40)  # takes no room on the disk
    for name, words in {
        "page": "is a web page",
        "none": "is empty",
        "pipe": "is not a file",
        "circle": "cannot be read|does not exist",
        "long": "has more than 256 MB",
    }.items():
        with pytest.raises(LibraryError, match=rf"{name}\.task ({words}).*; take face_landmarker"):
            FaceMesh(tmp_path / f"{name}.task")


# ---- one person


def test_both_look_at_the_same_person(detector):
    """Two people side by side: whoever is chosen, the mesh is theirs, though the other is in the window, too."""
    picture = dots((200, 240, 160), (420, 240, 160))
    people = drawn_mesh(200, 240, 150), drawn_mesh(420, 240, 150)
    for index in (0, 1):
        for meshes in (people, people[::-1]):
            landmarker = DrawnMeshes(*meshes)
            found = prepare(picture, Finders(detector, landmarker), Wishes(choice=index))
            assert np.array_equal(found.face.mesh, people[index])
            assert found.face.box.overlap(faces.outline_box(found.face.mesh)) > 0.6
            assert landmarker.windows[0] is not None


def test_the_mesh_of_someone_else_is_not_taken(detector):
    with pytest.raises(FaceError, match="not its outline"):
        prepare(dots((200, 240, 160)), Finders(detector, DrawnMeshes(drawn_mesh(500, 100, 100))))


class Upright(DrawnMeshes):
    """Finds faces only in a picture whose white edge is on top, as no landmarker finds those on their side."""

    def meshes(self, picture, window=None, most=10):
        return super().meshes(picture, window) if (picture[0] == 255).all() else []


@pytest.mark.parametrize("quarters", [1, 2, 3])
def test_a_face_on_its_side_is_refused_with_the_way_to_turn_it(quarters):
    picture = dots(width=480, height=480)
    picture[0] = 255
    finders, wishes = Finders(None, Upright(drawn_mesh(240, 240, 150))), Wishes(identity="neutral")
    prepare(picture, finders, wishes)
    turned = np.ascontiguousarray(np.rot90(picture, quarters))
    with pytest.raises(FaceError, match=r"ImageRotate by \d+ degrees") as refused:
        prepare(turned, finders, wishes)
    degrees = int(str(refused.value).rsplit(" by ")[-1].split()[0])
    assert np.array_equal(np.rot90(turned, -degrees // 90), picture)  # ComfyUI's node turns clockwise
    with pytest.raises(FaceError, match="No face was found"):
        prepare(np.zeros_like(picture), finders, wishes)


THREE = [faces.Face(Box(x, 100, x + width, 220)) for x, width in ((50, 100), (200, 110), (400, 100))]


def test_choosing():
    mask = np.zeros((480, 640), np.uint8)
    mask[110:200, 390:480] = 255
    small = np.array(Image.fromarray(mask).resize((64, 48)))
    assert faces.choose(THREE, "largest", SIZE) is THREE[1]
    assert faces.choose(THREE[:1], "auto", SIZE) is THREE[0]
    assert faces.choose([*THREE[:2], faces.Face(Box(300, 0, 600, 300))], "auto", SIZE).box.width == 300
    for choice, index in ((0, 0), (2, 2), (Box(40, 90, 160, 230), 0), (mask, 2), (small, 2)):
        assert faces.choose(THREE, choice, SIZE) is THREE[index]


@pytest.mark.parametrize(
    ("found", "choice", "words"),
    [
        ([], "auto", "No face was found.*640x480.*neutral"),
        (THREE, "auto", "3 faces were found .*0: 100x120 pixels.*number"),
        (THREE, 3, "Face 3 .*3 faces"),
        (THREE, -1, "Face -1"),
        (THREE, Box(0, 300, 50, 400), "none where"),
        (THREE, Box(0, 0, 640, 480), "more than one"),
        (THREE, np.zeros((480, 640), np.uint8), "none where"),
        (THREE, "biggest", "cannot be chosen by"),
    ],
)
def test_choices_that_cannot_be_met(found, choice, words):
    with pytest.raises(FaceError, match=words):
        faces.choose(found, choice, SIZE)


def test_faces_that_are_of_no_use(tmp_path, detector):
    def marks(nose: float) -> np.ndarray:
        return np.array([[100, 100], [140, 100], [120 + nose * 40, 120], [105, 150], [135, 150]])

    good = Box(80, 60, 160, 170)
    faces.check_face(faces.Face(good, marks=marks(0.3)), SIZE, Limits())
    for face, words in (
        (faces.Face(Box(80, 60, 110, 100)), "30x40 pixels.*larger"),
        (faces.Face(Box(-60, 60, 100, 200)), "Only 62% of the face"),
        (faces.Face(good, marks=marks(0.9)), "0.90 eye distances.*front"),
    ):
        with pytest.raises(FaceError, match=words):
            faces.check_face(face, SIZE, Limits())
        faces.check_face(face, SIZE, Limits(smallest=1, visible=0, turned=2))


def test_a_profile_is_told_from_the_detectors_marks(tmp_path):
    pytest.importorskip("insightface")
    from face_models import write_models

    turned = InsightFace(write_models(tmp_path, nose=3))
    finders = Finders(turned, DrawnMeshes(drawn_mesh(320, 240, 150)))
    with pytest.raises(FaceError, match="turned away"):
        prepare(dots((320, 240, 160)), finders)
    prepare(dots((320, 240, 160)), finders, limits=Limits(turned=1))


# ---- without detectors


def portrait_fits(found, size=(512, 512)):
    check(NetConfig(), found.portrait, torch.zeros(1, 5, 12, 768), Settings())
    assert tuple(found.portrait.picture.shape) == (3, *size[::-1])
    assert found.portrait.picture.min() >= -1
    assert found.portrait.picture.max() <= 1


@pytest.mark.parametrize("size", [(512, 512), (256, 384)], ids=str)
def test_landmarks_from_elsewhere_need_no_library(size):
    picture, points = dots(), drawn_mesh(320, 240, 150)
    found = prepare(picture, wishes=Wishes(mesh=points, identity="neutral"), framing=Framing(size=size))
    portrait_fits(found, size)
    assert not found.portrait.identity.any()
    lip = found.portrait.masks[0][2].reshape(size[1] // 8, size[0] // 8)
    x, y = (points[list(LIPS)].mean(0) - (found.crop.box.left, found.crop.box.top)) / found.crop.box.width
    row, column = int(y * found.crop.box.width / found.crop.box.height * lip.shape[0]), int(x * lip.shape[1])
    assert lip[row, column] > 0.9


def test_masks_from_elsewhere_need_no_library():
    face, lips = torch.zeros(1, 240, 320), torch.zeros(480, 640)
    face[0, 80:160, 120:200] = 1
    lips[260:290, 290:350] = 1
    identity = torch.randn(1, 512)
    found = prepare(dots(), wishes=Wishes(face_mask=face, lip_mask=lips, identity=identity))
    portrait_fits(found)
    assert torch.equal(found.portrait.identity, identity[0])
    assert found.face is None
    assert found.crop.box.width == round(160 / 0.6)
    assert found.portrait.locator[0, 256, 256] == 1
    assert found.portrait.masks[0][2].reshape(64, 64)[39, 32] > 0.8


def test_everywhere_and_nobody_only_if_asked_for():
    with pytest.raises(LibraryError, match="neutral"):
        prepare(dots())
    with pytest.raises(LibraryError, match="landmarker"):
        prepare(dots(), wishes=Wishes(identity="neutral"))
    square = dots(width=600, height=600)
    found = prepare(square, wishes=Wishes(identity="neutral", everywhere=True))
    portrait_fits(found)
    assert all((mask == 1).all() for mask in found.portrait.masks)


def test_the_neutral_identity_needs_no_recogniser():
    found = prepare(dots(), Finders(None, DrawnMeshes(drawn_mesh(320, 240, 150))), Wishes(identity="neutral"))
    portrait_fits(found)
    with pytest.raises(FaceError, match="No face"):
        prepare(dots(), Finders(None, DrawnMeshes()), Wishes(identity="neutral"))


def test_a_mesh_or_mask_says_whose_identity_is_meant(detector):
    picture = dots((200, 240, 160), (420, 240, 160))
    right = detector.faces(picture)[1]
    mask = np.zeros((480, 640), np.uint8)
    mask[180:300, 360:480] = 255
    lips = np.zeros((480, 640), np.uint8)
    lips[270:290, 400:440] = 255
    for wishes in (Wishes(mesh=drawn_mesh(420, 240, 150)), Wishes(face_mask=mask, lip_mask=lips)):
        found = prepare(picture, Finders(detector), wishes)
        assert np.array_equal(found.portrait.identity.numpy(), right.identity)
        portrait_fits(found)


@pytest.mark.parametrize(
    ("wishes", "words"),
    [
        (Wishes(mesh=np.zeros((68, 2)), identity="neutral"), "468 or 478"),
        (Wishes(mesh=drawn_mesh(0.5, 0.5, 0.3), identity="neutral"), "in pixels"),
        (Wishes(mesh=drawn_mesh(2000, 2000, 100), identity="neutral"), "outside"),
        (Wishes(mesh=np.full((478, 2), np.nan), identity="neutral"), "not numbers"),
        (Wishes(mesh=drawn_mesh(320, 240, 20), identity="neutral"), "only 20x20"),
        (Wishes(mesh=drawn_mesh(320, 240, 150), identity=torch.zeros(128)), "128 numbers"),
        (Wishes(mesh=drawn_mesh(320, 240, 150), identity=torch.full((512,), torch.nan)), "512 of them not finite"),
        (Wishes(mesh=drawn_mesh(320, 240, 150), identity="someone"), "'someone' is unknown"),
        (Wishes(mesh=drawn_mesh(320, 240, 150), face_mask=np.zeros((9, 9)), identity="neutral"), "face mask is empty"),
        (Wishes(mesh=drawn_mesh(320, 240, 150), lip_mask=np.ones((9, 9)), identity="neutral"), "fills the whole"),
    ],
)
def test_what_does_not_fit_is_said(wishes, words):
    with pytest.raises(ValueError, match=words):
        prepare(dots(), wishes=wishes)


def test_comfyuis_own_landmarks():
    people = drawn_mesh(100, 100, 50), drawn_mesh(300, 100, 50)
    data = {"frames": [[{"landmarks_xy": mesh.astype(np.float32)} for mesh in people]], "image_size": (480, 640)}
    found = faces.meshes_from_comfyui(data, SIZE)
    assert np.allclose(found, people)
    with pytest.raises(FaceError, match="640x480, but this one has 480x640"):
        faces.meshes_from_comfyui(data, (480, 640))
    with pytest.raises(FaceError, match="unknown format"):
        faces.meshes_from_comfyui({"points": []}, SIZE)
    assert faces.meshes_from_comfyui({**data, "frames": [[]]}, SIZE) == []


# ---- photographs


def photographs() -> list:
    folder = shared_folder()
    return ["astronaut", *sorted(path.name for path in (folder / "media").glob("*.jpg"))] if folder else ["astronaut"]


@pytest.mark.parametrize("name", photographs())
def test_true_faces_are_framed_and_covered(name):
    folder = shared_folder()
    picture = astronaut() if name == "astronaut" else np.array(Image.open(folder / "media" / name).convert("RGB"))
    points = true_mesh.mesh(picture)
    assert faces.turn(faces.face_of(points).marks) < 0.3
    found = prepare(picture, wishes=Wishes(mesh=points, identity="neutral"))
    portrait_fits(found)
    window = found.crop.box
    assert 0.5 <= faces.outline_box(points).longest / window.width <= 0.7
    inside = (points - (window.left, window.top)) / window.width
    columns, rows = (inside * 64).astype(int).clip(0, 63).T
    masks = found.portrait.masks[0].reshape(3, 64, 64)[:, rows, columns]
    pose, expression, lip = masks
    outline, lips = list(OUTLINE), list(LIPS)
    assert (lip[lips] > 0.5).all()  # the lips lie in their mask
    assert lip[10] < 0.2  # and the forehead does not
    assert (1 - pose).min() > 0.25  # all of the face lies in its soft rectangle
    assert (expression + lip)[outline].mean() > 0.5
    corners = found.portrait.masks[0].reshape(3, 64, 64)[:, [0, 0, 63, 63], [0, 63, 0, 63]]
    assert (corners[0] > 0.9).all()
    located = found.portrait.locator[0, (inside[:, 1] * 512).astype(int), (inside[:, 0] * 512).astype(int)]
    assert (located == 1).all()


# ---- libraries

HEAVY = ("insightface", "mediapipe", "onnxruntime", "onnx", "cv2", "skimage", "scipy", "matplotlib", "diffusers")


@pytest.mark.slow
def test_nothing_heavy_is_imported_before_it_is_needed():
    code = f"import sys; import joyhallo.methods.hallo.portrait;print(sorted(set({HEAVY}) & set(sys.modules)))"
    found = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def test_a_missing_library_is_named_with_the_command(folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "insightface", None)
    monkeypatch.setitem(sys.modules, "insightface.app", None)
    with pytest.raises(
        LibraryError,
        match=r"library insightface, which is not.*-m pip install \"insightface>=1.0.1\"",
    ):
        InsightFace(folder)


class Broken:
    """Finds a module whose import fails as a broken library's does."""

    def __init__(self, name: str, error: Exception):
        self.name, self.error = name, error

    def find_spec(self, name, path=None, target=None):
        if name == self.name:
            raise self.error


@pytest.mark.parametrize(
    ("name", "error", "remedy"),
    [
        ("mediapipe", AttributeError("_ARRAY_API not found"), '--no-deps "mediapipe>=0.10.30,<0.10.32"'),
        ("mediapipe", OSError("libmediapipe.so: cannot open"), "mediapipe"),
        ("mediapipe", ImportError("libGL.so.1: cannot open shared object file"), "opencv-python-headless"),
        ("mediapipe", ImportError("numpy.core.multiarray failed to import (cv2)"), "opencv-python-headless"),
        ("mediapipe", ModuleNotFoundError("No module named 'cv2'", name="cv2"), 'pip install "opencv-python-headless'),
    ],
    ids=str,
)
def test_a_broken_library_is_named_with_the_command(tmp_path, monkeypatch, name, error, remedy):
    for module in [module for module in sys.modules if module.split(".")[0] == name]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setattr(sys, "meta_path", [Broken(name, error), *sys.meta_path])
    (tmp_path / "x.task").write_bytes(b"a task")
    with pytest.raises(LibraryError) as found:
        FaceMesh(tmp_path / "x.task").meshes(np.zeros((64, 64, 3), np.uint8))
    assert remedy in str(found.value)
    assert sys.executable in str(found.value)


def test_the_messages_name_what_is_required():
    required = [line.partition(";")[0].strip() for line in (REPOSITORY / "requirements.txt").read_text().splitlines()]
    assert set(libraries.REQUIREMENTS.values()) <= set(required)
