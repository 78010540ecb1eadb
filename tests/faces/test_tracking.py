"""One face through a film: films of coloured people, whom a finder sees by their colours, and real ones."""

from __future__ import annotations

import re
import weakref
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from fractions import Fraction

import mesh as true_mesh
import numpy as np
import pytest
from PIL import Image
from shared import REPOSITORY, shared_folder

from joyhallo.faces.boxes import Box, around
from joyhallo.faces.cuts import Cuts
from joyhallo.faces.find import FaceError, FaceMesh, InsightFace
from joyhallo.faces.finders import Detector, Landmarker, Seen, mesh_box
from joyhallo.faces.pursuit import Unclear
from joyhallo.faces.regions import FOLLOWED, OUTLINE
from joyhallo.faces.track import Scheme, Track
from joyhallo.faces.tracking import Wishes, drawn, track
from joyhallo.libraries import LibraryError

RATE = Fraction(25)
WIDTH, HEIGHT = 320, 240
ANN, BEN, TWIN = (200, 40, 40), (40, 60, 190), (203, 40, 40)
PEOPLE = (ANN, BEN, TWIN)
FACE = Box(-24, -30, 24, 30)
ASIDE = 140  # below it faces look to the side
HIDDEN = 0.6  # share of a face that must be seen


def scene(*people, size=FACE, ground=0, light=0.0):
    """people: colour, x, y; those who come later stand in front. ground: another one is another place"""
    noise = np.random.default_rng(ground)
    picture = noise.integers(60, 100, (HEIGHT // 8, WIDTH // 8, 1)).repeat(8, 0).repeat(8, 1).repeat(3, 2)
    picture += noise.integers(0, 60, 3)
    for color, x, y in people:
        there = size.moved(x, y).within(Box(0, 0, WIDTH, HEIGHT))
        picture[there.slices] = color
    return np.clip(picture + light, 0, 255).astype(np.uint8)


@dataclass
class Colours:
    """Sees whatever of PEOPLE is seen enough of. Identities are shades, which looks cannot tell apart."""

    recognises: bool = False
    scheme: Scheme = "marks"
    looks: int = 0
    asked: int = 0

    def at_work(self):
        return nullcontext()

    def seen(self, picture, near=None, thorough=False):
        self.looks += 1
        found = []
        for color in PEOPLE:
            rows, columns = np.nonzero((picture == color).all(2))
            if len(rows) < HIDDEN * FACE.area:
                continue
            box = around(np.stack([columns, rows], 1))
            box = Box(box.left, box.top, box.right + 1, box.bottom + 1)
            if near is None or box.within(near.inset(-near.longest / 2)).area > 0:
                marks = np.array([[-10, -8], [10, -8], [0, 0], [-8, 12], [8, 12.0]]) + box.center
                found.append(Seen(box, marks, 0.9, 2.0 if box.center[1] > ASIDE else 0.0))
        return sorted(found, key=lambda face: face.box.center)

    def identity(self, picture, face):
        if not self.recognises:
            return None
        self.asked += 1
        x, y = map(int, face.box.center)
        return np.eye(256, dtype=np.float32)[picture[y, x, 0]]


def boxes_of(x, y=120):
    return FACE.moved(x, y)


def overlaps(made: Track, truth: Sequence[Box | None]) -> np.ndarray:
    """NaN where nobody is and nobody is found."""
    assert len(made) == len(truth)
    pairs = zip(range(len(made)), truth, strict=True)
    return np.array([_overlap(made, frame, box) for frame, box in pairs])


def _overlap(made, frame, box):
    if box is None:
        return 0.0 if made.found[frame] else np.nan
    return made.box(frame).overlap(box) if made.found[frame] else 0.0


def follow(pictures, finder=None, **wishes):
    return track(iter(pictures), finder or Colours(), RATE, Wishes(**wishes))


# ---- motion


def test_a_calm_face_is_looked_at_every_few_frames():
    finder = Colours(recognises=True)
    way = [60 + round(0.8 * frame) for frame in range(100)]
    made = follow([scene((ANN, x, 120)) for x in way], finder).track
    assert overlaps(made, [boxes_of(x) for x in way]).min() > 0.95
    assert finder.looks < 32
    assert finder.asked == 1
    middle = (made.boxes[:, :2] + made.boxes[:, 2:]) / 2
    assert np.abs(made.points[:, 2] - middle).max() < 0.01, "the nose stays in the middle of its box"


@pytest.mark.parametrize("at", range(40, 48))
def test_a_leap_is_followed_to_the_frame(at):
    way = [60 if frame < at else 120 for frame in range(80)]
    made = follow([scene((ANN, x, 120)) for x in way]).track
    assert overlaps(made, [boxes_of(x) for x in way]).min() == 1


def test_fast_swings_are_followed():
    way = [160 + 90 * np.sin(frame / 4) for frame in range(80)]
    made = follow([scene((ANN, round(x), 120)) for x in way]).track
    assert np.mean(overlaps(made, [boxes_of(round(x)) for x in way]) >= 0.9) >= 0.99


@pytest.mark.parametrize("stop", range(21, 26))
def test_whoever_leaves_is_gone_from_that_frame_on(stop):
    shown = [scene((ANN, 150, 120)) if not stop <= frame < stop + 31 else scene() for frame in range(80)]
    assert follow(shown).track.found.tolist() == [not stop <= frame < stop + 31 for frame in range(80)]


def test_no_picture_is_kept():
    kept = []

    def film():
        for frame in range(60):
            picture = scene((ANN, 100 + frame, 120))
            kept.append(weakref.ref(picture))
            yield picture
            del picture
            assert sum(one() is not None for one in kept) <= 8

    track(film(), Colours(), RATE)


# ---- who


@pytest.mark.parametrize("recognises", [False, True], ids=["looks", "identities"])
@pytest.mark.parametrize("front", [ANN, BEN], ids=["in front", "behind"])
def test_two_who_cross_are_not_confused(recognises, front):
    count = 60
    ann, ben = np.linspace(60, 260, count).round(), np.linspace(250, 50, count).round()
    there = {ANN: ann, BEN: ben}
    order = [color for color in (ANN, BEN) if color != front] + [front]
    shown = [scene(*[(color, int(there[color][frame]), 120) for color in order]) for frame in range(count)]
    made = follow(shown, Colours(recognises), which=0, gaps="leave").track
    seen = made.found
    middles = made.boxes[:, [0, 2]].mean(1)
    assert seen.mean() > (0.95 if front == ANN else 0.75)
    assert np.abs(middles - ann)[seen].max() < 20
    assert seen[-20:].all()


def test_somebody_else_in_the_next_shot_is_not_followed():
    one, other = [scene((ANN, 120, 120))] * 20, [scene((BEN, 130, 120), ground=1)] * 20
    made = follow([*one, *other, *one], bridged=9.0).track
    assert made.cuts == (20, 40)
    assert made.found.tolist() == [True] * 20 + [False] * 20 + [True] * 20


def test_of_two_in_the_next_shot_the_same_one_is_followed():
    shown = [scene((ANN, 90, 120))] * 20 + [scene((BEN, 90, 120), (ANN, 240, 130), ground=1)] * 20
    assert overlaps(follow(shown).track, [boxes_of(90)] * 20 + [boxes_of(240, 130)] * 20).min() == 1


def test_identities_tell_apart_who_looks_the_same():
    shown = [scene((ANN, 90, 120))] * 20 + [scene((TWIN, 90, 120), (ANN, 240, 130), ground=1)] * 20
    shown += [scene((TWIN, 90, 120), ground=2)] * 20
    finder = Colours(recognises=True)
    made = follow(shown, finder).track
    assert overlaps(made, [boxes_of(90)] * 20 + [boxes_of(240, 130)] * 20 + [None] * 20)[:40].min() == 1
    assert not made.found[40:].any()
    assert finder.asked < 40, "only where it matters"


@pytest.mark.parametrize(
    ("which", "x"),
    [("largest", 200), ("central", 150), (0, 60), (2, 200), ((70, 100), 60), ((210.0, 10.0), 200)],
)
def test_the_choice_holds_for_the_first_frame_with_faces(which, x):
    size = {60: FACE, 150: FACE, 200: Box(-24, -40, 24, 40)}
    picture = scene()
    for color, place in ((ANN, 60), (BEN, 150), (TWIN, 200)):
        picture[size[place].moved(place, 120).slices] = color
    picture[:, 174:176] = 70  # between two who touch
    found = follow([scene()] * 9 + [picture] * 9, which=which)
    assert not found.track.found[:9].any()
    assert found.track.box(12).center[0] == pytest.approx(x, abs=2)
    assert found.first.frame == 9
    assert len(found.first.boxes) == 3
    assert found.first.boxes[found.first.chosen].center[0] == pytest.approx(x, abs=2)


def test_a_painted_mask_chooses_the_face_under_it():
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    mask[boxes_of(230).slices] = 255
    assert follow([scene((ANN, 90, 120), (BEN, 230, 120))] * 9, which=mask).track.box(5) == boxes_of(230)


@pytest.mark.parametrize("recognises", [False, True], ids=["looks", "identities"])
def test_a_reference_waits_for_its_person(recognises):
    shown = [scene((BEN, 90, 120))] * 20 + [scene((BEN, 90, 120), (ANN, 240, 120))] * 20
    made = follow(shown, Colours(recognises), reference=scene((ANN, 200, 130), ground=4))
    assert made.track.found.tolist() == [False] * 20 + [True] * 20
    assert made.track.box(30) == boxes_of(240)
    with pytest.raises(FaceError, match=r"person of the reference picture was not found in the film's 20 frames"):
        follow(shown[:20], Colours(recognises), reference=scene((ANN, 200, 130)))
    with pytest.raises(FaceError, match="No face was found in the reference"):
        follow(shown, Colours(recognises), reference=scene())


def test_a_number_that_nobody_has_comes_with_the_faces():
    picture = scene((ANN, 90, 120), (BEN, 230, 120))
    with pytest.raises(Unclear, match="Face 5 does not exist: 2 faces were found") as caught:
        follow([scene(), picture], which=5)
    assert [box.center[0] for box in caught.value.boxes] == [90, 230]
    assert np.array_equal(caught.value.picture, picture)


# ---- shots


def cuts_of(shown):
    cuts = Cuts()
    for picture in shown:
        cuts.push(picture)
    cuts.end()
    return cuts.found


def wide(place):
    """Part of a long wall, whose colours change along it."""
    random = np.random.default_rng(5)
    picture = random.integers(0, 120, (HEIGHT // 8, 250, 3)) + random.integers(0, 135, (1, 25, 3)).repeat(10, 1)
    return picture.astype(np.uint8).repeat(8, 0).repeat(8, 1)[:, place : place + WIDTH]


def test_cuts_are_found_where_they_are():
    shown = [scene(ground=number) for number in (1, 2, 3) for _ in range(12)]
    assert cuts_of(shown) == [12, 24]
    assert cuts_of(shown[:14]) == [12], "near the end, too"


def test_what_is_no_cut():
    still = scene((ANN, 90, 120))
    flash = [still] * 8 + [scene((ANN, 90, 120), light=190)] * 2 + [still] * 8
    assert cuts_of(flash) == []
    assert cuts_of([scene((ANN, 90, 120), light=9 * frame) for frame in range(20)]) == []
    assert cuts_of([wide(48 * frame) for frame in range(30)]) == []
    assert cuts_of([*(wide(48 * frame) for frame in range(20)), *[scene()] * 8]) == [20]


def test_a_flash_does_not_end_the_pursuit():
    shown = [scene((ANN, 90, 120))] * 20
    shown[10] = scene((ANN, 90, 120), light=150)
    assert follow(shown).track.found.all()


@pytest.mark.parametrize("gaps", ["interpolate", "hold", "leave"])
def test_gaps(gaps):
    def shown(x):
        return scene((ANN, x, 120))

    film = [*[shown(90)] * 20, *[scene()] * 6, *[shown(110)] * 20, *[scene()] * 30, *[shown(110)] * 20]
    film += [*[scene()] * 3, *[scene(ground=3)] * 3, *[scene((ANN, 90, 120), ground=3)] * 10]
    made = follow(film, gaps=gaps)
    found, boxes = made.track.found, made.track.boxes
    assert made.track.cuts == (99,)
    assert (made.track.scores > 0).sum() == 70
    assert found[20:26].all() == (gaps != "leave")
    assert found[46:76].all() == (gaps == "hold")
    assert found[96:99].all() == (gaps == "hold")
    assert not found[99:102].any()
    if gaps == "interpolate":
        assert np.abs(boxes[19:27, 0] - np.linspace(66, 86, 8)).max() < 1e-4
        assert "- 0.8 to 1.0 s: nobody found, bridged" in made.report
        assert "- 1.8 to 3.0 s: nobody found" in made.report
    if gaps == "hold":
        assert (boxes[20:26] == boxes[19]).all()
        assert "- 3.8 to 4.1 s: nobody found, bridged for 3 frames" in made.report


def test_a_face_that_looks_aside_counts_as_none():
    towards, aside = [scene((ANN, 90, 120))] * 10, [scene((ANN, 90, ASIDE + 10))] * 10
    made = follow([*towards, *aside, *towards], gaps="leave")
    assert made.track.found.tolist() == [not 10 <= frame < 20 for frame in range(30)]
    assert "- 0.4 to 0.8 s: turned away" in made.report
    with pytest.raises(FaceError, match="only from the side"):
        follow(aside)


# ---- what goes wrong


class Broken(Colours):
    def seen(self, picture, near=None, thorough=False):
        found = super().seen(picture, near, thorough)
        if not found:
            raise RuntimeError("out of order")
        return found


def test_one_bad_frame_does_not_end_the_work():
    shown = [scene((ANN, 90, 120))] * 30
    shown[8] = np.zeros((50, 60, 3), np.uint8)
    shown[16] = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    made = follow(shown, Broken(), every=1)
    assert made.track.found.all()
    assert np.flatnonzero(made.track.scores == 0).tolist() == [8, 16]


def test_a_missing_library_is_told_at_once():
    class Missing(Colours):
        def seen(self, picture, near=None, thorough=False):
            raise LibraryError("needs a library")

    with pytest.raises(LibraryError):
        follow([scene((ANN, 90, 120))] * 30, Missing())


def test_nobody_at_all():
    with pytest.raises(FaceError, match=r"No face was found in the film's 30 frames of 320x240 pixels; .* mask"):
        follow([scene()] * 30)
    with pytest.raises(FaceError, match="holds no frame"):
        follow([])


# ---- a box drawn by hand


def test_a_box_drawn_by_hand():
    mask = np.zeros((120, 160), np.uint8)
    mask[10:40, 20:60] = 255
    made = drawn([scene()] * 5, mask, RATE)
    assert made.track.boxes.tolist() == [[40, 20, 120, 80]] * 5
    assert made.track.scheme == "none"
    each = np.stack([mask, 0 * mask, np.roll(mask, 5, 1)])
    track = Track.of_mask(each, 3, (160, 120), RATE)
    assert track.found.tolist() == [True, False, True]
    assert track.box(2) == Box(25, 10, 65, 40)
    with pytest.raises(FaceError, match="3 masks for the film's 4 frames"):
        Track.of_mask(each, 4, (160, 120), RATE)
    with pytest.raises(FaceError, match="mask is empty"):
        Track.of_mask(0 * each, 3, (160, 120), RATE)


# ---- what is told


def test_the_report_and_the_contact_sheet():
    small = Box(-20, -30, 20, 30)
    shown = [scene((ANN, 90, 120), (BEN, 250, 120), size=small) for _ in range(90)] + [scene()] * 30
    made = follow(shown, which=0)
    text = "\n".join(made.report)
    assert "Face: number 0 of 2 from the left in frame 0 (0.0 s), 40x60 pixels at (70, 90)" in text
    assert re.search(
        r"Frames: 120 \(4\.8 s at 25 a second\), face seen in 90, bridged in 0, none in 30; \d\d were", text
    )
    assert "- 3.6 to 4.8 s: nobody found" in text
    assert "Other faces: up to 1 at once" in text
    assert "only 40 pixels wide" in text
    assert made.sheet.shape == (3 * 240, 4 * 320, 3)
    last = made.sheet[-240:, -320:]
    assert (last == (213, 94, 0)).all(2).any(), "a red label on a frame without the face"
    first = made.sheet[:240, :320]
    assert (first[60:180, 69:74] == 255).all(2).any(0).any(), "the box in white"


# ---- real finders


@pytest.fixture(scope="module")
def landmarker(tmp_path_factory):
    pytest.importorskip("mediapipe")
    file = tmp_path_factory.mktemp("task") / "face_landmarker.task"
    file.write_bytes(true_mesh.task())
    return FaceMesh(file)


def photograph(name):
    if name == "drawn":
        return Image.open(REPOSITORY / "demo_model" / "portrait.png").convert("RGB")
    folder = shared_folder()
    if folder is None or not (folder / "media" / name).is_file():
        pytest.skip(f"the photograph {name} is not here")
    return Image.open(folder / "media" / name).convert("RGB")


MOTIONS = {  # frame -> degrees, scale, and how far from the middle of 512x512 pixels
    "panned": lambda t: (0, 0.5, 110 * np.sin(t / 8), 40 * np.cos(t / 6)),
    "zoomed": lambda t: (0, 0.45 + 0.3 * np.sin(t / 10) ** 2, 0, 0),
    "rotated": lambda t: (25 * np.sin(t / 8), 0.6, 0, 0),
}


@pytest.mark.parametrize("quarters", range(4))
def test_a_box_reaches_to_the_hairline_whichever_way_is_up(quarters):
    angles = 2 * np.pi * np.arange(len(OUTLINE)) / len(OUTLINE)  # from the top, to the right
    mesh = np.zeros((478, 2))
    mesh[list(OUTLINE)] = np.stack([40 * np.sin(angles), -50 * np.cos(angles)], 1)
    sides = [-40, -50 - 13, 40, 50]  # of 100 pixels from top to chin
    for _ in range(quarters):
        mesh = mesh[:, ::-1] * [-1, 1]
        left, top, right, bottom = sides
        sides = [-bottom, left, -top, right]
    box = mesh_box(mesh)
    assert [box.left, box.top, box.right, box.bottom] == pytest.approx(sides, abs=0.5)


@pytest.mark.parametrize("name", ["drawn", "7.jpg"])
@pytest.mark.parametrize("motion", MOTIONS)
def test_known_motion_is_followed(landmarker, name, motion):
    picture = photograph(name).resize((768, 768))
    (still,) = landmarker.meshes(np.asarray(picture))
    ways = [_similarity(*MOTIONS[motion](frame)) for frame in range(60)]
    shown = [np.asarray(picture.transform((512, 512), Image.Transform.AFFINE, _inverse(way), 2)) for way in ways]
    made = track(iter(shown), Landmarker(landmarker), RATE, Wishes(whole=True)).track
    assert made.scheme == "mesh"
    assert np.shape(made.points) == (60, 478, 2)
    usual = track(iter(shown), Landmarker(landmarker), RATE).track
    np.testing.assert_array_equal(usual.points[:, list(FOLLOWED)], made.points[:, list(FOLLOWED)])
    truth = [mesh_box(still @ way[:, :2].T + way[:, 2]) for way in ways]
    assert np.mean(overlaps(made, truth) >= 0.9) >= 0.99


def _similarity(degrees, scale, x, y):
    angle = np.radians(degrees)
    turned = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return np.column_stack([turned, np.array([256 + x, 256 + y]) - turned @ (384, 384)])


def _inverse(way):
    back = np.linalg.inv(np.vstack([way, [0, 0, 1]]))
    return tuple(back[:2].ravel())


def test_insightface_follows_a_face_and_recognises_it_only_where_needed(tmp_path, monkeypatch):
    pytest.importorskip("insightface")
    pytest.importorskip("onnx", reason="the stand-ins for the face models are made with onnx")
    from face_models import picture_of, write_models

    detector, asked = InsightFace(write_models(tmp_path / "models")), []
    recognise = detector.identity
    monkeypatch.setattr(detector, "identity", lambda *given: asked.append(1) or recognise(*given))
    way = [200 + 5 * frame for frame in range(24)]
    shown = [picture_of([(x, 240, 160)], 640, 480) for x in way]
    made = track(iter(shown), Detector(detector), RATE).track
    assert made.scheme == "marks"
    cell = 16  # pixels of the network's cells, by which faces move
    assert np.abs(made.boxes[:, [0, 2]].mean(1) - way).max() <= 1.5 * cell
    assert np.abs(np.diff(made.boxes[:, [0, 2]]) - 160).max() < 1
    assert np.abs(made.points[:, 2, 0] - way).max() <= 1.5 * cell
    assert len(asked) == 1
