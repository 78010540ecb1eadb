"""`write` encodes frames and sound to a video file in one pass, as frames come, without keeping them in memory."""

from __future__ import annotations

import json
import logging
import math
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from fractions import Fraction
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from ..files.scratch import scratch
from ..files.space import DISK_FULL
from ..libraries import brief, library
from ..sound.audio import BLOCK, AudioError, Sound, as_channels, checked_rate, resampled
from .marks import Labels

log = logging.getLogger(__name__)

Name = str | PathLike[str]

RATES_OF_FILM = (24, 30, 48, 60, 120)  # these are also used slower by 1000 / 1001, and then called 23.976, 29.97, ...
FASTEST = 1000
BACKGROUND = 1.0  # transparent areas become white, like those of portraits
PIECE = 1 << 20  # pixels converted at a time
LAYOUTS = {1: "mono", 2: "stereo", 3: "3.0", 4: "quad", 6: "5.1"}  # every format keeps these in their order


class VideoError(ValueError):
    """A video cannot be written; the message is for the user."""


# ---- formats


@dataclass(frozen=True)
class Colours:
    """Colour codes of ITU-T H.273, which FFmpeg and the files use."""

    matrix: int
    primaries: int
    transfer: int
    range: int  # 1: 8-bit black is 16 and white 235; 2: 0 and 255


@dataclass(frozen=True)
class Pixels:
    name: str  # FFmpeg's
    bits: int
    sharing: tuple[int, int] = (1, 1)  # columns and rows of pixels that share a chroma value
    colours: Colours = Colours(matrix=1, primaries=1, transfer=1, range=1)  # BT.709

    @property
    def is_rgb(self) -> bool:
        return not self.colours.matrix


@dataclass(frozen=True)
class Grade:
    """The settings of one quality in one format."""

    pixels: Pixels
    encoder: Mapping[str, str] = field(default_factory=dict)  # its options
    bit_rate: int = 0  # of each channel of sound; 0 if the sound is lossless


@dataclass(frozen=True)
class Format:
    container: str
    options: Mapping[str, str]
    video: str
    audio: str
    samples: str  # fltp: floats, channel by channel; flt: floats, s32: whole numbers, the channels interleaved
    rates: tuple[int, ...]  # of the sound, rising; none: any
    grades: Mapping[str, Grade]
    multiple: tuple[int, int] = (1, 1)  # the width and the height must be divisible by these


YUV420 = Pixels("yuv420p", 8, (2, 2))
YUV422 = Pixels("yuv422p10le", 10, (2, 1))
YUV444 = Pixels("yuv444p10le", 10)
SRGB = Colours(matrix=0, primaries=1, transfer=13, range=2)
AAC_RATES = (7350, 8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000, 64000, 88200, 96000)
TAGGED = {"movflags": "+faststart+use_metadata_tags"}  # plays while it loads, holds tags of any name
QUALITIES = ("best", "high", "medium", "small")


def _h264(crf: int, bit_rate: int) -> Grade:
    """As many threads on every machine: by default there is one for a core, and each has its slice of the picture."""
    threads = {"threads": "4", "thread_type": "frame"}
    return Grade(YUV420, {"crf": f"{crf}", "preset": "medium", **threads}, bit_rate)


def _vp9(crf: int, bit_rate: int) -> Grade:
    speed = {"deadline": "good", "cpu-used": "4", "row-mt": "1", "tile-columns": "2"}
    return Grade(YUV420, {"crf": f"{crf}", "b": "0", **speed}, bit_rate)


def _prores(profile: int, pixels: Pixels) -> Grade:
    return Grade(pixels, {"profile": f"{profile}", "vendor": "apl0"})


def _ffv1(bits: int) -> Grade:
    name = "bgr0" if bits == 8 else f"gbrp{bits}le"
    return Grade(Pixels(name, bits, colours=SRGB), {"level": "3", "g": "1", "slicecrc": "1"})


def _graded(*grades: Grade) -> dict[str, Grade]:
    return dict(zip(QUALITIES, grades, strict=True))


