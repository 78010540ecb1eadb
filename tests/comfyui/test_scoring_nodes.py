"""The nodes that score videos, within the test's own process: their numbers against plain arithmetic, and bad input."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from fractions import Fraction
from types import SimpleNamespace

import face_models
import numpy as np
import pytest
import torch
from test_redub_lips import bytes_of, ours  # noqa: F401  a fixture

RATE, PER_FRAME = 16_000, 640
COUNT, HEIGHT, WIDTH = 60, 64, 96
BOX = (20.0, 10.0, 70.0, 60.0)


@pytest.fixture(scope="module")
def nodes(pack):
    return pack.nodes


def videos(images, rate=Fraction(25), audio=None):
    from comfy_api.latest import InputImpl, Types

    return InputImpl.VideoFromComponents(Types.VideoComponents(images=images, audio=audio, frame_rate=rate))


def loudness() -> torch.Tensor:
    """Of each frame: it rises and falls over several, like a voice."""
    steps = torch.rand(COUNT + 4, generator=torch.Generator().manual_seed(3))
    return (steps.unfold(0, 5, 1).mean(1) * 2 - 0.5).clamp(0.02, 1)


def sound(by: int = 0, seconds: float = COUNT / 25) -> dict:
    """Noise of that loudness, later by so many frames."""
    noise = torch.rand(COUNT, PER_FRAME, generator=torch.Generator().manual_seed(4)) * 2 - 1
    samples = (noise * loudness()[:, None]).flatten().roll(by * PER_FRAME)
    if by > 0:
        samples[: by * PER_FRAME] = 1e-3
    return {"waveform": samples[None, None, : round(seconds * RATE)], "sample_rate": RATE}


def film(rate: int = 25) -> torch.Tensor:
    """A face that is as bright as the sound is loud, at any rate."""
    bright = loudness()[(torch.arange(COUNT * rate // 25) * 25 / rate).long()]
    frames = torch.zeros(len(bright), HEIGHT, WIDTH, 3)
    left, top, right, bottom = map(int, BOX)
    frames[:, top:bottom, left:right] = bright[:, None, None, None]
    return frames


@pytest.fixture
def track(ours):  # noqa: F811
    def track(count=COUNT, rate=Fraction(25), missing=(), cuts=()):
        boxes = np.tile(np.float32(BOX), (count, 1))
        boxes[list(missing)] = np.nan
        points, scores = np.empty((count, 0, 2), np.float32), np.isfinite(boxes[:, 0]).astype(np.float32)
        return ours("joyhallo.faces.track").Track(boxes, points, scores, "none", (WIDTH, HEIGHT), rate, cuts)

    return track


# ---- lip sync


@pytest.fixture
def judged(nodes, ours, monkeypatch):  # noqa: F811
    """A judge whose truth is known: lips are as open as the face is bright, and a sound as loud as it is."""
    judges, stretches = ours("joyhallo.measures.lip_judges"), ours("joyhallo.measures.speaking_crops")

    def watch(speaking, on_step):
        stretch = stretches.longest(stretches.stretches(speaking.boxes, speaking.cuts))
        left, top, right, bottom = map(int, BOX)
        frames = torch.cat(list(speaking.pieces()))
        seen = frames[:, top:bottom, left:right].float().mean((1, 2, 3))[stretch.start : stretch.stop].numpy()
        on_step(len(frames))

        def score(samples):
            part = samples[stretch.start * PER_FRAME : stretch.stop * PER_FRAME]
            heard = part[: len(part) // PER_FRAME * PER_FRAME].reshape(-1, PER_FRAME).abs().mean(1).numpy()
            count, away = min(len(seen), len(heard)), 15
            lips = seen[away : count - away]
            apart = [1 - np.corrcoef(lips, heard[away - early : count - away - early])[0, 1]
                     for early in range(-away, away + 1)]  # fmt: skip
            best = int(np.argmin(apart))
            confidence = float(np.median(apart) - min(apart))
            told = {"lip_sync": confidence, "lip_offset": float(best - away)}
            return judges.Told(confidence, min(apart), best - away, torch.tensor(apart), count, told)

        def still(samples):
            return replace(score(samples), values={"lip_sync": 0.0, "lip_offset": 0.0})

        return judges.Watched(stretch, score, still)

    judge = SimpleNamespace(title="brightness", is_ours=True, watch=watch)
    monkeypatch.setattr(nodes.score_lip_sync, "lip_judge", lambda choice: judge)

    def run(video, audio=None, face_track=None, fps=25.0):
        out = nodes.score_lip_sync.ScoreLipSync.execute(
            video=video, judge="lip reader", fps=fps, audio=audio, face_track=face_track
        )
        return SimpleNamespace(
            **dict(zip(("confidence", "distance", "offset", "curve", "report", "scores"), out.args, strict=True))
        )

    return run


@pytest.mark.parametrize("by", [-4, 0, 3, 7])
def test_a_planted_offset_is_found_and_align_sound_mends_it(nodes, judged, track, by):
    late = sound(by)
    told = judged(film(), late, track())
    assert told.offset == -by
    aligned = nodes.align_sound.AlignSound.execute(audio=late, offset=told.offset).args[0]
    assert aligned["waveform"].shape == late["waveform"].shape
    assert judged(film(), aligned, track()).offset == 0


def test_what_fits_says_so_and_its_controls_do_not(judged, track):
    told = judged(film(), sound(), track())
    assert told.confidence > 0.5
    assert told.distance < 0.05
    assert abs(told.scores.controls["shuffled"]["lip_sync"]) < told.confidence
    assert told.scores.controls["shifted"] == {"lip_offset": -5.0}
    assert told.scores.controls["still"] == {"lip_sync": 0.0}
    assert told.scores.silent("lip_offset") == ""
    assert "These say nothing" not in told.report
    assert told.curve.shape == (1, 320, 768, 3)


def test_what_does_not_fit_is_said_to_say_nothing(judged, track):
    other = torch.rand(COUNT * PER_FRAME, generator=torch.Generator().manual_seed(9))
    told = judged(film(), {"waveform": other[None, None], "sample_rate": RATE}, track())
    assert told.scores.silent("lip_offset") or told.scores.silent("lip_sync")
    assert "These say nothing here:" in told.report


@pytest.mark.parametrize("rate", [25, 50, 30])
def test_videos_of_any_rate_are_seen_at_that_of_speech(judged, track, rate):
    frames = film(rate)
    video = videos(frames, Fraction(rate), sound(2))
    assert judged(video, None, track(len(frames), Fraction(rate))).offset == -2


def test_the_longest_stretch_with_the_face_counts(judged, track):
    told = judged(film(), sound(), track(missing=(0, 1, 2, 3)))
    assert "the face is in 56 frames in a row" in told.report
    assert told.offset == 0


def test_images_at_another_rate(judged, track):
    frames = film(50)
    assert judged(frames, sound(), track(len(frames), Fraction(50)), fps=50.0).offset == 0


def test_frames_of_a_rate_fall_where_they_are_seen(nodes, track):
    pictures = nodes.video.Pictures.of(film(50), 50.0)
    speaking = nodes.scoring.Speaking.of(pictures, track(2 * COUNT, Fraction(50), cuts=(41,)))
    assert speaking.places.tolist() == list(range(1, 2 * COUNT, 2)) or speaking.places.tolist() == list(
        range(0, 2 * COUNT, 2)
    )
    (cut,) = speaking.cuts
    assert speaking.places[cut] >= 41 > speaking.places[cut - 1]


def test_an_unchanged_rate_is_the_video_itself(nodes, track):
    speaking = nodes.scoring.Speaking.of(nodes.video.Pictures.of(film(), 25.0), track(cuts=(7, 30)))
    assert speaking.places.tolist() == list(range(COUNT))
    assert speaking.cuts == (7, 30)
    assert torch.equal(torch.cat(list(speaking.pieces())), bytes_of(film()))


def test_bad_input_ends_in_a_sentence(judged, track, ours):  # noqa: F811
    audio = ours("joyhallo.sound.audio").AudioError
    with pytest.raises(audio, match="Images have no sound; connect it to audio"):
        judged(film(), None, track())
    with pytest.raises(audio, match="The video has no sound; connect it to audio"):
        judged(videos(film()), None, track())
    with pytest.raises(audio, match="The sound is silent"):
        judged(film(), {"waveform": torch.zeros(1, 1, 32_000), "sample_rate": RATE}, track())
    with pytest.raises(audio, match="not numbers"):
        judged(film(), {"waveform": torch.full((1, 1, 32_000), torch.nan), "sample_rate": RATE}, track())
    with pytest.raises(ours("joyhallo.film.write").VideoError, match="not numbers"):
        judged(torch.full_like(film(), torch.nan), sound(), track())
    with pytest.raises(ours("joyhallo.measures.lipsync").SyncError, match="The face is in no frame"):
        judged(film(), sound(), track(missing=range(COUNT)))
    with pytest.raises(ours("joyhallo.faces.find").FaceError, match="tracked in"):
        judged(film()[:10], sound(), track(5))


@pytest.fixture
def reader(nodes, tmp_path, monkeypatch):
    """Our lip reader with random weights, where the bundled file is expected."""
    from safetensors.torch import save_file

    from joyhallo.measures.lip_reader import LipReader

    torch.manual_seed(0)
    file = tmp_path / "lip_reader.safetensors"
    save_file({name: weight.contiguous() for name, weight in LipReader().state_dict().items()}, file)
    monkeypatch.setattr(nodes.lip_judge, "BUNDLED", file)


def test_the_lip_reader_watches_piece_by_piece_as_at_once(nodes, ours, reader, track, monkeypatch):  # noqa: F811
    """Loaded by ComfyUI before each use, and however the film is cut into pieces."""
    import comfy.model_management as manager

    loaded, plain = [], manager.load_models_gpu
    monkeypatch.setattr(
        manager, "load_models_gpu", lambda models, **more: loaded.append(models) or plain(models, **more)
    )
    judge = nodes.lip_judge.lip_judge("lip reader")
    speaking = nodes.scoring.Speaking.of(nodes.video.Pictures.of(film(), 25.0), track())
    samples = sound()["waveform"][0, 0]
    some = judge.watch(speaking, lambda done: None).score(samples)
    assert {one for models in loaded for one in models} == {judge.part.patcher}
    monkeypatch.setattr(nodes.scoring.streamed, "AT_ONCE", 7)
    others = judge.watch(speaking, lambda done: None).score(samples)
    torch.testing.assert_close(some.curve, others.curve, rtol=1e-5, atol=1e-6)
    assert some.windows == COUNT - 4


def test_one_frame_is_too_few(nodes, reader, track):
    with pytest.raises(ValueError, match="30 are needed"):
        nodes.score_lip_sync.ScoreLipSync.execute(
            video=film()[:1], judge="lip reader", fps=25.0, audio=sound(), face_track=track(1)
        )


def test_a_judge_that_is_not_there_is_told_where_to_get(nodes):
    assert nodes.score_lip_sync.ScoreLipSync.validate_inputs(judge="elsewhere.model") is True
    with pytest.raises(FileNotFoundError, match=r"`judge` is 'x.model'.*put syncnet_v2.model.*models/joyhallo/metrics"):
        nodes.lip_judge.lip_judge("x.model")


@pytest.fixture
def metrics(nodes, tmp_path, monkeypatch):
    """models/joyhallo/metrics, empty."""
    import folder_paths

    folder = tmp_path / "ours" / "metrics"
    folder.mkdir(parents=True)
    monkeypatch.setitem(folder_paths.folder_names_and_paths, "joyhallo", ([str(folder.parent)], set()))
    folder_paths.filename_list_cache.pop("joyhallo", None)
    yield folder
    folder_paths.filename_list_cache.pop("joyhallo", None)


def test_a_file_is_known_by_what_it_holds(nodes, metrics):
    folders = nodes.model_folders
    torch.save({"netcnnlip.0.weight": torch.zeros(2, 2)}, metrics / "anything.model")
    torch.save({"feat_encoder.x": torch.zeros(1), "comb_block.y": torch.zeros(1)}, metrics.parent / "frames.pth")
    torch.save({"other": torch.zeros(1)}, metrics / "syncnet_v2.model")
    assert folders.lip_judges() == ["lip reader", "metrics/anything.model"]
    assert folders.judges("amt") == ["frames.pth"]
    with pytest.raises(ValueError, match=r"anything\.model"):
        nodes.lip_judge.lip_judge("metrics/anything.model")


# ---- video


def steady(nodes, video, measures="only what needs no files"):
    report, scores = nodes.score_video.ScoreVideo.execute(video=video, measures=measures).args
    return report, scores


def noise(count=9, height=48, width=64, seed=0) -> torch.Tensor:
    return torch.rand(count, height, width, 3, generator=torch.Generator().manual_seed(seed))


def test_flicker_and_linear_smoothness_are_plain_arithmetic(nodes):
    frames = noise()
    _, scores = steady(nodes, frames)
    levels = bytes_of(frames).numpy().astype(float)
    assert scores.values["flicker"] == pytest.approx(1 - np.abs(np.diff(levels, axis=0)).mean() / 255)
    between = (levels[:-2:2] + levels[2::2]) / 2
    assert scores.values["smooth_linear"] == pytest.approx(1 - np.abs(levels[1:-1:2] - between).mean() / 255)


def test_a_still_picture_is_perfectly_steady(nodes):
    assert set(steady(nodes, noise(1).repeat(5, 1, 1, 1))[1].values.values()) == {1.0}


def test_files_that_are_not_there_are_named(nodes, metrics):
    report, scores = steady(nodes, noise(), "all there are files for")
    assert set(scores.missing) == {"subject", "background", "smoothness"}
    for name in ("dino_vitbase16_pretrain.pth", "ViT-B-32.pt", "amt-s.pth"):
        assert name in report
    assert "into models/joyhallo/metrics" in report
    assert "flicker" in scores.values


def test_a_file_is_used_and_a_broken_one_costs_itself_alone(nodes, metrics):
    from joyhallo.measures.amt import AMT

    weights = {name: torch.randn(part.shape) * 0.02 for name, part in AMT().state_dict().items()}
    torch.save({"state_dict": weights}, metrics / "amt-s.pth")
    torch.save(
        {"cls_token": torch.zeros(1, 1, 8), "blocks.0.attn.qkv.weight": torch.zeros(24, 8)}, metrics / "dino.pth"
    )
    report, scores = steady(nodes, noise(3, 128, 128), "all there are files for")
    assert 0 < scores.values["smoothness"] < 1
    assert "metrics/amt-s.pth, weights" in report
    assert "dino.pth" in scores.missing["subject"]
    _, small = steady(nodes, noise(3, 48, 64), "all there are files for")
    assert "too small" in small.missing["smoothness"]
    assert "flicker" in small.values


def test_one_frame_has_no_steadiness(nodes):
    report, scores = steady(nodes, noise(1))
    assert not scores.values
    assert "Flicker: none; " in report


def test_frames_that_are_not_numbers_are_refused(nodes, ours):  # noqa: F811
    with pytest.raises(ours("joyhallo.film.write").VideoError, match="not numbers"):
        steady(nodes, torch.full((3, 48, 64, 3), torch.nan))
    with pytest.raises(ValueError, match="`measures` is 'best'; choose one of"):
        steady(nodes, noise(), "best")


# ---- two videos


@pytest.fixture
def compared(nodes, monkeypatch):
    """Without MediaPipe."""
    monkeypatch.setattr(nodes.track_face, "face_task", lambda: None)

    def run(video, truth):
        names = "psnr", "ssim", "lmd", "report", "scores"
        out = nodes.compare_videos.CompareVideos.execute(video=video, truth=truth)
        return SimpleNamespace(**dict(zip(names, out.args, strict=True)))

    return run


def test_psnr_is_plain_arithmetic_and_ssim_is_scikit_images(compared):
    metrics = pytest.importorskip("skimage.metrics")
    a, b = noise(), (noise() * 0.7 + noise(seed=1) * 0.3)
    told = compared(a, b)
    x, y = bytes_of(a).numpy(), bytes_of(b).numpy()
    error = ((x.astype(float) - y) ** 2).mean()
    assert told.psnr == pytest.approx(10 * math.log10(255**2 / error))
    paper = {"channel_axis": 2, "gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
    alike = [metrics.structural_similarity(one, other, **paper) for one, other in zip(x, y, strict=True)]
    assert told.ssim == pytest.approx(np.mean(alike), abs=1e-4)


def test_a_video_is_equal_to_itself(compared):
    told = compared(noise(), noise())
    assert (told.psnr, told.ssim) == (100.0, pytest.approx(1.0))
    json.dumps(dict(told.scores.values), allow_nan=False)


def test_without_the_landmarker_mouths_are_not_compared_and_the_reason_is_told(compared):
    told = compared(noise(), noise(seed=1))
    assert math.isnan(told.lmd)
    assert set(told.scores.missing) == {"lmd", "akd", "opening_true"}
    assert "face landmarker is missing" in told.report


def test_images_have_the_rate_of_the_other(compared):
    assert compared(noise(), videos(noise(), Fraction(30))).psnr == 100.0
    assert compared(videos(noise(), Fraction(30)), noise()).psnr == 100.0


def test_only_frames_that_both_have_are_compared(compared):
    told = compared(noise(9), noise(9)[:5])
    assert told.psnr == 100.0
    assert "Compared are the 5 frames that both have" in told.report


def test_what_does_not_fit_together_is_said(compared, ours):  # noqa: F811
    wrong = ours("joyhallo.film.write").VideoError
    with pytest.raises(wrong, match="The video is 64x48 pixels, its truth 64x40"):
        compared(noise(), noise(height=40))
    with pytest.raises(wrong, match="The video has 25 frames a second, its truth 30"):
        compared(videos(noise()), videos(noise(), Fraction(30)))
    with pytest.raises(ValueError, match="too small for SSIM"):
        compared(noise(height=8, width=8), noise(height=8, width=8))


@pytest.fixture
def meshes(nodes, ours, monkeypatch):  # noqa: F811
    """Tracks with meshes that a test makes, by the size of the film's first pixel."""

    def give(*found):
        coming = iter(found)

        def tracked(film, every, whole):
            assert whole
            points, scores = next(coming)
            return SimpleNamespace(track=SimpleNamespace(points=points, scores=scores))

        monkeypatch.setattr(nodes.compare_videos, "tracked", tracked)

    return give


