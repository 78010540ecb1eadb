"""Track Face in ComfyUI: what comes out of videos and pictures, who searches, and what the page is told."""

from __future__ import annotations

from fractions import Fraction
from types import SimpleNamespace

import mesh
import numpy as np
import pytest
import torch
from PIL import Image

from tools.demo_model.bundle import FOLDER

COUPLE = Image.open(FOLDER / "couple.png").convert("RGB").resize((600, 300))
DEFAULTS = {
    "which_face": "largest",
    "detector": "auto",
    "detection_size": 0,
    "gaps": "interpolate",
    "cuts": True,
    "fps": 25.0,
}
COUNT, SIZE = 10, (560, 280)


def frames() -> torch.Tensor:
    """The couple, panned by 2 pixels a frame."""
    places = [(2 * at, 10, 2 * at + SIZE[0], 10 + SIZE[1]) for at in range(COUNT)]
    return torch.from_numpy(np.stack([np.array(COUPLE.crop(place)) for place in places])).float() / 255


@pytest.fixture(scope="module")
def node(pack):
    return pack.nodes.track_face.TrackFace


@pytest.fixture
def landmarker(node, tmp_path_factory, monkeypatch):
    """MediaPipe's, in the models folder."""
    pytest.importorskip("mediapipe")
    file = tmp_path_factory.mktemp("task") / "face_landmarker.task"
    file.write_bytes(mesh.task())
    monkeypatch.setattr("joyhallo_pack.nodes.track_face.face_task", lambda: file)


@pytest.fixture
def run(node):
    def run(video=None, **inputs):
        with torch.inference_mode():
            return node.execute(frames() if video is None else video, **{**DEFAULTS, **inputs})

    return run


def test_pictures_and_the_same_ones_as_a_video_give_the_same_track(run, landmarker, pack):
    from comfy_api.latest import InputImpl, Types

    rate = Fraction(30000, 1001)
    video = InputImpl.VideoFromComponents(Types.VideoComponents(images=frames(), audio=None, frame_rate=rate))
    of_video, of_pictures = run(video).args[0], run(fps=29.97).args[0]
    assert len(of_video) == COUNT
    assert of_video.size == SIZE
    assert of_video.rate == of_pictures.rate == rate
    assert of_video.found.all()
    assert np.array_equal(of_video.boxes, of_pictures.boxes)
    steps = np.diff(of_video.boxes[:, [0, 2]].mean(1))
    assert steps.mean() == pytest.approx(-2, abs=0.3)


def test_a_video_in_a_file_is_read_piece_by_piece(run, landmarker, pack, tmp_path):
    from comfy_api.latest import InputImpl

    from joyhallo.film.write import write

    file = write(tmp_path / "film.mp4", frames().split(4), 24, None, quality="best")
    found = run(InputImpl.VideoFromFile(str(file))).args[0]
    assert (len(found), found.rate) == (COUNT, 24)
    middles = (run().args[0].boxes - found.boxes)[:, [0, 2]].mean(1)
    assert np.abs(middles).max() < 5


def test_a_number_chooses_and_the_page_is_shown_the_faces(run, landmarker):
    left, right = (run(which_face=number) for number in ("0", "1"))
    assert left.args[0].box(0).right < right.args[0].box(0).left
    (shown,) = right.ui["joyhallo_faces"]
    assert shown["chosen"] == 1
    assert len(shown["faces"]) == 2
    assert shown["faces"][1] == pytest.approx(np.divide(right.args[0].boxes[0], (*SIZE, *SIZE)).tolist(), abs=1e-3)
    assert "number 1 of 2 from the left" in right.args[2]
    assert right.args[1].shape[0] == 1
    assert right.args[1].shape[3] == 3


def test_a_number_that_nobody_has_shows_the_faces_at_once(run, landmarker, node, monkeypatch):
    told = []
    server = SimpleNamespace(client_id="me", send_sync=lambda *event: told.append(event))
    monkeypatch.setattr("joyhallo_pack.nodes.preview.page", lambda: server)
    monkeypatch.setattr(node, "hidden", SimpleNamespace(unique_id="7"))
    with pytest.raises(ValueError, match="Face 5 does not exist"):
        run(which_face="5")
    ((name, event, client),) = told
    assert (name, client, event["node"], len(event["faces"])) == ("joyhallo.faces", "me", "7", 2)


def test_a_painted_mask_needs_no_finder(run):
    mask = torch.zeros(1, SIZE[1] // 2, SIZE[0] // 2)
    mask[:, 20:120, 50:100] = 1
    found = run(detector="painted mask", mask=mask).args[0]
    assert found.boxes.tolist() == [[100, 40, 200, 240]] * COUNT
    with pytest.raises(ValueError, match="no mask is connected"):
        run(detector="painted mask")


def test_what_is_missing_is_told(run, node, monkeypatch):
    monkeypatch.setattr("joyhallo_pack.nodes.track_face.face_task", lambda: None)
    with pytest.raises(ValueError, match=r"face landmarker is missing: fetch it with the button on the node"):
        run()
    with pytest.raises(ValueError, match=r"InsightFace takes its models, but there are none"):
        run(detector="InsightFace")
    with pytest.raises(ValueError, match="`video` is a dict; expected a video"):
        run({})


def test_what_the_page_may_fetch(pack):
    ask = pack.nodes.fetching.missing
    assert ask({"node": "TrackFace"}) == ask({"node": "PuppetPortrait"})
    assert [file["name"] for file in ask({"node": "TrackFace"})] == [pack.nodes.model_folders.LANDMARKER]