FORMATS: Mapping[str, Format] = {
    "mp4": Format(
        container="mp4",
        options=TAGGED,
        video="libx264",
        audio="aac",
        samples="fltp",
        rates=AAC_RATES,
        grades=_graded(_h264(13, 160_000), _h264(18, 128_000), _h264(23, 96_000), _h264(29, 64_000)),
        multiple=(2, 2),
    ),
    "webm": Format(
        container="webm",
        options={},
        video="libvpx-vp9",
        audio="libopus",
        samples="flt",
        rates=(48_000,),
        grades=_graded(_vp9(15, 128_000), _vp9(24, 96_000), _vp9(32, 64_000), _vp9(42, 40_000)),
    ),
    "mov": Format(
        container="mov",
        options=TAGGED,
        video="prores",  # prores_ks takes seven times as long, and loses the last column's colour at odd widths
        audio="pcm_s24le",
        samples="s32",
        rates=(),
        grades=_graded(_prores(4, YUV444), _prores(3, YUV422), _prores(2, YUV422), _prores(1, YUV422)),
        multiple=(2, 1),
    ),
    "mkv": Format(
        container="matroska",
        options={},
        video="ffv1",
        audio="flac",
        samples="s32",
        rates=(),
        grades=_graded(*map(_ffv1, (16, 12, 10, 8))),
    ),
}
AS_THEY_ARE = "rgb24"  # pixels in the order of ours
COPY = "copy"  # for passing videos between nodes: lossless for 8 bits, and fast to write and read
WORKING_COPY = Format(
    container="matroska",
    options={"cluster_size_limit": str(1 << 20)},  # bytes that are held until they are written: by default 5 MB
    video="libx264rgb",
    audio="flac",
    samples="s32",
    rates=(),
    grades=dict.fromkeys(QUALITIES, Grade(Pixels(AS_THEY_ARE, 8, colours=SRGB), {"qp": "0", "preset": "ultrafast"})),
)
HANDOVER = "handover"  # for programs that encode again: loses nothing but what any mp4 loses in its colours
HANDED_OVER = Format(
    container="mov",
    options=TAGGED,
    video="libx264",
    audio="pcm_s24le",
    samples="s32",
    rates=(),
    grades=dict.fromkeys(QUALITIES, Grade(YUV420, {"qp": "0", "preset": "ultrafast"})),
    multiple=(2, 2),
)
INTERNAL = {COPY: WORKING_COPY, HANDOVER: HANDED_OVER}  # not offered to users


# ---- entry points


def write(
    names: Name | Iterable[Name],
    batches: Iterable[Tensor],
    fps: float | Fraction,
    sound: Sound | None = None,
    format: str = "mp4",
    quality: str = "high",
    metadata: Mapping[str, Any] | None = None,
    labels: Labels | None = None,
) -> Path:
    """Encode frames as they come, and return the path of the file.

    names: one, or several in one folder, of which the first that is free when the file is complete is used. Nothing is
        ever overwritten, and a file under any of the names is complete.
    batches: tensors (n, height, width, channels) in 0..1. Values beyond are clipped, transparent areas become white. Or
        (n, height, width, 3) of bytes, which cost least.
    sound: cut at the end of the picture, or filled up with silence.
    metadata: kept as JSON, under its names.
    labels: that say how the film was made.
    """
    labels = labels or Labels()
    facts, grade = _chosen(format, quality)
    rate, track = check(fps, sound), None if sound is None else SoundTrack(sound, facts)
    paths = map(Path, [names] if isinstance(names, str | PathLike) else names)
    path = next(paths)
    if isinstance(names, str | PathLike) and path.exists():
        raise _taken(path)
    with _temporary(path.parent) as temporary:
        tags = {**{key: as_json(value) for key, value in (metadata or {}).items()}, **labels.tags}
        with File(temporary, facts, grade, rate, track, tags, path.parent) as file:
            for batch in batches:
                for piece in pieces(batch, file.count):
                    file.add(piece if labels.visible is None else labels.visible.on(as_floats(piece), file.count, rate))
                batch = piece = None  # or they would be held while the next are made
            file.finish()
        if labels.sign is not None:
            labels.sign(temporary)
        return _placed(temporary, path, paths)