def test_a_mouth_that_is_off_is_told_in_eye_distances(nodes, meshes):
    points = np.random.default_rng(0).uniform(0, 60, (9, 478, 2)).astype(np.float32)
    points[:, 33], points[:, 263] = (10, 20), (50, 20)  # the outer corners of the eyes, 40 pixels apart
    other = points + 3  # moved as a whole: not a difference of shape
    lip = 61  # a corner of the mouth
    other[:, lip] += (8, 0)
    seen, lost = np.ones(9, np.float32), np.ones(9, np.float32)
    lost[4:] = 0
    other[6] += 500  # where nobody was seen, a guess must not count
    meshes((other, lost), (points, seen))
    out = nodes.compare_videos.CompareVideos.execute(video=noise(), truth=noise())
    deviation = np.full((20, 2), [-8 / 20, 0.0])
    deviation[0] += (8, 0)
    expected = np.hypot(*deviation.T).mean() / 40
    assert out.args[2] == pytest.approx(expected, rel=1e-4)


# ---- likeness


@pytest.fixture(scope="module")
def faces(ours, tmp_path_factory):  # noqa: F811
    pytest.importorskip("insightface")
    folder = face_models.write_models(tmp_path_factory.mktemp("faces"))
    return ours("joyhallo.faces.find").FaceModels(folder)


