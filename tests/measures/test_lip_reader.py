"""The bundled lip reader on people whom it has not learnt from, and its crops and figures against plain arithmetic."""

import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from joyhallo.data.dataset import SAMPLES
from joyhallo.evaluation.lip_reading import PLANTED, compared, drawn_talks, faults
from joyhallo.faces.boxes import Box
from joyhallo.files.contents import WeightsError
from joyhallo.libraries import LibraryError
from joyhallo.measures import lip_reader
from joyhallo.measures.lip_reader import (
    BUNDLED,
    COLUMNS_SEEN,
    FEATURES,
    FURTHEST,
    ROWS_SEEN,
    WINDOW,
    LipReader,
    Watching,
    crops,
    fit,
    heard,
    open_lip_reader,
    seen,
    steady,
)
from joyhallo.sound.audio import Recording
from joyhallo.sound.bands import BANDS


@pytest.fixture(scope="module")
def reader() -> LipReader:
    return open_lip_reader().build(dtype=torch.float32)


@pytest.fixture(scope="module")
def talks():
    try:
        return list(drawn_talks(4, seed=1234))
    except LibraryError as error:
        pytest.skip(str(error))


def features(count: int, seed: int = 0) -> torch.Tensor:
    return torch.nn.functional.normalize(
        torch.randn(count, FEATURES, generator=torch.Generator().manual_seed(seed)), dim=1
    )


def noise(frames: int, seed: int = 0) -> torch.Tensor:
    return 0.1 * torch.randn(frames * SAMPLES, generator=torch.Generator().manual_seed(seed))


# ---- people whom it does not know


def test_planted_offsets_are_found(reader, talks):
    found = [
        compared(reader, talk.lips(), talk.sound(early)).offset == early for talk in talks for early in PLANTED
    ]  # fmt: skip
    assert np.mean(found) >= 0.9


def test_lips_fit_their_own_voice_best(reader, talks):
    """Other voices, and the own voice a fifth of a second away."""
    for place, talk in enumerate(talks):
        own = compared(reader, talk.lips(), talk.sound())
        other = compared(reader, talk.lips(), talks[place - 1].sound())
        assert own.together > other.together + 0.1
        assert own.confidence > other.confidence
        assert own.together > max(own.similarities[FURTHEST - 5], own.similarities[FURTHEST + 5]) + 0.1


def test_the_more_is_wrong_the_less_they_fit(reader, talks):
    for values in faults(reader, talks).values():
        assert len(values) == 4
        assert (np.diff(list(values.values())) < 0).all(), values


def test_a_film_may_be_seen_in_pieces_and_a_voice_heard_in_pieces(reader, talks, monkeypatch):
    lips, recording = talks[0].lips(), Recording(talks[0].sound())
    whole = seen(reader, [lips]), heard(reader, recording)
    monkeypatch.setattr(lip_reader, "PIECE", 33)
    pieces = seen(reader, lips.split(7)), heard(reader, recording)
    for one, other in zip(whole, pieces, strict=True):
        assert len(one) == len(lips) - WINDOW + 1
        assert torch.allclose(one, other, atol=1e-5)
    assert torch.allclose(whole[0].norm(dim=1), torch.ones(()), atol=1e-5)
    assert seen(reader, lips[: WINDOW - 1].split(2)).shape == (0, FEATURES)
    assert heard(reader, Recording(noise(WINDOW - 1))).shape == (0, FEATURES)


def test_loudness_and_light_tell_nothing(reader, talks):
    lips, sound = talks[1].lips(), talks[1].sound()
    usual = heard(reader, Recording(sound))
    assert torch.allclose(heard(reader, Recording(0.2 * sound)), usual, atol=0.01)
    assert torch.allclose(seen(reader, [0.3 + 0.5 * lips]), seen(reader, [lips]), atol=1e-3)


