"""What ComfyUI's own nodes make of the sampler's video: whole or in part, as any file.

Versions newer than that of the tests encode a file's frames again without holding them, keep its colour tags whatever
they do to its pixels, and can trim. Where ComfyUI cannot do so, stand-ins do.
"""

from __future__ import annotations

import io
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import torch

from joyhallo.film.write import COPY, write

COUNT, SIZE, RATE, SOUND = 25, 64, 25, 16_000
TAGS = ("colorspace", "color_primaries", "color_trc", "color_range")
LEVELS = 6  # of 255, that chroma shared by four pixels and a coarse encoder may be off, in the mean of a frame


class NewerVideo:
    """Replaces methods of VideoFromFile."""

    def __init__(self, file, *, start_time=0.0, duration=0.0):
        self.file, self.start, self.length = file, start_time, duration

    def get_stream_source(self):
        return self.file

    def get_duration(self):
        with av.open(self.file) as file:
            left = file.duration / 1e6 - self.start
        return min(self.length, left) if self.length else left

    def as_trimmed(self, start_time=0, duration=0, strict_duration=True):
        from comfy_api.latest import InputImpl

        trimmed = InputImpl.VideoFromFile(self.file, start_time=start_time + self.start, duration=duration)
        return None if trimmed.get_duration() < duration and strict_duration else trimmed

    def save_to(self, path, format="auto", codec="auto", metadata=None, bit_depth=None, crf=None, color_space=None):
        end = self.start + self.length if self.length else float("inf")
        with av.open(self.file) as source, av.open(path, "w") as target:
            read = source.streams.video[0]
            made = target.add_stream("libsvtav1" if codec == "av1" else "libx264", rate=read.average_rate)
            made.width, made.height, made.pix_fmt = read.width, read.height, "yuv420p"
            made.options = {} if crf is None else {"crf": f"{crf}"}
            for tag in TAGS:
                setattr(made.codec_context, tag, getattr(read, tag))
            for frame in source.decode(read):
                if self.start <= frame.time < end:
                    changed = frame.reformat(format="yuv420p")
                    for tag in TAGS:
                        setattr(changed, tag, getattr(read, tag))
                    changed.pts = None
                    target.mux(made.encode(changed))
            target.mux(made.encode(None))


@pytest.fixture
def newer(pack, monkeypatch):
    from comfy_api.latest import InputImpl

    kind = InputImpl.VideoFromFile
    if not hasattr(kind, "as_trimmed"):
        for name, method in vars(NewerVideo).items():
            if callable(method):
                monkeypatch.setattr(kind, name, method, raising=False)


@pytest.fixture
def frames():
    """Of strong colours, darker from left to right; a bright bar says which frame it is."""
    ramp = torch.linspace(0.9, 0.3, SIZE)
    picture = torch.stack([ramp, 0.2 * ramp, 0.5 * ramp.flip(0)], dim=-1).expand(COUNT, SIZE, SIZE, 3).clone()
    for index, frame in enumerate(picture):
        frame[: 2 * index + 2, :8] = 1
    return (picture * 255).round() / 255


@pytest.fixture
def video(pack, frames, tmp_path):
    tone = torch.sin(torch.arange(SOUND) / 8)[None] / 4
    path = write(tmp_path / "copy.mkv", frames.split(7), RATE, (tone, SOUND), COPY)
    return pack.nodes.video.WorkingCopy(path, COUNT)


def as_a_browser_shows(path: Path | io.BytesIO) -> torch.Tensor:
    """The frames of a file, by BT.709 in its limited range, which it must claim to be in."""
    pictures = []
    with av.open(path if isinstance(path, io.BytesIO) else str(path)) as file:
        stream = file.streams.video[0]
        assert (stream.colorspace, stream.color_range) == (1, 1)
        for frame in file.decode(stream):
            planes = frame.reformat(format="yuv444p").to_ndarray().astype(np.float32)
            luma, blue, red = (planes[0] - 16) / 219, (planes[1] - 128) / 224, (planes[2] - 128) / 224
            r, b = luma + 1.5748 * red, luma + 1.8556 * blue
            pictures.append(np.stack([r, (luma - 0.2126 * r - 0.0722 * b) / 0.7152, b], -1).clip(0, 1))
    return torch.from_numpy(np.stack(pictures))