def portrait(seed=0, *found) -> torch.Tensor:
    picture = face_models.picture_of(list(found or [(320, 240, 160)]), 640, 480, seed)
    return torch.from_numpy(picture)[None].float() / 255


def test_the_same_picture_is_wholly_alike_and_another_is_less(nodes, faces):
    video = torch.cat([portrait().expand(5, -1, -1, -1), portrait(7).expand(5, -1, -1, -1)])
    mean, low, report, scores = nodes.score_likeness.ScoreLikeness.execute(
        video=video, portrait=portrait(), face_analysis=faces
    ).args
    assert scores.values == {"likeness": mean, "likeness_low": low}
    assert low < mean < 1
    assert 2 * mean - 1 == pytest.approx(low, abs=0.1)  # of two looks one is 1
    assert "every 5th frame, 2 in all" in report


def test_frames_without_a_face_are_counted(nodes, faces):
    empty = torch.full((5, 480, 640, 3), 0.4)
    video = torch.cat([portrait().expand(5, -1, -1, -1), empty])
    mean, _, report, _ = nodes.score_likeness.ScoreLikeness.execute(
        video=video, portrait=portrait(), face_analysis=faces
    ).args
    assert mean == pytest.approx(1, abs=1e-5)
    assert "1 of 2 frames that were looked at show no face" in report
    wrong = type(faces).__module__
    assert wrong.endswith("joyhallo.faces.find")
    with pytest.raises(ValueError, match="No face was found in any of the 1 frames that were looked at"):
        nodes.score_likeness.ScoreLikeness.execute(video=empty, portrait=portrait(), face_analysis=faces)
    with pytest.raises(ValueError, match="No face was found in this picture"):
        nodes.score_likeness.ScoreLikeness.execute(video=video, portrait=empty[:1], face_analysis=faces)