def check(fps: float | Fraction, sound: Sound | None) -> Fraction:
    """Check frame rate and sound before there are frames; returns the exact frame rate."""
    rate = frame_rate(fps)
    if sound is not None:
        waveform = as_channels(sound[0])
        checked_rate(sound[1])
        for start, block in enumerate(waveform.split(BLOCK, dim=1)):
            if not block.isfinite().all():
                second = (start * BLOCK + int((~block.isfinite()).any(0).nonzero()[0])) / sound[1]
                raise AudioError(
                    f"The sound holds values that are not numbers (NaN or infinite) at {second:.3f} s. The step that "
                    "made it failed; make it again."
                )
    return rate


def frame_rate(fps: float | Fraction) -> Fraction:
    """The exact frame rate: 29.97 and its neighbours mean 30000/1001, 12.5 means 25/2."""
    if not math.isfinite(fps) or not 1 / FASTEST <= fps <= FASTEST:
        raise VideoError(
            f"The frame rate is {float(fps):g}; expected a number above 0 and up to {FASTEST}, such as 25."
        )
    for whole in RATES_OF_FILM:
        if abs(fps - (slowed := Fraction(whole * 1000, 1001))) < 0.005:
            return slowed
    return Fraction(fps).limit_denominator(FASTEST)


def _chosen(format: str, quality: str) -> tuple[Format, Grade]:
    if format in INTERNAL:
        return INTERNAL[format], INTERNAL[format].grades[quality]
    for found, known, what in ((format, FORMATS, "format"), (quality, QUALITIES, "quality")):
        if found not in known:
            raise VideoError(f"The {what} {found!r} is unknown; choose one of {', '.join(known)}.")
    return FORMATS[format], FORMATS[format].grades[quality]


# ---- frames -> planes of whole numbers