def far(found: torch.Tensor, expected: torch.Tensor) -> float:
    """Levels of 255 by which frames differ, away from the bar; bars must agree."""
    assert found.shape == expected.shape
    bars = (found[:, :, 2].mean(-1) > 0.85).sum(1), (expected[:, :, 2].mean(-1) > 0.85).sum(1)
    assert (bars[0] - bars[1]).abs().max() <= 1
    return float((found - expected)[:, :, 16:].abs().mean((1, 2, 3)).max() * 255)


@pytest.mark.parametrize(
    ("name", "wishes"),
    [
        ("saved.mp4", {"format": "mp4", "codec": "h264"}),
        ("saved.mp4", {"format": "mp4", "codec": "h264", "bit_depth": 8}),
        ("saved.mp4", {"format": "mp4", "codec": "h264", "crf": 20.0}),
        ("saved.mp4", {"format": "mp4", "codec": "av1"}),
        ("saved.mkv", {"format": "mkv", "codec": "h264"}),
        ("saved.webm", {"format": "webm", "codec": "auto"}),
    ],
)
def test_saved_as_anything_the_colours_are_right(newer, video, frames, tmp_path, name, wishes):
    if wishes["format"] == "webm" and wishes["codec"] == "auto":
        wishes = {**wishes, "codec": "av1"}
    video.save_to(str(tmp_path / name), **wishes)
    assert far(as_a_browser_shows(tmp_path / name), frames) < LEVELS


def test_a_rate_factor_of_zero_is_a_wish(newer, video, frames, tmp_path):
    """It means without loss; ours alone would be smaller."""
    for name, wishes in (("exact.mp4", {"crf": 0.0}), ("ours.mp4", {})):
        video.save_to(str(tmp_path / name), format="mp4", codec="h264", **wishes)
    exact, ours = (as_a_browser_shows(tmp_path / name) for name in ("exact.mp4", "ours.mp4"))
    assert far(exact, frames) < far(ours, frames)
    assert not list(tmp_path.glob("*.mov"))


def test_a_part_is_saved_with_the_right_frames_and_colours(newer, video, frames, tmp_path):
    part = video.as_trimmed(0.2, 0.4)
    part.save_to(str(tmp_path / "part.mp4"), format="auto", codec="auto")
    assert far(as_a_browser_shows(tmp_path / "part.mp4"), frames[5:15]) < LEVELS
    with av.open(str(tmp_path / "part.mp4")) as file:
        assert float(file.streams.audio[0].duration * file.streams.audio[0].time_base) == pytest.approx(0.4, abs=0.07)


@pytest.mark.parametrize(
    ("start", "duration", "expected"),
    [(0, 0, range(25)), (0.4, 0, range(10, 25)), (-0.2, 0, range(20, 25)), (0.5, 0.1, range(13, 15))],
)
def test_a_part_holds_the_frames_of_its_time(newer, video, frames, start, duration, expected):
    part = video.as_trimmed(start, duration)
    components = part.get_components()
    assert torch.equal(components.images, frames[expected.start : expected.stop])
    assert part.get_frame_count() == len(expected)
    assert components.frame_rate == RATE
    assert components.audio["waveform"].shape[-1] == round(len(expected) * SOUND / RATE)


def test_a_part_of_a_part(newer, video, frames):
    part = video.as_trimmed(0.2, 0.6).as_trimmed(0.2, 0.2)
    assert torch.equal(part.get_components().images, frames[10:15])


def test_a_part_keeps_the_file(newer, video):
    part, path = video.as_trimmed(0, 0.4), video.path
    del video
    assert path.exists()
    assert part.get_frame_count() == 10


def test_too_long_a_part_is_refused_as_comfyui_refuses_it(newer, video):
    assert video.as_trimmed(0.5, 3) is None
    assert video.as_trimmed(0.5, 3, strict_duration=False).get_frame_count() == 12


def test_the_number_of_frames_is_known(newer, video):
    assert video.get_frame_count() == COUNT


def test_into_memory_it_goes_as_a_file_that_plays(newer, video, frames):
    buffer = io.BytesIO()
    video.save_to(buffer, format="mp4", codec="h264")
    buffer.seek(0)
    assert far(as_a_browser_shows(buffer), frames) < LEVELS
    buffer.seek(0)
    with av.open(buffer) as file:
        assert file.streams.audio[0].codec_context.name == "aac"
        assert file.streams.video[0].average_rate == Fraction(RATE)
