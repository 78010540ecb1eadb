"""Files are read back by FFmpeg through PyAV, and by walking their boxes."""

import errno
import json
import logging
import os
import shutil
import subprocess
import sys
import threading
import time
from fractions import Fraction
from itertools import count, pairwise
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from shared import REPOSITORY
from torch.nn import functional as F

from joyhallo.film import write as video
from joyhallo.film.label import ENGLISH, Label
from joyhallo.film.marks import Labels
from joyhallo.film.read import Film
from joyhallo.film.write import COPY, FORMATS, QUALITIES, VideoError, frame_rate, write
from joyhallo.libraries import LibraryError
from joyhallo.sound.audio import AudioError

CODECS = {"mp4": ("h264", "aac"), "webm": ("vp9", "opus"), "mov": ("prores", "pcm_s24le"), "mkv": ("ffv1", "flac")}
PIXELS = {
    "mp4": ("yuv420p",) * 4,
    "webm": ("yuv420p",) * 4,
    "mov": ("yuv444p12le", "yuv422p10le", "yuv422p10le", "yuv422p10le"),  # what 4444 holds is decoded to 12 bits
    "mkv": ("gbrp16le", "gbrp12le", "gbrp10le", "bgr0"),
}
DEPTHS = dict(zip(QUALITIES, (16, 12, 10, 8), strict=True))
NTSC = Fraction(30_000, 1001)


