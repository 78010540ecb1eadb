"""Cut Out Faces and Paste Faces Back: what other nodes do with the faces is seen in the video, and nothing else."""

from __future__ import annotations

import pytest
import torch
from painter import Painter
from test_redub_lips import (  # noqa: F401  fixtures among them
    FRAMES,
    HEIGHT,
    RATE,
    WIDTH,
    bytes_of,
    file,
    film,
    ours,
    painted,
    redub,
    sound,
    track,
    wav2lip,
)

CUT = {"size": 96, "room": 0.5, "first_frame": 0, "frames": 0, "fps": 25.0}
PASTE = {"blend": "feather", "strength": 1.0, "fps": 25.0}


@pytest.fixture
def cut(pack):
    def cut(video, face_track, **changes):
        out = pack.nodes.cut_faces.CutFaces.execute(video=video, face_track=face_track, **{**CUT, **changes})
        return out.args

    return cut


@pytest.fixture
def paste(pack):
    @torch.inference_mode()
    def paste(video, faces, crops, **changes):
        out = pack.nodes.paste_faces.PasteFaces.execute(video=video, faces=faces, crops=crops, **{**PASTE, **changes})
        made, mask, report = out.args
        return made.get_components(), mask.get_components().images, report

    return paste


def test_untouched_faces_change_nothing(film, track, cut, paste):  # noqa: F811
    faces, crops, told = cut(film, track(missing=(3,)))
    assert faces.shape == (FRAMES - 1, 96, 96, 3)
    assert faces.movedim(-1, 1).is_contiguous(), "some restorers take nothing else"
    assert f"{FRAMES - 1} faces of 96x96 pixels" in told
    assert "- 0.12 to 0.16 s" in told
    made, _, _ = paste(film, faces, crops)
    assert torch.equal(bytes_of(made.images), bytes_of(film))
    assert made.frame_rate == RATE


def test_what_others_made_of_them_is_seen_under_the_mask_alone(film, track, cut, paste):  # noqa: F811
    _, crops, _ = cut(film, track(missing=(3,)))
    larger = torch.ones(FRAMES - 1, 160, 160, 3)
    made, mask, told = paste(film, larger, crops)
    changed = (bytes_of(made.images) != bytes_of(film)).any(-1)
    assert not changed[mask[..., 0] == 0].any()
    assert not changed[3].any()
    assert all(changed[number].any() for number in range(FRAMES) if number != 3)
    assert f"{FRAMES - 1} faces of 160x160 pixels put into {FRAMES} frames" in told


@pytest.mark.parametrize("changes", [{"blend": "whole box"}, {"blend": "mouth"}, {"strength": 0.5}])
def test_each_input_of_pasting_matters(film, track, cut, paste, changes):  # noqa: F811
    faces, crops, _ = cut(film, track())
    usual, other = (paste(film, faces.flip(2), crops, **some)[0].images for some in ({}, changes))
    assert (usual != other).any()


@pytest.mark.parametrize("changes", [{"size": 128}, {"room": 1.0}, {"first_frame": 2}, {"frames": 5}])
def test_each_input_of_cutting_matters(film, track, cut, changes):  # noqa: F811
    usual, other = (cut(film, track(), **some)[0] for some in ({}, changes))
    assert usual.shape != other.shape or (usual != other).any()