def pieces(batch: Tensor, seen: int = 0) -> Iterator[Tensor]:
    """Split a batch into opaque RGB pieces (n, 3, height, width), in 0..1 or bytes; `seen` frames came before it."""
    if batch.ndim == 4 and not len(batch):
        return
    check_frames(batch)
    for piece in batch.split(max(1, PIECE // (batch.shape[1] * batch.shape[2]))):
        piece = piece.detach().movedim(3, 1).cpu()
        yield piece if piece.dtype == torch.uint8 else _opaque(_within(piece.float().contiguous(), seen))
        seen += len(piece)


def check_frames(batch: Any) -> None:
    """Raise a VideoError unless these may be frames; their numbers are not looked at."""
    if not isinstance(batch, Tensor):
        raise VideoError(
            f"The frames are a {type(batch).__name__}; expected a tensor (frames, height, width, channels)."
        )
    if batch.ndim != 4 or not 1 <= batch.shape[3] <= 4 or not batch.shape[1] or not batch.shape[2]:
        raise VideoError(
            f"The frames have the shape {tuple(batch.shape)}; expected (frames, height, width, channels) with 1 to 4 "
            "channels."
        )
    if not batch.is_floating_point() and not (batch.dtype == torch.uint8 and batch.shape[3] == 3):
        raise VideoError(f"The frames are {batch.dtype}; expected floating-point numbers from 0 to 1.")


def _within(frames: Tensor, seen: int) -> Tensor:
    """Clipped to 0..1."""
    least, most = frames.aminmax()
    if not (least.isfinite() and most.isfinite()):
        first = int((~frames.isfinite()).flatten(1).any(1).nonzero()[0])
        raise VideoError(
            f"Frame {seen + first} holds values that are not numbers (NaN or infinite). The step that made it failed: "
            "try another weight dtype for its model, such as fp32."
        )
    return frames if least >= 0 and most <= 1 else frames.clamp(0, 1)


def as_bytes(frames: Tensor, seen: int = 0) -> Tensor:
    """Frames in 0..1 -> 0..255, rounded; `seen` frames came before them."""
    return _in_bytes(_within(frames, seen))


def _in_bytes(frames: Tensor) -> Tensor:
    return (frames * 255).round_().byte()


def as_floats(frames: Tensor) -> Tensor:
    """Frames in 0..1, of bytes or already so."""
    return frames.float() / 255 if frames.dtype == torch.uint8 else frames


def _opaque(frames: Tensor) -> Tensor:
    channels = frames.shape[1]
    colour = frames[:, :1].expand(-1, 3, -1, -1) if channels < 3 else frames[:, :3]
    if channels in (1, 3):
        return colour
    return torch.lerp(torch.full((), BACKGROUND), colour, frames[:, -1:])


def planes(frames: Tensor, pixels: Pixels) -> list[NDArray[np.unsignedinteger]]:
    """Convert frames (n, 3, height, width) to the planes of a pixel format, each (n, rows, columns)."""
    if pixels.is_rgb and pixels.bits == 8:
        whole = frames if frames.dtype == torch.uint8 else _in_bytes(frames)
        return [whole.movedim(1, 3).flatten(2).numpy() if pixels.name == AS_THEY_ARE else _packed(whole)]
    frames, kind = as_floats(frames), np.uint8 if pixels.bits == 8 else np.uint16
    if not pixels.is_rgb:
        return [plane.numpy().astype(kind) for plane in _luma_and_chroma(frames, pixels)]
    values = (frames * (2**pixels.bits - 1)).round_().numpy().astype(kind)
    return [values[:, channel] for channel in (1, 2, 0)]


def _packed(frames: Tensor) -> NDArray[np.uint8]:
    """Bytes in the order blue, green, red, nothing."""
    packed = frames.new_zeros(len(frames), *frames.shape[2:], 4)
    for place, channel in enumerate((2, 1, 0)):
        packed[..., place] = frames[:, channel]
    return packed.flatten(2).numpy()


def _luma_and_chroma(frames: Tensor, pixels: Pixels) -> Iterator[Tensor]:
    """Y', Cb and Cr of BT.709 in its limited range, rounded."""
    step = 2 ** (pixels.bits - 8)
    yield _luma(frames).mul_(219 * step).add_(16 * step).round_()
    shared = _shared(frames, *pixels.sharing)
    luma = _luma(shared)
    for colour, reach in ((shared[:, 2], 1.8556), (shared[:, 0], 1.5748)):
        yield (colour - luma).mul_(224 * step / reach).add_(128 * step).round_()


def _luma(frames: Tensor) -> Tensor:
    red, green, blue = frames.unbind(1)
    return (red * 0.2126).add_(green, alpha=0.7152).add_(blue, alpha=0.0722)


def _shared(frames: Tensor, columns: int, rows: int) -> Tensor:
    """Subsample chroma, sited where decoders expect it: on the left of two columns, midway between two rows."""
    if rows == 2:
        frames = F.pad(frames, (0, 0, 0, frames.shape[2] % 2), mode="replicate")
        frames = torch.lerp(frames[:, :, 0::2], frames[:, :, 1::2], 0.5)
    if columns == 2:
        frames = F.pad(frames, (1, frames.shape[3] % 2, 0, 0), mode="replicate")
        around = torch.lerp(frames[..., 0:-1:2], frames[..., 2::2], 0.5)
        frames = torch.lerp(around, frames[..., 1::2], 0.5)
    return frames


# ---- sound


class SoundTrack:
    """The sound, converted for a format, read in order and followed by silence."""

    def __init__(self, sound: Sound, facts: Format):
        waveform, self.rate = as_channels(sound[0]), _kept_rate(checked_rate(sound[1]), facts)
        self.channels = len(waveform) if len(waveform) in LAYOUTS else 1
        if self.channels != len(waveform):
            log.info("A video cannot hold %d channels of sound: they are mixed into one.", len(waveform))
        if self.rate != sound[1]:
            log.info("%s cannot hold sound at %d Hz: it is resampled to %d.", facts.audio, sound[1], self.rate)
        self._blocks = resampled(self._read(waveform), sound[1], self.rate)
        self._rest = np.zeros((0, self.channels), np.float32)

    def _read(self, waveform: Tensor) -> Iterator[NDArray[np.float32]]:
        for block in waveform.split(BLOCK, dim=1):
            block = block.detach().cpu().float()
            yield (block if len(block) == self.channels else block.mean(0, keepdim=True)).numpy().T

    def take(self, count: int) -> NDArray[np.float32]:
        """The next samples: (count, channels)"""
        taken, missing = [], count
        while missing > 0:
            if not len(self._rest):
                self._rest = next(self._blocks, np.zeros((missing, self.channels), np.float32))
            taken.append(self._rest[:missing])
            self._rest = self._rest[missing:]
            missing -= len(taken[-1])
        return np.concatenate(taken)


def _kept_rate(rate: int, facts: Format) -> int:
    """The rate itself, or the next higher one that the format supports."""
    if not facts.rates or rate in facts.rates:
        return rate
    return next((kept for kept in facts.rates if kept > rate), facts.rates[-1])


def samples(sound: NDArray[np.float32], kind: str) -> NDArray[Any]:
    """Convert (samples, channels) to FFmpeg's flt, fltp or s32."""
    sound = sound.clip(-1, 1)
    if kind == "fltp":
        return np.ascontiguousarray(sound.T)
    if kind == "s32":  # of which encoders use 24 bits
        sound = np.minimum((sound * 2.0**23).round(), 2**23 - 1).astype(np.int32) << 8
    return sound.reshape(1, -1)


# ---- the file


class File:
    """A video being written: add frames, and their sound is added with them."""

    def __init__(
        self,
        path: Path,
        facts: Format,
        grade: Grade,
        rate: Fraction,
        track: SoundTrack | None,
        tags: Mapping[str, str],
        folder: Path | None = None,
    ):
        """folder: named in errors, if not that of the path"""
        self.folder = folder or path.parent
        self.path, self.facts, self.grade, self.rate, self.track = path, facts, grade, rate, track
        self.count = 0  # frames so far
        self._heard = 0  # samples so far
        self._size: tuple[int, int] | None = None
        self._av = library("av", "Writing videos")
        with self._naming_errors():
            self._file = self._av.open(str(path), "w", format=facts.container, options=dict(facts.options))
            self._video = self._file.add_stream(facts.video, rate=rate, options=dict(grade.encoder))
            self._audio = None if track is None else self._sound_stream(track)
        self._file.metadata.update(tags)

    def _sound_stream(self, track: SoundTrack) -> Any:
        stream = self._file.add_stream(self.facts.audio, rate=track.rate)
        stream.codec_context.layout = LAYOUTS[track.channels]
        stream.codec_context.format = self.facts.samples
        if self.grade.bit_rate:
            stream.codec_context.bit_rate = self.grade.bit_rate * track.channels
        return stream

    def __enter__(self) -> File:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None:  # errors on closing a file that is discarded do not matter
            with suppress(OSError, self._av.error.FFmpegError):
                self._file.close()

    def add(self, frames: Tensor) -> None:
        """frames (n, 3, height, width) in 0..1"""
        height, width = frames.shape[2:]
        if self._size is None:
            self._settle(width, height)
        if self._size != (width, height):
            raise VideoError(
                f"Frame {self.count} is {width}x{height} pixels, but those before it are "
                f"{'x'.join(map(str, self._size or ()))}; bring all frames to one size."
            )
        layers = planes(_extended(frames, *self.facts.multiple), self.grade.pixels)
        with self._naming_errors():
            for index in range(len(frames)):
                self._file.mux(self._video.encode(self._picture([layer[index] for layer in layers])))
                self.count += 1
            self._catch_up()

    def finish(self) -> None:
        if not self.count:
            raise VideoError("There are no frames to make a video of; check the step that should have made them.")
        with self._naming_errors():
            self._file.mux(self._video.encode(None))
            if self._audio is not None:
                self._file.mux(self._audio.encode(None))
            self._file.close()

    def _settle(self, width: int, height: int) -> None:
        self._size = width, height
        columns, rows = self.facts.multiple
        pixels, context = self.grade.pixels, self._video.codec_context
        context.width, context.height = width + -width % columns, height + -height % rows
        context.pix_fmt = pixels.name
        context.colorspace, context.color_primaries = pixels.colours.matrix, pixels.colours.primaries
        context.color_trc, context.color_range = pixels.colours.transfer, pixels.colours.range

    def _picture(self, layers: list[NDArray[np.unsignedinteger]]) -> Any:
        pixels = self.grade.pixels
        picture = self._av.VideoFrame(self._video.width, self._video.height, pixels.name)
        for plane, values in zip(picture.planes, layers, strict=True):
            lines = np.frombuffer(plane, values.dtype).reshape(plane.height, -1)  # rows may be padded beyond the width
            lines[:, : values.shape[1]] = values
        picture.colorspace, picture.color_range = pixels.colours.matrix, pixels.colours.range
        picture.pts, picture.time_base = self.count, 1 / self.rate
        return picture

    def _catch_up(self) -> None:
        """Add sound up to the end of the last frame."""
        if self.track is None or self._audio is None:
            return
        end = round(self.count / self.rate * self.track.rate)
        if end == self._heard:
            return
        values = samples(self.track.take(end - self._heard), self.facts.samples)
        piece = self._av.AudioFrame.from_ndarray(values, self.facts.samples, LAYOUTS[self.track.channels])
        piece.sample_rate, piece.time_base = self.track.rate, Fraction(1, self.track.rate)
        piece.pts, self._heard = self._heard, end
        self._file.mux(self._audio.encode(piece))

    @contextmanager
    def _naming_errors(self) -> Iterator[None]:
        where = f"in {self.folder}"
        try:
            yield
        except OSError as error:
            if error.errno in DISK_FULL:
                raise VideoError(
                    f"The disk is full or takes no larger file: after {self.count} frames no more could be written "
                    f"{where}. Free some space, or choose a smaller quality; nothing was left behind."
                ) from error
            raise VideoError(f"The video cannot be written {where} ({brief(error)}); check the folder.") from error
        except self._av.error.FFmpegError as error:
            encoders = self.facts.video if self._audio is None else f"{self.facts.video} with {self.facts.audio}"
            raise VideoError(
                f"{encoders} failed after {self.count} frames of {self._video.width}x{self._video.height} "
                f"({error.strerror}); choose another format or size."
            ) from error


def _extended(frames: Tensor, columns: int, rows: int) -> Tensor:
    """Pad frames to multiples of so many columns and rows by repeating the last ones."""
    right, below = -frames.shape[3] % columns, -frames.shape[2] % rows
    return F.pad(as_floats(frames), (0, right, 0, below), mode="replicate") if right or below else frames


def as_json(value: Any) -> str:
    """JSON for every reader: ComfyUI's counts braces even within quotes, and none accepts NaN."""

    def plain(found: re.Match[str]) -> str:
        text = found[0]
        return text.replace("{", "\\u007b").replace("}", "\\u007d") if text.startswith('"') else "null"

    return re.sub(r'"(?:[^"\\]|\\.)*"|NaN|-?Infinity', plain, json.dumps(value))


@contextmanager
def _temporary(folder: Path) -> Iterator[Path]:
    """A temporary file on the same disk, deleted afterwards in any case; after a kill, by the next one here."""
    with ExitStack() as stack:
        try:
            path = stack.enter_context(scratch(folder)) / "film.part"
            path.touch()
        except OSError as error:
            raise VideoError(
                f"The folder {folder} cannot be written to ({brief(error)}); choose another one."
            ) from error
        yield path


def _placed(temporary: Path, path: Path, others: Iterator[Path]) -> Path:
    """Move a file to the first free name."""
    while True:
        try:
            _move(temporary, path)
            return path
        except FileExistsError as error:
            if (another := next(others, None)) is None:
                raise _taken(path) from error
            path = another
        except FileNotFoundError as error:
            raise VideoError(
                f"The unfinished video in {path.parent} was deleted while it was being written; leave that folder "
                "alone, and run it again."
            ) from error


def _move(temporary: Path, path: Path) -> None:
    """Raises FileExistsError if the name is taken. In one step where the disk can, so that a kill leaves no husk."""
    if os.name == "nt":
        temporary.rename(path)
        return
    try:
        path.hardlink_to(temporary)
        return
    except FileExistsError:
        raise
    except OSError:  # a disk without links, such as exFAT: creating the file claims its name
        path.open("xb").close()
    try:
        temporary.replace(path)
    except OSError:
        path.unlink(missing_ok=True)
        raise


def _taken(path: Path) -> VideoError:
    return VideoError(f"{path} already exists; choose another name, or move the file away.")