def clip(frames: int, height: int, width: int, detail: float = 0.0) -> torch.Tensor:
    """Soft colours that drift, and detail that runs across."""
    torch.manual_seed(0)
    soft, fine = (
        F.interpolate(torch.rand(1, 3, *size), size=(height, width), mode="bicubic", align_corners=True)[0]
        .permute(1, 2, 0)
        .clamp(0, 1)
        for size in ((4, 4), (1 + height // 3, 1 + width // 3))
    )
    still = 0.1 + 0.6 * soft
    drift = torch.linspace(0, 0.2, frames)
    return torch.stack([still + drift[i] + detail * (fine.roll(2 * i, 1) - 0.5) for i in range(frames)]).clamp(0, 1)


def tone(seconds: float, rate: int, channels: int = 1) -> torch.Tensor:
    """300 Hz on the first channel, 100 more on each that follows."""
    turns = torch.arange(round(seconds * rate)) / rate * (300 + 100 * torch.arange(channels))[:, None]
    return 0.4 * torch.sin(2 * torch.pi * turns)


def opened(path):
    return av.open(str(path))


def frames_of(path) -> list[av.VideoFrame]:
    with opened(path) as file:
        return list(file.decode(video=0))


def planes_of(frame: av.VideoFrame) -> list[np.ndarray]:
    kind = np.uint8 if frame.format.components[0].bits == 8 else np.uint16
    lines = [np.frombuffer(plane, kind).reshape(plane.height, -1) for plane in frame.planes]
    across = 4 if frame.format.name == "bgr0" else 1
    return [line[:, : plane.width * across] for line, plane in zip(lines, frame.planes, strict=True)]


def rgb_of(frame: av.VideoFrame) -> np.ndarray:
    """0..1, by the definition of BT.709 in limited range; each chroma value is repeated for its pixels."""
    luma, blue, red = (plane.astype(float) for plane in planes_of(frame))
    for axis in (0, 1):
        if blue.shape[axis] < luma.shape[axis]:
            whole = range(luma.shape[axis])
            blue, red = blue.repeat(2, axis).take(whole, axis), red.repeat(2, axis).take(whole, axis)
    step = 2 ** (frame.format.components[0].bits - 8)
    y, pb, pr = (luma / step - 16) / 219, (blue / step - 128) / 224, (red / step - 128) / 224
    kr, kb = 0.2126, 0.0722
    r, b = y + 2 * (1 - kr) * pr, y + 2 * (1 - kb) * pb
    return np.stack((r, (y - kr * r - kb * b) / (1 - kr - kb), b), -1)


def seen(path) -> np.ndarray:
    """What FFmpeg shows, 0..1. PyAV before 17 did not mind a file's matrix."""
    return np.stack([frame.to_ndarray(format="rgb24") for frame in frames_of(path)]) / 255


def psnr(a, b) -> float:
    return float(-10 * np.log10(np.mean((np.asarray(a) - np.asarray(b)) ** 2)))


def heard(path) -> tuple[np.ndarray, int, float]:
    """(channels, samples), their rate, and when the first of them sounds"""
    with opened(path) as file:
        floats = av.AudioResampler(format="flt")
        frames = list(file.decode(audio=0))
        pieces = [piece for frame in frames for piece in floats.resample(frame)]
        channels = frames[0].layout.nb_channels
        sound = np.concatenate([piece.to_ndarray().reshape(-1, channels) for piece in pieces]).T
        return sound, file.streams.audio[0].rate, frames[0].time


def pitch(sound: np.ndarray, rate: int) -> float:
    return float(np.abs(np.fft.rfft(sound * np.hanning(len(sound)))).argmax() * rate / len(sound))


# ---- the file as a whole


@pytest.mark.parametrize("quality", QUALITIES)
@pytest.mark.parametrize("format", FORMATS)
def test_a_file_holds_what_was_asked_for(tmp_path, format, quality):
    source = clip(13, 48, 64)
    path = write(tmp_path / f"a.{format}", source.split(5), 25, (tone(0.52, 48_000, 2), 48_000), format, quality)
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]
    with opened(path) as file:
        assert [stream.type for stream in file.streams] == ["video", "audio"]
        picture, sound = file.streams.video[0], file.streams.audio[0]
        context = picture.codec_context
        assert (context.name, sound.codec_context.name) == CODECS[format]
        assert (context.width, context.height) == (64, 48)
        tags = (context.colorspace, context.color_primaries, context.color_trc, context.color_range)
        assert tags == ((0, 1, 13, 2) if format == "mkv" else (1, 1, 1, 1))
        assert picture.average_rate == 25
        assert picture.start_time == 0
        assert (sound.rate, sound.channels) == (48_000, 2)
        assert abs(file.duration / av.time_base - 0.52) <= 0.04
    frames = frames_of(path)
    assert len(frames) == 13
    assert frames[0].format.name == PIXELS[format][QUALITIES.index(quality)]
    assert [round(frame.time * 25, 3) for frame in frames] == list(range(13))
    least = {"mp4": 36, "webm": 33, "mov": 40, "mkv": 48}[format]  # FFmpeg itself shows more than 8 bits a little off
    assert psnr(seen(path), source) > least


@pytest.mark.parametrize("format", FORMATS)
def test_a_better_quality_is_a_larger_file_nearer_to_the_frames(tmp_path, format):
    source = clip(12, 96, 96, detail=0.4)
    paths = [write(tmp_path / f"{quality}.{format}", [source], 25, None, format, quality) for quality in QUALITIES]
    sizes = [path.stat().st_size for path in paths]
    assert sizes == sorted(sizes, reverse=True)
    assert all(after < 0.97 * before for before, after in pairwise(sizes))
    if format != "mkv":
        likeness = [np.mean([psnr(rgb_of(f), s) for f, s in zip(frames_of(p), source, strict=True)]) for p in paths]
        assert likeness == sorted(likeness, reverse=True)


@pytest.mark.parametrize("quality", QUALITIES)
@pytest.mark.parametrize("size", [(48, 64), (33, 47)])
def test_mkv_loses_nothing_of_its_depth(tmp_path, quality, size):
    depth = DEPTHS[quality]
    expected = np.random.default_rng(0).integers(0, 2**depth, (3, *size, 3))
    source = torch.from_numpy(expected / (2**depth - 1)).float()
    path = write(tmp_path / "a.mkv", [source], 25, None, "mkv", quality)
    for frame, whole in zip(frames_of(path), expected, strict=True):
        planes = planes_of(frame)
        if depth == 8:
            found = planes[0].reshape(*size, 4)[..., 2::-1]
        else:
            found = np.stack([planes[2], planes[0], planes[1]], -1)
        assert np.array_equal(found, whole)


@pytest.mark.parametrize("format", [*FORMATS, COPY])
def test_bytes_are_written_like_the_numbers_that_they_stand_for(tmp_path, format):
    """To a level of luma and of chroma, which together are four of blue: where tensors lie in memory decides which of
    those halfway between two levels goes up. Frames are smooth, since in noise an encoder makes much of that.
    """
    few = torch.rand(5, 3, 4, 6, generator=torch.Generator().manual_seed(0))
    frames = (F.interpolate(few, (33, 47), mode="bilinear").movedim(1, 3) * 255).byte().contiguous()
    label = Labels(visible=Label(ENGLISH, seconds=1))
    for name, given in (("bytes", frames), ("floats", frames.float() / 255)):
        write(tmp_path / name, [given], 3, format=format, labels=label)
    assert (tmp_path / "bytes").stat().st_size > 500
    off = np.abs(seen(tmp_path / "bytes") - seen(tmp_path / "floats"))
    assert off.max() <= (0 if format == COPY else 4.01 / 255)
    assert off.mean() < 0.05 / 255


@pytest.mark.parametrize("format", ["mp4", "webm", "mov"])
@pytest.mark.parametrize(
    "colour", [(1, 0, 0), (0, 1, 0), (0, 0, 1), (1, 1, 0), (0, 1, 1), (1, 0, 1), (0, 0, 0), (1, 1, 1)]
)
def test_colours_are_those_of_bt709(tmp_path, format, colour):
    source = torch.tensor(colour, dtype=torch.float32).expand(3, 32, 32, 3)
    path = write(tmp_path / f"a.{format}", [source], 25, None, format, "best")
    assert np.abs(rgb_of(frames_of(path)[1]) - np.array(colour)).max() < 4 / 255
    assert np.abs(seen(path) - np.array(colour)).max() < 5 / 255


def test_chroma_lies_where_decoders_look_for_it(tmp_path):
    """Between two rows, and on the left one of two columns."""
    ramp = torch.linspace(0, 1, 64)
    across = torch.stack((ramp, 0.5 + 0 * ramp, 1 - ramp), -1).expand(2, 64, 64, 3)
    for source, place in ((across, 2.0 * np.arange(32)), (across.transpose(1, 2), 2.0 * np.arange(32) + 0.5)):
        path = write(tmp_path / f"{len(list(tmp_path.iterdir()))}.mp4", [source], 25, None, "mp4", "best")
        red = planes_of(frames_of(path)[0])[2].astype(float)
        line = red[16] if source is across else red[:, 16]
        r, g, b = (np.interp(place, np.arange(64), channel) for channel in (ramp, 0 * ramp + 0.5, 1 - ramp))
        expected = 128 + 224 * (r - (0.2126 * r + 0.7152 * g + 0.0722 * b)) / 1.5748
        assert abs((line - expected)[2:-2].mean()) < 0.35  # half a column is 1.5 levels here


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("size", [(33, 48), (32, 47), (33, 47), (1, 1)])
def test_odd_sizes_lose_nothing(tmp_path, format, size):
    slope = torch.linspace(0, 0.3, size[0])[:, None] + torch.linspace(0, 0.3, size[1])
    source = (torch.tensor((0.1, 0.2, 0.4)) + slope[..., None]).expand(2, -1, -1, -1)  # of one chroma throughout
    path = write(tmp_path / f"a.{format}", [source], 25, None, format, "best")
    shown = seen(path)
    columns, rows = {"mp4": (2, 2), "mov": (2, 1)}.get(format, (1, 1))
    height, width = -(-size[0] // rows) * rows, -(-size[1] // columns) * columns
    assert shown.shape == (2, height, width, 3)
    extended = source[:, [*range(size[0]), *[size[0] - 1] * (height - size[0])]]
    extended = extended[:, :, [*range(size[1]), *[size[1] - 1] * (width - size[1])]]
    assert np.abs(shown - extended.numpy()).max() < 5 / 255


@pytest.mark.parametrize(
    ("fps", "exact"),
    [
        (25, 25),
        (25.0, 25),
        (12.5, Fraction(25, 2)),
        (29.97, NTSC),
        (30 / 1.001, NTSC),
        (Fraction(29.97), NTSC),
        (23.976, Fraction(24_000, 1001)),
        (23.98, Fraction(24_000, 1001)),
        (59.94, Fraction(60_000, 1001)),
        (30, 30),
        (24, 24),
        (100 / 3, Fraction(100, 3)),
        (0.5, Fraction(1, 2)),
        (1, 1),
        (1000, 1000),
    ],
)
def test_frame_rates_are_exact(fps, exact):
    assert frame_rate(fps) == exact


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("fps", [12.5, 29.97, 60])
def test_every_frame_lasts_as_long(tmp_path, format, fps):
    rate = frame_rate(fps)
    path = write(tmp_path / f"a.{format}", clip(31, 16, 16).split(7), fps, (tone(5, 16_000), 16_000), format)
    with opened(path) as file:
        assert file.streams.video[0].average_rate == rate
        assert abs(file.duration / av.time_base - 31 / rate) < 1 / rate + 0.02 * (format == "webm")  # a packet of Opus
        if format in ("mp4", "mov"):
            assert file.streams.video[0].frames == 31
            assert file.streams.video[0].duration * file.streams.video[0].time_base == 31 / rate
    times = [frame.pts * frame.time_base for frame in frames_of(path)]
    tick = 0 if format in ("mp4", "mov") else Fraction(1, 2000)  # Matroska counts milliseconds
    assert all(abs(time - index / rate) <= tick for index, time in enumerate(times))
    assert len(times) == 31


# ---- sound


@pytest.mark.parametrize(
    ("format", "rate", "channels", "kept"),
    [
        ("mp4", 16_000, 1, (16_000, 1)),
        ("mp4", 44_100, 2, (44_100, 2)),
        ("mp4", 44_101, 1, (48_000, 1)),
        ("mp4", 192_000, 2, (96_000, 2)),
        ("mp4", 48_000, 6, (48_000, 6)),
        ("webm", 16_000, 1, (48_000, 1)),
        ("webm", 44_100, 2, (48_000, 2)),
        ("webm", 48_000, 4, (48_000, 4)),
        ("mov", 22_050, 1, (22_050, 1)),
        ("mov", 192_000, 2, (192_000, 2)),
        ("mov", 48_000, 6, (48_000, 6)),
        ("mkv", 44_101, 1, (44_101, 1)),
        ("mkv", 96_000, 3, (96_000, 3)),
        ("mkv", 48_000, 12, (48_000, 1)),
    ],
)
def test_sound_keeps_its_rate_and_channels_where_the_format_can(tmp_path, caplog, format, rate, channels, kept):
    waveform = tone(0.5, rate, channels)
    with caplog.at_level(logging.INFO):
        path = write(tmp_path / f"a.{format}", [clip(12, 16, 16)], 25, (waveform, rate), format)
    sound, found, _ = heard(path)
    assert (found, len(sound)) == kept
    assert ("resampled" in caplog.text) == (rate != kept[0])
    assert ("mixed" in caplog.text) == (channels != kept[1])
    if channels == kept[1]:
        for index, channel in enumerate(sound):
            if (channels, index) != (6, 3):  # the fourth of six holds only the deepest tones
                assert abs(pitch(channel[: round(0.4 * found)], found) - (300 + 100 * index)) < 3
                assert 0.3 < np.abs(channel[found // 10 : found // 3]).max() < 0.5


@pytest.mark.parametrize("format", ["mov", "mkv"])
def test_sound_of_16_bits_comes_back_exactly(tmp_path, format):
    values = np.random.default_rng(0).integers(-32_768, 32_768, (2, 8_820))
    waveform = torch.from_numpy(values / 32_768).float()
    path = write(tmp_path / f"a.{format}", [clip(5, 16, 16)], 25, (waveform, 44_100), format)
    assert np.array_equal(np.round(heard(path)[0] * 32_768).astype(int), values)
    sound = Film(path).sound()
    assert sound is not None
    assert torch.equal(sound[0], waveform)
    assert sound[1] == 44_100


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize(("fps", "rate"), [(25, 16_000), (29.97, 44_100)])
def test_a_click_is_heard_when_its_frame_is_seen(tmp_path, format, fps, rate):
    source, marked = torch.zeros(40, 32, 32, 3), 27
    source[marked] = 1
    click = torch.zeros(1, 2 * rate)
    start = round(marked / float(frame_rate(fps)) * rate)
    click[:, start : start + rate // 1000] = 0.9
    path = write(tmp_path / f"a.{format}", source.split(9), fps, (click, rate), format)
    (bright,) = (frame.time for frame in frames_of(path) if planes_of(frame)[0].mean() > 100)
    sound, found, begin = heard(path)
    loud = np.abs(sound[0]) > np.abs(sound[0]).max() / 2
    assert abs(begin + loud.argmax() / found - bright) < 0.002


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("seconds", [0.01, 0.3, 0.8, 3.0])
def test_sound_ends_with_the_picture(tmp_path, format, seconds):
    """20 frames are 0.8 s."""
    path = write(tmp_path / f"a.{format}", clip(20, 16, 16).split(6), 25, (tone(seconds, 24_000), 24_000), format)
    sound, rate, _ = heard(path)
    packet = 1024 if format == "mp4" else 0  # decoders may not cut the last one to what the file says is heard
    assert 0 <= sound.shape[1] - 0.8 * rate <= packet
    with opened(path) as file:
        track = file.streams.audio[0]
        if track.duration is not None:
            assert track.duration * track.time_base == Fraction(4, 5)
    silence = sound[0, round(min(seconds, 0.8) * rate) + packet :]
    assert np.abs(silence).max(initial=0) < 0.02
    if seconds > 0.1:
        assert np.abs(sound[0, : round(min(seconds, 0.8) * rate)]).max() > 0.3


@pytest.mark.parametrize(("frames", "samples"), [(301, 442_912), (302, 444_384)])
def test_sound_does_not_drift_where_frames_are_no_whole_samples(tmp_path, frames, samples):
    """At 30000/1001 frames a second one lasts 1471.47 samples: the film ends at the nearest, and nothing is moved."""
    sound = torch.zeros(1, 500_000)
    sound[:, 440_000] = 0.9
    path = write(tmp_path / "a.mkv", torch.zeros(frames, 2, 2, 3).split(16), 29.97, (sound, 44_100), "mkv")
    found, _, begin = heard(path)
    assert (begin, found.shape[1], np.abs(found[0]).argmax()) == (0, samples, 440_000)


@pytest.mark.parametrize("format", FORMATS)
def test_sound_too_loud_is_cut_off(tmp_path, format):
    """Far beyond 1, ComfyUI may give whole numbers of 32 bits, encoders wrap it or never come back."""
    loud = 1e6 * tone(0.2, 48_000)
    path = write(tmp_path / f"a.{format}", [clip(5, 16, 16)], 25, (loud, 48_000), format)
    sound = heard(path)[0][0, : loud.shape[1]]
    assert 0.9 < np.mean(sound * loud[0].sign().numpy()) < 1.1
    if format in ("mov", "mkv"):
        assert np.abs(sound - loud[0].clamp(-1, 1).numpy()).max() < 2**-22


@pytest.mark.parametrize("format", FORMATS)
def test_a_video_may_be_silent(tmp_path, format):
    path = write(tmp_path / f"a.{format}", [clip(3, 16, 16)], 25, None, format)
    with opened(path) as file:
        assert [stream.type for stream in file.streams] == ["video"]
    assert Film(path).sound() is None


# ---- what comes along


METADATA = {
    "workflow": {"nodes": [{"text": 'a } b {{ "c" \\" 你好 é'}], "value": float("nan")},
    "prompt": {"1": {"is_changed": [float("inf"), None, True], "inputs": {"text": "NaN stays in a text"}}},
}
RESTORED = {
    "workflow": {"nodes": [{"text": 'a } b {{ "c" \\" 你好 é'}], "value": None},
    "prompt": {"1": {"is_changed": [None, None, True], "inputs": {"text": "NaN stays in a text"}}},
}


@pytest.mark.parametrize("format", FORMATS)
def test_the_workflow_is_in_the_file(tmp_path, format):
    path = write(tmp_path / f"a.{format}", [clip(3, 16, 16)], 25, None, format, metadata=METADATA)
    with opened(path) as file:
        tags = {key.lower(): value for key, value in file.metadata.items()}
    for key, value in RESTORED.items():
        assert json.loads(tags[key], parse_constant=pytest.fail) == value
        assert tags[key].isascii()
        depth = np.cumsum([(letter == "{") - (letter == "}") for letter in tags[key]])
        assert (depth[:-1] > 0).all()  # ComfyUI's page counts braces, those in texts as well, to find the end
        assert depth[-1] == 0


def boxes(data: bytes) -> dict[str, bytes]:
    found, at = {}, 0
    while at < len(data):
        size = int.from_bytes(data[at : at + 4], "big")
        found[data[at + 4 : at + 8].decode("latin1")] = data[at + 8 : at + size]
        at += size
    return found


@pytest.mark.parametrize("format", ["mp4", "mov"])
def test_the_head_of_an_mp4_comes_first_and_holds_the_workflow_where_comfyui_looks(tmp_path, format):
    path = write(tmp_path / f"a.{format}", [clip(3, 16, 16)], 25, None, format, metadata=METADATA)
    outer = boxes(path.read_bytes())
    assert list(outer).index("moov") < list(outer).index("mdat")
    meta = boxes(boxes(boxes(outer["moov"])["udta"])["meta"][4:])
    assert meta["keys"].index(b"mdtaworkflow") < meta["keys"].index(b"mdtaprompt")
    assert b'{"nodes"' in meta["ilst"]


@pytest.mark.parametrize("format", ["webm", "mkv"])
def test_the_workflow_stands_before_the_pictures(tmp_path, format):
    """ComfyUI's page reads the first two megabytes of a webm."""
    path = write(tmp_path / f"a.{format}", [clip(3, 16, 16)], 25, None, format, metadata=METADATA)
    data = path.read_bytes()
    assert 0 < data.index(b"WORKFLOW") < data.index(b'{"nodes"') < data.index(b"\x1f\x43\xb6\x75")  # a Cluster


# ---- frames as they come


def test_frames_are_taken_as_they_are_made(tmp_path):
    """No name is taken and little is kept until the last frame has come."""
    sizes = []

    def made():
        for _ in range(20):
            yield torch.rand(2, 64, 64, 3)
            (part,) = tmp_path.rglob("*.part")
            sizes.append(part.stat().st_size)

    path = write(tmp_path / "a.mkv", made(), 25, None, "mkv")
    assert sizes[5] > path.stat().st_size / 8
    assert len(frames_of(path)) == 40


@pytest.mark.parametrize("shape", [(4,), (1, 3), (0, 2, 0, 2)])
def test_batches_of_any_length_give_the_same_file(tmp_path, monkeypatch, shape):
    source = clip(4, 18, 18)
    monkeypatch.setattr(video, "PIECE", 2 * 18 * 18)
    path = write(tmp_path / "a.mkv", source.split(list(shape)), 25, (tone(1, 8_000), 8_000), "mkv")
    whole = write(tmp_path / "b.mkv", [source], 25, (tone(1, 8_000), 8_000), "mkv")
    assert np.array_equal(seen(path), seen(whole))
    assert np.array_equal(heard(path)[0], heard(whole)[0])


@pytest.mark.skipif(
    not hasattr(os, "sched_setaffinity") or len(os.sched_getaffinity(0)) < 2, reason="it takes two cores, on Linux"
)
def test_an_mp4_is_the_same_on_any_number_of_cores(tmp_path):
    source, cores = clip(8, 128, 128), os.sched_getaffinity(0)
    for name, some in (("all", cores), ("one", {min(cores)})):
        try:
            os.sched_setaffinity(0, some)
            write(tmp_path / f"{name}.mp4", [source], 25, None)
        finally:
            os.sched_setaffinity(0, cores)
    assert (tmp_path / "all.mp4").read_bytes() == (tmp_path / "one.mp4").read_bytes()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_precisions_values_beyond_and_gradients(tmp_path, dtype):
    source = (clip(2, 16, 16) * 2 - 0.5).to(dtype).requires_grad_()
    path = write(tmp_path / "a.mkv", [source], 25, None, "mkv", "small")
    expected = source.detach().float().clamp(0, 1).mul(255).round()
    assert np.array_equal(np.round(seen(path) * 255), expected)


def test_grey_and_transparent_frames(tmp_path):
    grey, alpha = torch.rand(1, 16, 16, 1), torch.rand(1, 16, 16, 1)
    colour = torch.rand(1, 16, 16, 3)
    for channels, expected in (
        (grey, grey.expand(-1, -1, -1, 3)),
        (torch.cat((grey, alpha), 3), grey * alpha + 1 - alpha),
        (torch.cat((colour, alpha), 3), colour * alpha + 1 - alpha),
    ):
        path = write((tmp_path / f"{n}.mkv" for n in count()), [channels], 25, None, "mkv", "small")
        assert np.abs(seen(path) - expected.numpy()).max() <= 0.5001 / 255


# ---- names


def test_nothing_is_overwritten(tmp_path):
    path = tmp_path / "folder" / "a.mp4"
    assert write(path, [clip(2, 16, 16)], 25) == path
    before = path.read_bytes()

    def never():
        pytest.fail("frames were made in vain")
        yield

    with pytest.raises(VideoError, match="already exists"):
        write(path, never(), 25)
    later = write((path.with_stem(f"a_{n}" if n else "a") for n in count()), [clip(3, 16, 16)], 25)
    assert later.name == "a_1.mp4"
    assert path.read_bytes() == before
    assert len(list(path.parent.iterdir())) == 2


def test_a_name_taken_meanwhile_is_left_alone(tmp_path):
    path = tmp_path / "a.mkv"

    def made():
        yield clip(2, 16, 16)
        path.write_text("somebody else's")

    with pytest.raises(VideoError, match="already exists"):
        write(path, made(), 25, None, "mkv")
    assert path.read_text() == "somebody else's"
    assert list(tmp_path.iterdir()) == [path]


KILLED = """
import sys, time, torch
from joyhallo.film.write import write

def batches():
    while True:
        yield torch.rand(8, 64, 64, 3)
        print("written", flush=True)

write(sys.argv[1], batches(), 25)
"""


def test_what_a_kill_leaves_goes_with_the_next_save(tmp_path):
    process = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(tmp_path / "a.mp4")],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
    )
    assert process.stdout is not None
    with process.stdout as told:
        assert told.readline() == b"written\n"
        write(tmp_path / "b.mp4", [clip(2, 16, 16)], 25)
        assert list(tmp_path.rglob("*.part")) != []  # it is still being written
        process.kill()
        process.wait()
    for path in tmp_path.rglob("*"):
        os.utime(path, times=(time.time() - 60,) * 2)
    write(tmp_path / "c.mp4", [clip(2, 16, 16)], 25)
    assert {path.name for path in tmp_path.iterdir()} == {"b.mp4", "c.mp4"}


@pytest.mark.parametrize("links", [True, False])
def test_a_kill_at_the_end_leaves_no_empty_file(tmp_path, monkeypatch, links):
    """Where the disk has links, there is no moment at which the name exists and its file is not complete."""
    seen = []

    def watched(self, target):
        seen.append((tmp_path / "a.mp4").exists())
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(Path, "replace" if links else "hardlink_to", watched)
    assert write(tmp_path / "a.mp4", [clip(2, 16, 16)], 25).stat().st_size > 1000
    assert seen == ([] if links else [False])
    assert [path.name for path in tmp_path.iterdir()] == ["a.mp4"]


def test_an_unfinished_video_that_somebody_deletes(tmp_path):
    labels = Labels(sign=lambda path: shutil.rmtree(tmp_path))
    with pytest.raises(VideoError, match=r"The unfinished video in .* was deleted while it was being written"):
        write(tmp_path / "a.mkv", [clip(2, 16, 16)], 25, labels=labels)


def test_saves_at_the_same_time_get_names_of_their_own(tmp_path):
    together, saved = threading.Barrier(4), []

    def save(frames: int) -> None:
        def made():
            yield clip(frames, 16, 16)
            together.wait(20)

        names = (tmp_path / f"a_{n:05}_.mkv" for n in count(1))
        saved.append((write(names, made(), 25, None, "mkv"), frames))

    threads = [threading.Thread(target=save, args=(frames,)) for frames in (2, 3, 4, 5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(path.name for path, _ in saved) == [f"a_{n:05}_.mkv" for n in range(1, 5)]
    assert all(len(frames_of(path)) == frames for path, frames in saved)
    assert len(list(tmp_path.iterdir())) == 4


class Cancelled(Exception):
    pass


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("error", [Cancelled, KeyboardInterrupt])
@pytest.mark.parametrize("batches", [0, 1, 9])
def test_what_stops_the_frames_leaves_nothing(tmp_path, format, error, batches):
    def made():
        for _ in range(batches):
            yield clip(8, 32, 32)
        raise error

    with pytest.raises(error):
        write(tmp_path / f"a.{format}", made(), 25, (tone(1, 16_000), 16_000), format)
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_a_full_disk_is_named_and_nothing_is_left(tmp_path):
    pytest.importorskip("resource", reason="file sizes are limited on POSIX only")
    code = f"""
import resource, torch
from pathlib import Path
from joyhallo.film.write import FORMATS, VideoError, write
folder = Path({str(tmp_path)!r})
frames, sound = torch.rand(20, 64, 64, 3), (torch.rand(1, 16_000) - 0.5, 16_000)
for format in FORMATS:
    whole = write(folder / f"whole.{{format}}", frames.split(4), 25, sound, format)
    size = whole.stat().st_size
    for limit in (0, 100, size // 3, size - 1, size):
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
        try:
            write(folder / f"small.{{format}}", frames.split(4), 25, sound, format).unlink()
            assert limit == size, (format, limit, size)
        except VideoError as error:
            assert limit < size and "disk is full" in str(error), (format, limit, size, error)
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        assert not [path for path in folder.iterdir() if not path.name.startswith("whole")], (format, limit)
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert len(list(tmp_path.iterdir())) == len(FORMATS)


# ---- what cannot be done


GOOD = torch.zeros(2, 16, 16, 3)


def test_a_frame_that_is_not_finite_is_named_by_its_number_in_the_film(monkeypatch):
    monkeypatch.setattr(video, "PIECE", 8)  # pixels: two frames
    batch = torch.zeros(7, 2, 2, 3)
    batch[5, 1, 1, 0] = float("nan")
    with pytest.raises(VideoError, match="Frame 15 holds"):
        list(video.pieces(batch, seen=10))


@pytest.mark.parametrize(
    ("batches", "words"),
    [
        ([], "no frame"),
        ([GOOD[:0]], "no frame"),
        ([GOOD, GOOD.log()], r"Frame 2 holds values that are not numbers"),
        ([torch.cat((GOOD, 1 / GOOD[:1]))], r"Frame 2 holds values that are not numbers"),
        ([GOOD, torch.zeros(1, 16, 18, 3)], "Frame 2 is 18x16 pixels, but those before it are 16x16"),
        ([GOOD[0]], r"shape \(16, 16, 3\)"),
        ([torch.zeros(1, 3, 16, 16)], r"shape \(1, 3, 16, 16\)"),
        ([torch.zeros(1, 0, 16, 3)], r"shape \(1, 0, 16, 3\)"),
        ([GOOD.short()], "torch.int16"),
        ([torch.zeros(1, 2, 17_000, 3)], r"libx264 failed after 0 frames of 17000x2 \(Generic error.*; choose another"),
    ],
)
def test_frames_that_cannot_be_used_are_named(tmp_path, batches, words):
    with pytest.raises(VideoError, match=words):
        write(tmp_path / "a.mp4", batches, 25)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"fps": 0}, VideoError, "frame rate is 0"),
        ({"fps": -25}, VideoError, "frame rate is -25"),
        ({"fps": float("nan")}, VideoError, "frame rate is nan"),
        ({"fps": float("inf")}, VideoError, "frame rate is inf"),
        ({"fps": 1001}, VideoError, "up to 1000"),
        ({"format": "avi"}, VideoError, "format 'avi' is unknown; choose one of mp4, webm, mov, mkv"),
        ({"quality": "ultra"}, VideoError, "quality 'ultra' is unknown"),
        ({"sound": (torch.zeros(2, 1, 100), 16_000)}, AudioError, "batch of 2"),
        ({"sound": (torch.zeros(1, 1, 0), 16_000)}, AudioError, "empty"),
        ({"sound": (torch.zeros(1, 9).log(), 16_000)}, AudioError, "not numbers"),
        ({"sound": (torch.cat((tone(20, 16_000), tone(1, 16_000) / 0), 1), 16_000)}, AudioError, r"at 20\.000 s"),
        ({"sound": (torch.zeros(1, 100, dtype=torch.int16), 16_000)}, AudioError, "int16"),
        ({"sound": (torch.zeros(1, 100), 0)}, AudioError, "sample rate is 0"),
    ],
)
def test_what_is_wrong_is_said_before_frames_are_made(tmp_path, change, error, words):
    def never():
        pytest.fail("frames were made in vain")
        yield

    with pytest.raises(error, match=words):
        write(**{"names": tmp_path / "a.mp4", "batches": never(), "fps": 25, **change})
    assert not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_is_named_before_frames_are_made(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(VideoError, match=r"cannot be written to .*file"):
        write(tmp_path / "file" / "a.mp4", iter(()), 25)


def test_a_missing_library_is_named_with_the_cure(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(LibraryError, match=r"Writing videos needs the library av.*-m pip install \"av\""):
        write(tmp_path / "a.mp4", [GOOD], 25)
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_nothing_heavy_is_imported_before_it_is_used():
    code = "import sys, joyhallo.film.write; print(*({'av', 'soxr', 'soundfile'} & sys.modules.keys()))"
    done = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