def test_a_mask_holds_what_it_does_not_cover(film, track, cut, paste):  # noqa: F811
    faces, crops, _ = cut(film, track())
    mask = torch.zeros(1, HEIGHT, WIDTH)
    mask[:, : HEIGHT // 2] = 1
    made, _, _ = paste(film, 1 - faces, crops, mask=mask)
    assert torch.equal(bytes_of(made.images)[:, HEIGHT // 2 :], bytes_of(film)[:, HEIGHT // 2 :])
    assert (bytes_of(made.images) != bytes_of(film)).any()


@pytest.mark.parametrize("seconds", [0.4, 0.8])
def test_a_redubbed_video_is_restored_where_it_speaks_and_keeps_its_sound(
    pack,
    painted,  # noqa: F811
    film,  # noqa: F811
    track,  # noqa: F811
    cut,
    paste,
    seconds,
):
    from test_redub_lips import USUAL

    painted.painter = Painter(5)
    with torch.inference_mode():
        out = pack.nodes.redub_lips.RedubLips.execute(
            redub_model=painted, video=film, audio=sound(seconds), face_track=track(), **USUAL
        )
    video, spoken, _, along = out.args
    before = video.get_components()
    faces, crops, _ = cut(video, along)
    assert len(faces) == round(seconds * RATE)
    mask = spoken.get_components().images[..., 0]
    made, _, _ = paste(video, 1 - faces, crops, mask=mask, blend="whole box")
    assert made.images.shape == before.images.shape
    changed = (bytes_of(made.images) != bytes_of(before.images)).any(-1)
    assert changed.any()
    assert not changed[mask == 0].any()
    assert torch.equal(made.audio["waveform"], before.audio["waveform"])
    assert made.audio["sample_rate"] == 16_000


def test_a_video_that_became_shorter_stays_so(film, track, cut, paste):  # noqa: F811
    faces, crops, _ = cut(film, track())
    made, _, _ = paste(film[:8], 1 - faces, crops)
    assert len(made.images) == 8
    assert torch.equal(made.images, paste(film, 1 - faces, crops)[0].images[:8])


def test_images_of_any_kind_go_back(film, track, cut, paste):  # noqa: F811
    """With transparency, or grey, as some nodes make them."""
    faces, crops, _ = cut(film, track())
    opaque = torch.cat([faces, torch.ones_like(faces[..., :1])], dim=-1)
    assert torch.equal(bytes_of(paste(film, opaque, crops)[0].images), bytes_of(film))
    grey = bytes_of(paste(film, faces[..., :1], crops, blend="whole box")[0].images)
    assert torch.equal(grey[..., 0], bytes_of(film)[..., 0])
    assert (grey[..., 1] != bytes_of(film)[..., 1]).any()


def test_what_does_not_fit_is_said(ours, film, track, cut, paste):  # noqa: F811
    faces, crops, _ = cut(film, track())
    with pytest.raises(ValueError, match=f"has 3 images, but {FRAMES} were cut out"):
        paste(film, faces[:3], crops)
    spoilt = faces.clone()
    spoilt[5, 2, 2, 0] = torch.nan
    broken = ours("joyhallo.film.write").VideoError
    with pytest.raises(broken, match="Frame 5 holds values that are not numbers"):
        paste(film, spoilt, crops)
    with pytest.raises(broken, match="expected floating-point numbers"):
        paste(film, faces.long(), crops)
    with pytest.raises(broken, match=r"have the shape \(12, 96, 96, 5\)"):
        paste(film, torch.zeros(12, 96, 96, 5), crops)
    with pytest.raises(ours("joyhallo.faces.find").FaceError, match="tracked in a video of 128x96"):
        paste(film[:, 1:], faces, crops)
    with pytest.raises(ours("joyhallo.faces.find").FaceError, match=r"tracked in 5 frames, .* has 12; connect the"):
        cut(film, track().until(5))
    with pytest.raises(ours("joyhallo.faces.find").FaceError, match="tracked in a video of 64x64"):
        cut(film, track(size=(64, 64)))
    with pytest.raises(ours("joyhallo.faces.find").FaceError, match="`first_frame` is 99, but the video has 12 frames"):
        cut(film, track(), first_frame=99)
    with pytest.raises(ours("joyhallo.faces.find").FaceError, match="None of the frames 2 to 3"):
        cut(film, track(missing=(2, 3)), first_frame=2, frames=2)


def test_faces_that_no_memory_holds_are_refused_beforehand(ours, film, track, cut, monkeypatch):  # noqa: F811
    import comfy.model_management

    monkeypatch.setattr(comfy.model_management, "get_free_memory", lambda *_: 1 << 20)
    with pytest.raises(
        ours("joyhallo.files.space").RoomError, match=r"Holding 12 faces of 512x512 pixels needs .* choose fewer frames"
    ):
        cut(film, track(), size=512)


def test_faces_much_larger_than_the_video_go_back_a_few_at_a_time(pack, film, track, cut, monkeypatch):  # noqa: F811
    _, crops, _ = cut(film, track())
    monkeypatch.setattr(pack.joyhallo.film.batches, "PIXELS", 3 * 160 * 160)
    shown = pack.nodes.paste_faces.Pictures.of(film, 25.0)
    paste = pack.nodes.paste_faces.Pasting(shown, crops, torch.zeros(FRAMES, 160, 160, 3), None, None, None)
    assert paste.at_once == 3
