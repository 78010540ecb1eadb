"""Redub Lips: a film speaks another recording, for as long as that lasts, and nothing but the face changes."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from fractions import Fraction

import lips
import numpy as np
import pytest
import torch
from boxed_frames import cut, pasted
from painter import CORNERS, Painter

HEIGHT, WIDTH, FRAMES, RATE = 96, 128, 12, Fraction(25)
FIRST, LAST = 0.28, 0.72  # seconds between which somebody speaks
USUAL = {
    "seed": 42,
    "steps": 0,
    "guidance": 0.0,
    "when_video_is_short": "loop",
    "when_video_is_long": "cut",
    "sync_offset": 0.0,
    "blend": "whole box",
    "silence": "model",
    "strength": 1.0,
    "cover_tail": True,
    "level_loudness": False,
    "smoothing": "original",
    "pad_top": 0,
    "pad_bottom": 10,
    "pad_left": 0,
    "pad_right": 0,
    "fps": 25.0,
    "resume": False,
}


@pytest.fixture(scope="module")
def ours(pack):
    """The pack's own modules, whose classes are not those of the tests' `joyhallo`."""
    return lambda name: importlib.import_module(f"{pack.__name__}.{name}")


@pytest.fixture(scope="module")
def film() -> torch.Tensor:
    """(frames, height, width, 3) in 0..1, of bytes; its first pixel tells its number."""
    frames = torch.randint(0, 256, (FRAMES, HEIGHT, WIDTH, 3), generator=torch.Generator().manual_seed(5)).byte()
    frames[:, 0, 0] = torch.arange(FRAMES).byte()[:, None]
    return frames.float() / 255


def bytes_of(images: torch.Tensor) -> torch.Tensor:
    return (images * 255).round().byte()


def sound(seconds: float) -> dict:
    """Silent but for the middle, where it hums."""
    time = torch.arange(round(seconds * 16_000)) / 16_000
    hum = 0.5 * torch.sin(2 * torch.pi * 200 * time) * ((time > FIRST) & (time < LAST))
    hum = (hum * 32_767).round() / 32_768
    return {"waveform": hum[None, None], "sample_rate": 16_000}


@pytest.fixture
def track(ours):
    def track(missing: tuple[int, ...] = (), size=(WIDTH, HEIGHT), cuts=()):
        points = np.stack([CORNERS - CORNERS.mean(0) + (50 + i, 45) for i in range(FRAMES)]).astype(np.float32)
        boxes = np.concatenate([points.min(1), points.max(1)], axis=1)
        points[list(missing)] = boxes[list(missing)] = np.nan
        return ours("joyhallo.faces.track").Track(boxes, points, np.ones(FRAMES, np.float32), "marks", size, RATE, cuts)

    return track


@dataclass
class Made:
    frames: torch.Tensor  # of bytes
    mask: torch.Tensor
    report: str
    sound: dict
    rate: Fraction


@pytest.fixture
def redub(pack):
    @torch.inference_mode()
    def redub(model, video, audio, **changes) -> Made:
        given = {**USUAL, **changes}
        out = pack.nodes.redub_lips.RedubLips.execute(redub_model=model, video=video, audio=audio, **given)
        video, mask, report, _ = out.args
        parts = video.get_components()
        return Made(bytes_of(parts.images), mask.get_components().images, report, parts.audio, parts.frame_rate)

    return redub


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    path = tmp_path_factory.mktemp("wav2lip") / "wav2lip_gan.pth"
    torch.save({"state_dict": {f"module.{key}": tensor.half() for key, tensor in lips.drawn("wav2lip").items()}}, path)
    return path


@pytest.fixture(scope="module")
def wav2lip(ours, file):
    return ours("nodes.comfy_adapter").load_redub_model(file, "wav2lip_gan.pth", "fp32")


@pytest.fixture
def painted(wav2lip):
    """The same model, with which a quick painter does the work."""

    class Painted(type(wav2lip)):
        painter = Painter(5)

        def redubber(self, most, wishes):
            return self.painter

    return Painted(*(getattr(wav2lip, name) for name in ("name", "path", "method", "network", "precision", "patcher")))


# ---- Wav2Lip


def test_wav2lip_s_frames_are_those_of_the_original_order(ours, wav2lip, film, track, redub):
    """Cut, network, truncation and paste, done here one after the other, for boxes that move."""
    made = redub(wav2lip, film, sound(0.36), face_track=track())
    boxes, pixels = ours("joyhallo.methods.wav2lip.boxes"), ours("joyhallo.methods.wav2lip.pixels")
    mel, audio = ours("joyhallo.sound.mel"), ours("joyhallo.sound.audio")
    count = 9
    places = torch.from_numpy(track().boxes[:count]).long()
    places = boxes.smoothed(boxes.padded(places, boxes.Pads(), (WIDTH, HEIGHT)))
    pictures = bytes_of(film)[:count]
    recording = audio.prepare(sound(0.36)["waveform"][0], 16_000)
    heard = mel.listen(recording.samples, RATE, cover_tail=True)[:count]
    answer = wav2lip.network(heard[:, None], pixels.inputs(cut(pictures, places, 96)))
    expected = pasted(pictures, places, pixels.as_crops(answer))
    assert made.frames.shape == expected.shape
    off = (made.frames.int() - expected.int()).abs()
    assert off.max() <= 1  # chunks of another size are summed in another order
    assert (off > 0).float().mean() < 0.001
    assert (expected != pictures).float().mean() > 0.1


def test_its_wishes_change_frames(wav2lip, film, track, redub):
    hum = {"waveform": sound(0.6)["waveform"][..., 4000:7840], "sample_rate": 16_000}
    usual = redub(wav2lip, film[:6], hum, face_track=track().until(6)).frames
    changes = {
        "sync_offset": 80.0,
        "strength": 0.3,
        "smoothing": "none",
        "pad_bottom": 0,
        "level_loudness": True,
        "blend": "feather",
    }
    for name, value in changes.items():
        changed = redub(wav2lip, film[:6], hum, face_track=track().until(6), **{name: value}).frames
        assert not torch.equal(changed, usual), name
    shorter = redub(wav2lip, film[:6], hum, face_track=track().until(6), cover_tail=False)
    assert len(shorter.frames) < len(usual)


def test_the_report_names_licence_and_what_was_not_used(wav2lip, film, track, redub):
    report = redub(wav2lip, film[:3], sound(0.12), face_track=track().until(3), steps=20, seed=7).report
    assert "research and personal use only" in report
    assert "Not used: seed, steps, which Wav2Lip does not know" in report


# ---- for as long as the speech lasts


@pytest.mark.parametrize(
    ("seconds", "rules", "expected"),
    [
        (0.8, {"when_video_is_short": "loop"}, [*range(12), *range(8)]),
        (0.8, {"when_video_is_short": "bounce"}, [*range(12), *range(10, 2, -1)]),
        (0.8, {"when_video_is_short": "hold"}, [*range(12), *[11] * 8]),
        (0.8, {"when_video_is_short": "stretch"}, [12 * i // 20 for i in range(20)]),
        (0.8, {"when_video_is_short": "stop"}, range(12)),
        (0.24, {}, range(6)),
        (0.24, {"when_video_is_long": "keep"}, range(12)),
    ],
)
def test_length_rules(painted, film, track, redub, seconds, rules, expected):
    made = redub(painted, film, sound(seconds), face_track=track(), **rules)
    assert made.frames[:, 0, 0, 0].tolist() == list(expected)
    given = sound(seconds)["waveform"][0]
    heard = made.sound["waveform"][0][:, : given.shape[1]]
    assert torch.equal(heard, given[:, : heard.shape[1]])
    assert heard.shape[1] >= min(given.shape[1], len(made.frames) * 640)
    if "keep" in rules.values():
        assert torch.equal(made.frames[6:], bytes_of(film)[6:])


def test_memory_is_asked_for_as_many_batches_as_there_are_at_a_time(ours, painted, film, track, redub, monkeypatch):
    """One is read, one is worked on, one waits and one is written; of the last two there are crops as well."""
    import comfy.model_management

    painter = painted.painter
    monkeypatch.setattr(comfy.model_management, "get_total_memory", lambda device: 1)
    need = painter.at_once * 3 * (4 * WIDTH * HEIGHT + 2 * 4 * painter.size**2)
    with pytest.raises(ValueError, match=f"Redubbing needs {ours('joyhallo.files.space').amount(need)} of memory"):
        redub(painted, film, sound(0.4), face_track=track())


def test_a_picture_speaks(painted, film, track, redub):
    one = redub(painted, film[:1], sound(0.4), face_track=track().until(1))
    assert len(one.frames) == 10
    assert (one.frames[:, 0, 0, 0] == 0).all()
    assert len(one.frames.flatten(1).unique(dim=0)) > 1


def test_a_video_keeps_its_rate(pack, painted, film, track, redub, tmp_path):
    rate = Fraction(30_000, 1001)
    write = importlib.import_module(f"{pack.__name__}.joyhallo.film.write").write
    path = write(tmp_path / "film.mkv", [film], rate, None, "mkv", "small")
    from comfy_api.latest import InputImpl

    own = track()
    own = type(own)(own.boxes, own.points, own.scores, own.scheme, own.size, rate)
    made = redub(painted, InputImpl.VideoFromFile(str(path)), sound(0.8), face_track=own)
    assert made.rate == rate
    assert len(made.frames) == 23
    assert made.frames[:, 0, 0, 0].tolist() == [i % 12 for i in range(23)]


# ---- what changes, and what does not


@pytest.mark.parametrize("blend", ["whole box", "feather", "mouth"])
def test_the_mask_shows_all_that_changed(painted, film, track, redub, blend):
    made = redub(painted, film, sound(0.48), face_track=track(), blend=blend)
    changed = (made.frames != bytes_of(film)).any(-1)
    white = made.mask[..., 0] > 0
    assert changed.any((1, 2)).all()
    assert not (changed & ~white).any()
    assert white.float().mean() < 0.5


def test_frames_without_a_face_stay_and_are_told(painted, film, track, redub):
    made = redub(painted, film, sound(0.48), face_track=track((3, 4, 9)))
    for frame in (3, 4, 9):
        assert torch.equal(made.frames[frame], bytes_of(film)[frame])
    assert not torch.equal(made.frames[6], bytes_of(film)[6])
    assert "- 0.12 to 0.20 s" in made.report
    assert "- 0.36 to 0.40 s" in made.report


def test_a_painted_mask_says_where_and_limits(painted, film, track, redub):
    mask = torch.zeros(1, HEIGHT, WIDTH)
    mask[:, 50:70, 40:60] = 1
    made = redub(painted, film, sound(0.48), face_track=track(), mask=mask)
    changed = (made.frames != bytes_of(film)).any(-1).any(0)
    assert changed[50:70, 45:60].any()
    changed[50:70, 40:60] = False
    assert not changed.any()


def test_a_mask_alone_is_the_face(wav2lip, film, redub):
    mask = torch.zeros(1, HEIGHT, WIDTH)
    mask[:, 20:80, 30:90] = 1
    made = redub(wav2lip, film[:3], sound(0.12), mask=mask, pad_bottom=0)
    changed = (made.frames != bytes_of(film)[:3]).any(-1)
    assert changed[:, 20:80, 30:90].float().mean() > 0.9
    changed[:, 20:80, 30:90] = False
    assert not changed.any()


def test_in_pauses_the_video_s_own_mouth(painted, film, track, redub):
    """The hum begins after 0.28 s; the gate opens a little sooner."""
    model = redub(painted, film, sound(0.48), face_track=track()).frames
    source = redub(painted, film, sound(0.48), face_track=track(), silence="source").frames
    assert torch.equal(source[0], bytes_of(film)[0])
    assert not torch.equal(model[0], bytes_of(film)[0])
    assert torch.equal(source[7:], model[7:])


def test_two_speakers_in_a_row(pack, painted, film, track, redub):
    """The second run changes the other half of what the first gave, and keeps all else of it."""
    left, right = torch.zeros(2, 1, HEIGHT, WIDTH)
    left[..., 40:60], right[..., 60:80] = 1, 1
    first = pack.nodes.redub_lips.RedubLips.execute
    with torch.inference_mode():
        video = first(redub_model=painted, video=film, audio=sound(0.48), face_track=track(), mask=left, **USUAL)[0]
    both = redub(painted, video, sound(0.48), face_track=track(), mask=right)
    changed = (both.frames != bytes_of(film)).any(-1).any(0)
    assert changed[:, 45:60].any()
    assert changed[:, 60:75].any()
    one = redub(painted, film, sound(0.48), face_track=track(), mask=left)
    assert torch.equal(both.frames[:, :, :60], one.frames[:, :, :60])


def test_a_run_that_was_stopped_goes_on(painted, film, track, redub):
    class Tired(Painter):
        def speak(self, crops, heard, on_step):
            if len(self.spoken) == 2:
                raise RuntimeError("tired")
            return super().speak(crops, heard, on_step)

    whole = redub(painted, film, sound(0.48), face_track=track())
    kind = type(painted)
    kind.painter = Tired(5)
    with pytest.raises(RuntimeError, match="tired"):
        redub(painted, film, sound(0.48), face_track=track(), resume=True)
    kind.painter = Painter(5)
    made = redub(painted, film, sound(0.48), face_track=track(), resume=True)
    assert torch.equal(made.frames, whole.frames)
    assert kind.painter.spoken == [2]
    kind.painter = Painter(5)
    other = 1 - film
    made = redub(painted, other, sound(0.48), face_track=track(), resume=True)  # the same face in another film
    assert sum(kind.painter.spoken) == FRAMES
    assert torch.equal(made.frames[:, 0, 0], bytes_of(other)[:, 0, 0])


# ---- mistakes


def test_mistakes_are_told_before_any_work(painted, film, track, redub):
    def refused(words, **changes):
        given = {"video": film, "audio": sound(0.48), "face_track": track(), **changes}
        with pytest.raises(ValueError, match=words):
            redub(painted, given.pop("video"), given.pop("audio"), **given)

    refused(
        "tracked in a video of 64x48 at 25 frames a second, but this one has 128x96", face_track=track(size=(64, 48))
    )
    refused("The mask is 5x5 pixels, but the video 128x96", mask=torch.ones(1, 5, 5))
    refused("None of the 12 pictures shows a face", face_track=track(tuple(range(FRAMES))))
    refused(
        "Nobody speaks in the recording",
        audio={"waveform": torch.zeros(1, 1, 8000), "sample_rate": 16_000},
        silence="source",
    )
    refused("`blend` is 'all'", blend="all")
    refused("`video` is", video=torch.zeros(3))
    refused("`face_track` is .*connect the output of Track Face", face_track="a track")
    assert painted.painter.spoken == []


def test_a_file_of_another_kind_is_named(ours, tmp_path):
    path = tmp_path / "lipsync_expert.pth"
    torch.save(dict(lips.drawn("expert")), path)
    with pytest.raises(ValueError, match="looks like Wav2Lip's sync expert"):
        ours("nodes.comfy_adapter").load_redub_model(path, "lipsync_expert.pth", "auto")