def test_a_window_sees_five_frames_and_hears_as_long(reader):
    """What changes in frame 20 changes windows 16 to 20 and no others."""
    lips, changed = torch.rand(40, ROWS_SEEN, COLUMNS_SEEN), torch.rand(ROWS_SEEN, COLUMNS_SEEN)
    other = torch.cat([lips[:20], changed[None], lips[21:]])
    sound = -6 + torch.randn(1, 160, BANDS)
    louder = torch.cat([sound[:, :80], sound[:, 80:84] + 1, sound[:, 84:]], dim=1)
    for before, after in (
        (seen(reader, [lips]), seen(reader, [other])),
        (reader.voice(sound)[0], reader.voice(louder)[0]),
    ):
        assert (before - after).abs().amax(1).gt(1e-4).nonzero()[:, 0].tolist() == [16, 17, 18, 19, 20]


# ---- figures


@pytest.mark.parametrize("early", [-15, -4, 0, 1, 15])
def test_the_offset_is_how_early_the_sound_is(early):
    """Picture i fits the sound of i - offset."""
    long = features(120)
    found = fit(long[20:80], long[20 + early : 80 + early])
    assert found.offset == early
    assert found.similarity == pytest.approx(1.0, abs=1e-5)
    assert len(found.each) == 60 - abs(early)
    assert (found.together > 0.9) == (early == 0)


def test_figures_are_those_of_plain_loops():
    lips, voice = features(41, 1), features(43, 2)
    means = [
        np.mean([float(lips[i] @ voice[i - lag]) for i in range(41) if 0 <= i - lag < 41]) for lag in range(-15, 16)
    ]
    found = fit(lips, voice)
    assert np.allclose(found.similarities.numpy(), means, atol=1e-6)
    assert found.offset == int(np.argmax(means)) - 15
    assert found.confidence == pytest.approx(max(means) - np.median(means), abs=1e-6)


def test_a_film_that_is_too_short_is_told():
    with pytest.raises(ValueError, match=r"29 windows of 5 frames; 30 are needed .* of 34 frames or more"):
        fit(features(29), features(50))


# ---- crops


def test_a_crop_shows_the_lower_half_of_the_face_wherever_and_however_large():
    """In a picture whose brightness grows across and down, each pixel tells where it was taken."""
    y, x = np.mgrid[:360, :480]
    for values, size in ((x / 480, 0), (y / 360, 1)):
        frames = torch.from_numpy((values * 255).round().astype(np.uint8))[None, ..., None].expand(2, -1, -1, 3)
        boxes = [Box(150, 40, 310, 240), Box(200, 60, 264, 160)]
        faces = torch.stack([steady([box] * 3)[1] for box in boxes])
        seen_there = crops(frames, faces)
        assert seen_there.shape == (2, ROWS_SEEN, COLUMNS_SEEN)
        for box, picture in zip(boxes, seen_there, strict=True):
            side = np.sqrt(box.width * box.height)
            columns = box.center[0] + side * (np.arange(64) + 0.5 - 32) / 80
            rows = box.bottom - 0.25 * side + side * (np.arange(48) + 0.5 - 24) / 80
            expected = [(columns[None] - 0.5) / 480, (rows[:, None] - 0.5) / 360][size]
            assert np.allclose(picture.numpy(), np.broadcast_to(expected, (48, 64)), atol=0.004)


def test_grey_is_the_luma_of_colours():
    frames = torch.tensor([255, 0, 0], dtype=torch.uint8).expand(1, 100, 100, 3)
    assert torch.allclose(crops(frames, torch.tensor([[50.0, 80.0, 60.0]])), torch.tensor(0.299), atol=1e-5)


def test_a_wider_crop_holds_the_usual_one_and_borders_are_repeated():
    frames = torch.randint(0, 256, (1, 120, 120, 3), dtype=torch.uint8)
    face = torch.tensor([[60.0, 80.0, 80.0]])
    wide = crops(frames, face, 1.375)
    assert wide.shape == (1, 66, 88)
    assert torch.allclose(wide[:, 9:-9, 12:-12], crops(frames, face), atol=1e-5)
    beyond = crops(frames, face + torch.tensor([500.0, 0, 0]))
    assert torch.allclose(beyond, beyond[..., :1].expand_as(beyond), atol=1e-5)