def test_without_a_recogniser_there_is_no_likeness(nodes, ours):  # noqa: F811
    models = ours("joyhallo.faces.find").FaceModels()
    with pytest.raises(ValueError, match="InsightFace's models, but there are none; choose face_analysis"):
        nodes.score_likeness.ScoreLikeness.execute(video=noise(), portrait=noise(1), face_analysis=models)


# ---- the report


@pytest.fixture
def reported(nodes, ours, tmp_path, monkeypatch):  # noqa: F811
    import folder_paths

    monkeypatch.setattr(folder_paths, "get_output_directory", lambda: str(tmp_path))
    monkeypatch.setattr(nodes.evaluation_report.EvaluationReport, "hidden", None, raising=False)
    made = ours("joyhallo.measures.scores").Scores

    def run(*scores, names="", prefix="video/x"):
        given = {f"scores_{number}": made(**one) for number, one in enumerate(scores, 1)}
        return nodes.evaluation_report.EvaluationReport.execute(names=names, filename_prefix=prefix, **given)

    return run


A = {"film": "a", "name": "first", "values": {"flicker": 0.9}}
B = {"film": "b", "name": "second", "values": {"flicker": 0.95}}


def test_a_report_is_saved_shown_and_handed_on(reported, tmp_path):
    out = reported(A, B, names="\n其他")
    table, told = out.args
    assert table.shape[0] == 1
    assert table.shape[3] == 3
    assert [video["name"] for video in json.loads(told)["videos"]] == ["first", "其他"]
    json_file, csv_file = (tmp_path / "video" / f"x_00001_.{ending}" for ending in ("json", "csv"))
    assert json_file.read_text(encoding="utf-8") == told
    assert csv_file.read_text(encoding="utf-8") == "video,flicker,says_nothing\nfirst,0.9,\n其他,0.95,\n"
    assert out.ui.as_dict()["images"][0]["type"] == "temp"


def test_nothing_is_overwritten(reported, tmp_path):
    for _ in range(3):
        reported(A)
    (tmp_path / "video" / "x_00004_.csv").write_text("mine")
    reported(A)
    assert sorted(file.name for file in (tmp_path / "video").glob("*.json")) == [
        f"x_0000{number}_.json" for number in (1, 2, 3, 5)
    ]
    assert (tmp_path / "video" / "x_00004_.csv").read_text() == "mine"


def test_wrong_names_and_scores_end_in_a_sentence(reported, nodes, tmp_path):
    with pytest.raises(ValueError, match="leads out of the output folder"):
        reported(A, prefix="../../x")
    with pytest.raises(ValueError, match="`scores_1` is the text 'x'; connect the output of Score Lip Sync"):
        nodes.evaluation_report.EvaluationReport.execute(scores_1="x", names="", filename_prefix="y")
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match="cannot be used in the output folder"):
        reported(A, prefix="file/x")


# ---- moving a sound


@pytest.mark.parametrize("rate", [16_000, 44_100])
@pytest.mark.parametrize("offset", [-2, 0, 3])
def test_a_sound_is_moved_by_frames(nodes, rate, offset):
    samples = torch.rand(1, 2, rate, generator=torch.Generator().manual_seed(0))
    (moved,) = nodes.align_sound.AlignSound.execute(
        audio={"waveform": samples, "sample_rate": rate}, offset=offset
    ).args
    by = offset * rate // 25
    expected = np.zeros((2, rate), np.float32)
    known = samples[0].numpy()
    if by >= 0:
        expected[:, by:] = known[:, : rate - by]
    else:
        expected[:, :by] = known[:, -by:]
    assert moved["sample_rate"] == rate
    assert np.array_equal(moved["waveform"][0].numpy(), expected)


def test_a_video_s_own_sound_is_moved(nodes):
    (moved,) = nodes.align_sound.AlignSound.execute(audio=videos(film(), audio=sound()), offset=2).args
    assert torch.equal(moved["waveform"][..., 2 * PER_FRAME :], sound()["waveform"][..., : -2 * PER_FRAME])
    with pytest.raises(ValueError, match="The video has no sound"):
        nodes.align_sound.AlignSound.execute(audio=videos(film()), offset=2)


def test_a_sound_that_would_be_gone_is_refused(nodes):
    with pytest.raises(ValueError, match="nothing of it would be left"):
        nodes.align_sound.AlignSound.execute(
            audio={"waveform": torch.rand(1, 1, 16_000), "sample_rate": RATE}, offset=25
        )
    with pytest.raises(ValueError, match="not numbers"):
        nodes.align_sound.AlignSound.execute(
            audio={"waveform": torch.full((1, 1, 16_000), torch.nan), "sample_rate": RATE}, offset=1
        )
    with pytest.raises(ValueError, match="`audio` is empty: no sound"):
        nodes.align_sound.AlignSound.execute(audio=None, offset=1)