def test_a_film_that_comes_in_pieces_is_watched_as_a_whole(reader):
    frames = torch.randint(0, 256, (40, 90, 120, 3), dtype=torch.uint8)
    boxes = [Box(20 + number / 4, 10, 80 + number / 4, 80) for number in range(40)]
    watching = Watching(reader, boxes)
    assert watching.lips.shape == (0, FEATURES)
    for piece in frames.split([3, 20, 17]):
        watching.see(piece)
    assert torch.allclose(watching.lips, seen(reader, [crops(frames, steady(boxes))]), atol=1e-5)
    with pytest.raises(ValueError, match=r"boxes of 40 frames, but the film has 41 or more"):
        watching.see(frames[:1])


def test_crops_are_those_of_plain_bilinear_reading():
    """Of the whole picture, and beyond its borders of the pixel at the border."""
    frames = torch.randint(0, 256, (2, 100, 140, 3), generator=torch.Generator().manual_seed(3), dtype=torch.uint8)
    faces = torch.tensor([[70.0, 70.0, 60.0], [95.0, 96.0, 75.0]])
    for frame, (middle, chin, side), cut in zip(frames.numpy(), faces.tolist(), crops(frames, faces), strict=True):
        grey = frame @ np.array([0.299, 0.587, 0.114]) / 255
        x = middle + side * (np.arange(64) + 0.5 - 32) / 80 - 0.5
        y = chin - 0.25 * side + side * (np.arange(48) + 0.5 - 24) / 80 - 0.5
        down = [np.clip(np.floor(y).astype(int) + step, 0, 99) for step in (0, 1)]
        across = [np.clip(np.floor(x).astype(int) + step, 0, 139) for step in (0, 1)]
        (v, u) = (y % 1)[:, None], x % 1
        above, below = (grey[row][:, across[0]] * (1 - u) + grey[row][:, across[1]] * u for row in down)
        assert np.allclose(cut.numpy(), above * (1 - v) + below * v, atol=1e-4)


def test_a_trembling_box_is_steadied():
    boxes = [Box(100 + 6 * (number % 2), 50, 200 + 6 * (number % 2), 170) for number in range(30)]
    faces = steady(boxes)
    assert faces.shape == (30, 3)
    assert faces[:, 0].diff().abs().max() < 1
    assert torch.allclose(faces[:, 1:], torch.tensor([170.0, float(np.sqrt(12_000))]), atol=1e-3)
    for nothing in ([], [Box(0, 0, 0, 5)], [Box(0, float("nan"), 5, 5)]):
        with pytest.raises(ValueError, match="Boxes of a face are needed"):
            steady(nothing)


# ---- files


def test_the_bundled_reader_is_small_and_tells_what_it_is():
    assert BUNDLED.stat().st_size <= 3e6
    told = json.loads(BUNDLED.with_suffix(".json").read_text(encoding="utf-8"))
    assert "not SyncNet" in told["about"]
    assert {"drawn people"} < set(told["figures"])


def test_another_file_is_refused_in_words(tmp_path):
    path = tmp_path / "other.safetensors"
    save_file({"conv.weight": torch.zeros(3)}, path)
    with pytest.raises(WeightsError, match=r"other.safetensors looks like .*Expected a lip reader of joyhallo"):
        open_lip_reader(path)
    with pytest.raises(WeightsError, match="does not exist"):
        open_lip_reader(tmp_path / "none.safetensors")


def test_a_damaged_file_is_refused_in_words(tmp_path):
    path, state = tmp_path / "damaged.safetensors", load_file(BUNDLED)
    save_file({name: tensor for name, tensor in state.items() if name != "lips.frame.bias"}, path)
    with pytest.raises(WeightsError, match=r"1 missing \(lips.frame.bias\)"):
        open_lip_reader(path)
    save_file(state | {"lips.frame.bias": torch.zeros(3)}, path)
    with pytest.raises(WeightsError, match=r"1 of another shape"):
        open_lip_reader(path)
