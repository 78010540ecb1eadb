"""Films of any make -> pictures upright, of one size, in square pixels and at a wanted rate, with the sound in step.

What cannot be decoded is left out and counted: the picture before it stays, the sound is silent.
"""

from __future__ import annotations

import logging
import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from itertools import chain, islice
from typing import Any, Literal, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps
from torch import Tensor

from ..config import FPS
from ..faces.boxes import Picture, Size
from ..libraries import brief, library
from ..sound.audio import BLOCK, Sound, joined
from .write import VideoError

log = logging.getLogger(__name__)

AT_ONCE = 8  # frames
ALL = 0  # threads: as many as there are cores
LONGEST_HOLD = 30  # seconds that a picture may stay; beyond it the time stamps are wrong
LONGEST_SILENCE = 3600  # seconds of gaps in the sound that may be filled in all
SLACK = Fraction(1, 20)  # seconds by which sound may lag behind its own time stamps before silence fills the gap
HALF = Fraction(1, 2)
HDR = (16, 18)  # transfer characteristics of H.273: PQ and HLG
BT709 = "out_transfer=bt709:out_primaries=bt709"

T = TypeVar("T")
Kind = Literal["pictures", "sound"]
Watch = Callable[[], object]  # called for each packet; raising stops the work


class UnreadableError(VideoError):
    """A film that cannot be used: `reason` is a clause for a list, the message a sentence for whoever gave it."""

    def __init__(self, reason: str, remedy: str):
        super().__init__(reason, remedy)
        self.reason, self.remedy = reason, remedy

    def __str__(self) -> str:
        return f"The video cannot be used: {self.reason}; {self.remedy}."


@dataclass(frozen=True)
class Facts:
    width: int  # as shown: upright, in square pixels
    height: int
    rate: Fraction  # frames per second, on average
    seconds: float  # of the pictures, as the file says

    @property
    def count(self) -> int:
        """Frames, as near as the file's own length tells."""
        return round(self.seconds * self.rate)


class Film:
    """A film in a file. It is read from its beginning each time, a few frames at a time."""

    def __init__(self, source: Any, threads: int = ALL, watch: Watch = lambda: None):
        """source: a path, or a file in memory; threads: that decode"""
        self._source = source if hasattr(source, "read") else str(source)
        self._threads, self._watch = threads, watch
        self._broken: Counter[Kind] = Counter()  # packets, in the longest reading of each kind

    @property
    def skipped(self) -> int:
        """Packets that could not be decoded, as far as the film has been read; each counts once."""
        return sum(self._broken.values())

    @cached_property
    def facts(self) -> Facts:
        """By what the file says, and by its first picture, which alone knows which way is up."""
        with self._opened() as (file, stream):
            seconds = Fraction(file.duration or 0, 1_000_000)
            if stream.duration:
                seconds = stream.duration * stream.time_base
            screen = _Screen(stream, in_colour=False)
            height, width = screen.shown(self._first(file, stream)).shape[:2]
            return Facts(width, height, _rate(stream), float(seconds))

    def pictures(self, rate: Fraction | int | None = None) -> Iterator[Picture]:
        """As 8-bit RGB; where one stays, it is the same array again.

        rate: frames per second, at which each is seen from its own time, rounded, until the next one's. None: all
            frames as they come, however long each of them lasts.
        """
        with self._opened() as (file, stream):
            stream.thread_type, stream.codec_context.thread_count = "AUTO", self._threads
            step, screen = 1 / _rate(stream), _Screen(stream)
            timed = _timed(self._decoded(file, stream, "pictures"), step)
            found = False
            for picture in screen.each((frame for _, frame in timed) if rate is None else at_rate(timed, rate, step)):
                found = True
                yield picture
            if not found:
                raise _without_pictures()

    def pictures_from(self, start: int, rate: Fraction | int) -> Iterator[Picture]:
        """The same at a rate, from the picture of this number on; what lies before its key frame is not decoded."""
        begin = self._begin if start else None
        if begin is None:
            return islice(self.pictures(rate), start, None)
        return self._sought(start, Fraction(rate), begin)

    def _sought(self, start: int, rate: Fraction, begin: Fraction) -> Iterator[Picture]:
        size = self.facts.width, self.facts.height
        with self._opened() as (file, stream):
            stream.thread_type, stream.codec_context.thread_count = "AUTO", self._threads
            step, screen = 1 / _rate(stream), _Screen(stream, size)
            file.seek(math.floor((begin + (start - 1) / rate) / stream.time_base), stream=stream)
            timed = _timed(self._decoded(file, stream, "pictures"), step)
            first = next(timed, None)
            if first is not None and first[0] <= begin + (start + HALF) / rate:
                yield from screen.each(at_rate(chain([first], timed), rate, step, begin, start))
                return
        yield from islice(self.pictures(rate), start, None)  # the file's index leads elsewhere

    @cached_property
    def _begin(self) -> Fraction | None:
        """When the first picture is seen, in seconds."""
        with self._opened() as (file, stream):
            first = self._first(file, stream)
            return None if first.pts is None else first.pts * first.time_base

    def frames(self, rate: Fraction | int | None = None, at_once: int = AT_ONCE) -> Iterator[Tensor]:
        """The same in batches: (up to at_once, height, width, 3) in 0..1"""
        batch, filled = torch.zeros(0), 0
        for picture in self.pictures(rate):
            if filled and (filled == at_once or batch.shape[1:] != picture.shape):
                yield batch[:filled]
                filled = 0
            if not filled:
                batch = torch.empty(at_once, *picture.shape)
            np.divide(picture, 255, out=batch[filled].numpy(), dtype=np.float32)  # by no threads that wait for others
            filled += 1
        if filled:
            yield batch[:filled]

    def sound(self) -> Sound | None:
        """From the first picture on, gaps filled with silence; None where there is no sound."""
        with self._opened() as (file, stream):
            if not file.streams.audio:
                return None
            first = self._first(file, stream, needed=False)
            start = Fraction(0) if first is None or first.pts is None else first.pts * first.time_base
        with self._opened() as (file, _):
            stream = file.streams.audio[0]
            expected = math.ceil(Fraction(file.duration or 0, 1_000_000) * stream.rate) + stream.rate
            samples = joined(_in_step(self._decoded(file, stream, "sound"), start, stream.rate), expected)
            if not len(samples):
                raise UnreadableError("none of its sound can be read", "make it again, or take it without its sound")
            return torch.from_numpy(samples.T), stream.rate

    def _first(self, file: Any, stream: Any, needed: bool = True) -> Any:
        stream.codec_context.thread_count = 1  # others would decode what comes after it
        first = next(self._decoded(file, stream, "pictures"), None)
        if needed and first is None:
            raise _without_pictures()
        return first

    def _decoded(self, file: Any, stream: Any, kind: Kind) -> Iterator[Any]:
        reading = _Reading(self._watch)
        try:
            yield from reading.frames(file, stream)
            if reading.is_short and stream.codec_context.thread_count != 1:
                with self._opened() as (again, same):
                    yield from reading.rest(again, same)
        finally:
            self._note(kind, reading.broken)

    def _note(self, kind: Kind, broken: int) -> None:
        if broken > self._broken[kind]:
            self._broken[kind] = broken
            name = self._source if isinstance(self._source, str) else "A video"
            instead = "the picture before them stays" if kind == "pictures" else "there is silence instead"
            log.warning("%s: packets of %s that cannot be decoded: %d; %s.", name, kind, broken, instead)

    @contextmanager
    def _opened(self) -> Iterator[tuple[Any, Any]]:
        """The file and its first stream of pictures."""
        av = library("av", "Reading videos")
        if not isinstance(self._source, str):
            self._source.seek(0)
        try:
            with av.open(self._source) as file:
                if not file.streams.video:
                    raise UnreadableError("it holds no picture", "choose one that is more than sound alone")
                yield file, file.streams.video[0]
        except (OSError, av.error.FFmpegError) as error:
            reason = f"it cannot be read as a video ({error.strerror or brief(error)})"
            raise UnreadableError(reason, "choose another one, or make it again") from error


class Reel:
    """The frames of a film, taken off as they are needed."""

    def __init__(self, coming: Iterator[Tensor]):
        """coming: batches of frames"""
        self._coming = coming
        self._rest = torch.zeros(0)
        self._last: Tensor | None = None

    def take(self, count: int) -> Tensor:
        """The next frames (count, height, width, 3) in 0..1; after the end the last one stays."""
        while len(self._rest) < count and (batch := next(self._coming, None)) is not None:
            self._rest = torch.cat([self._rest, batch]) if len(self._rest) else batch
        taken, self._rest = self._rest[:count], self._rest[count:]
        if len(taken):
            self._last = taken[-1:].clone()
        missing = count - len(taken)
        if not missing:
            return taken
        if self._last is None:
            raise VideoError("The video holds no frame; choose another one.")
        held = self._last.expand(missing, -1, -1, -1)
        return torch.cat([taken, held]) if len(taken) else held


class _Reading:
    """What a stream's packets hold, and how many of them are broken."""

    def __init__(self, watch: Watch) -> None:
        self.watch, self.broken = watch, 0
        self._newest = self._latest = -math.inf  # time stamps: of all packets, of the frames so far
        self._broken_before = 0  # the latest frame
        self._seen = -math.inf  # what is read again, up to this time stamp

    @property
    def is_short(self) -> bool:
        """Several threads give up what they hold at the end of a film where one packet of it is broken."""
        return self._latest < self._newest

    def frames(self, file: Any, stream: Any) -> Iterator[Any]:
        error = library("av", "Reading videos").error.FFmpegError
        coming, packet, ended = file.demux(stream), None, False
        while not ended:
            self.watch()
            try:
                packet = next(coming, None)
                ended = packet is None or not packet.size  # and the decoder gives what it still holds
                self._newest = self._newest if ended else _later(self._newest, packet)
                frames = stream.decode(packet)
            except error:
                self.broken += packet is None or packet.pts is None or packet.pts > self._seen
                continue
            for frame in frames:
                frame.time_base = stream.time_base  # which is missing where the packet is
                yield frame
                self._latest, self._broken_before = _later(self._latest, frame), self.broken

    def rest(self, file: Any, stream: Any) -> Iterator[Any]:
        """Once more from the key frame before the latest one, by a single thread."""
        if self._latest > -math.inf:
            file.seek(int(self._latest), stream=stream)
        stream.codec_context.thread_count, self.broken, self._seen = 1, self._broken_before, self._latest
        for frame in self.frames(file, stream):
            if frame.pts is not None and frame.pts > self._seen:
                yield frame


def _later(time: float, found: Any) -> float:
    return time if found.pts is None else max(time, found.pts)


# ---- pictures in time


def retimed(images: Tensor, own: Fraction, rate: Fraction | int, at_once: int = AT_ONCE) -> Iterator[Tensor]:
    """Batches, at a rate, of images that are there already, at their own."""
    timed = ((index / own, index) for index in range(len(images)))
    places = list(at_rate(timed, rate, 1 / own))
    for start in range(0, len(places), at_once):
        yield images[places[start : start + at_once]]


def at_rate(
    timed: Iterable[tuple[Fraction, T]],
    rate: Fraction | int,
    step: Fraction,
    start: Fraction | None = None,
    count: int = 0,
) -> Iterator[T]:
    """Frames and their times in seconds -> at a steady rate: each from its own time, rounded, until the next one's.

    step: how long the last one is seen, in seconds. There is always one, however short it is.
    start: when frame 0 is seen; None: it is the first. count: frames that are given away already.
    """
    held: T | None = None
    latest = Fraction(0)
    longest = max(LONGEST_HOLD, 2 * step) * rate
    for time, frame in timed:
        start = time if start is None else start
        if held is None:
            latest = time
        place = math.floor((time - start) * rate + HALF)
        if place - count > longest:
            jump = f"from {float(count / rate):.1f} to {float(time - start):.1f} s"
            raise UnreadableError(f"its time stamps jump {jump}", "convert it anew")
        for _ in range(count, place):
            assert held is not None
            yield held
        held, latest, count = frame, max(latest, time), max(count, place)
    if held is not None and start is not None:
        end = math.floor((latest + step - start) * rate + HALF)
        for _ in range(count, max(end, 1)):
            yield held


def _timed(frames: Iterable[Any], step: Fraction) -> Iterator[tuple[Fraction, Any]]:
    """With their times in seconds; where there is none, a step after the one before."""
    time = -step
    for frame in frames:
        time = time + step if frame.pts is None else frame.pts * frame.time_base
        yield time, frame


def _rate(stream: Any) -> Fraction:
    return Fraction(stream.average_rate or FPS)


# ---- one picture


class _Screen:
    """Shows frames as a player does: in square pixels, upright, all as large as the first."""

    def __init__(self, stream: Any, size: Size | None = None, in_colour: bool = True):
        """size: of the film's first picture, if these are not from its beginning; in_colour: or else colours may be
        wrong, as it takes seconds until those of HDR can be made"""
        self._size = size
        self._standard = _Standard(stream) if in_colour and stream.codec_context.color_trc in HDR else None
        self._aspect = Fraction(stream.sample_aspect_ratio or 1)  # of a pixel: width by height
        # One for all frames: preparing it takes longer than its work on one of them.
        self._converter = library("av.video.reformatter", "Reading videos").VideoReformatter()
        self._angle: int | None = None
        self._matrix: bytes | None = None  # for frames of that angle

    def each(self, frames: Iterable[Any]) -> Iterator[Picture]:
        before, picture = None, None
        for frame in frames:
            if picture is None or frame is not before:
                before, picture = frame, self.shown(frame)
            yield picture

    def shown(self, frame: Any) -> Picture:
        picture = self._as_rgb(frame)
        if self._aspect != 1:
            size = max(1, round(picture.shape[1] * self._aspect)), picture.shape[0]
            picture = np.asarray(Image.fromarray(picture).resize(size, Image.Resampling.BICUBIC))
        picture = np.ascontiguousarray(_upright(picture, self._way_up(frame)))
        self._size = self._size or (picture.shape[1], picture.shape[0])
        return picture if picture.shape[1::-1] == self._size else _fitted(picture, self._size)

    def _way_up(self, frame: Any) -> bytes | None:
        """Its display matrix. A frame that is asked for it stays until Python collects circles: some dozens would."""
        if frame.rotation != self._angle:
            matrix = frame.side_data.get("DISPLAYMATRIX")
            self._angle, self._matrix = frame.rotation, None if matrix is None else bytes(matrix)
        return self._matrix

    def _as_rgb(self, frame: Any) -> Picture:
        """What is transparent is white."""
        if self._standard is not None:
            return self._standard.as_rgb(frame)
        if not any(part.is_alpha for part in frame.format.components):
            return self._converter.reformat(frame, format="rgb24").to_ndarray()
        picture = self._converter.reformat(frame, format="rgba").to_ndarray().astype(np.uint16)
        colour, alpha = picture[..., :3], picture[..., 3:]
        return ((colour * alpha + 255 * (255 - alpha) + 127) // 255).astype(np.uint8)


class _Standard:
    """HDR as a screen of standard range shows it, on which it is grey and pale otherwise. What is brighter than white
    paper (203 nits) becomes white."""

    def __init__(self, stream: Any):
        self._stream, self._shape, self._graph = stream, None, None

    def as_rgb(self, frame: Any) -> Picture:
        shape = frame.width, frame.height, frame.format.name
        if shape != self._shape:
            self._shape, self._graph = shape, self._made(frame)
        if self._graph is None:
            return frame.to_ndarray(format="rgb24")
        self._graph.push(frame)
        return self._graph.pull().to_ndarray()

    def _made(self, frame: Any) -> Any:
        av = library("av", "Reading videos")
        graph, codes = av.filter.Graph(), self._stream.codec_context
        given = (
            f"video_size={frame.width}x{frame.height}:pix_fmt={frame.format.name}:time_base={self._stream.time_base}"
            f":colorspace={codes.colorspace}:range={codes.color_range}"
        )
        try:
            steps = (("buffer", given), ("scale", BT709), ("format", "rgb24"), ("buffersink", None))
            graph.link_nodes(*(graph.add(name, options) for name, options in steps)).configure()
        except (ValueError, LookupError, av.error.FFmpegError) as error:
            log.warning("HDR video stays pale, as FFmpeg converts it only from version 8 on: update av (%s).", error)
            return None
        return graph


def _upright(picture: Picture, matrix: bytes | None) -> Picture:
    """By a display matrix, which says where a column and a row go: (x, y) -> (ax + cy, bx + dy)"""
    if matrix is None:
        return picture
    a, b, _, c, d = np.frombuffer(matrix, np.int32)[:5].tolist()
    if abs(b) > abs(a):
        picture, a, d = picture.swapaxes(0, 1), c, b
    return picture[:: -1 if d < 0 else 1, :: -1 if a < 0 else 1]


def _fitted(picture: Picture, size: Size) -> Picture:
    """Where a film changes its size: as large as fits, in the middle, on black."""
    return np.asarray(ImageOps.pad(Image.fromarray(picture), size, Image.Resampling.BICUBIC))


def _without_pictures() -> UnreadableError:
    return UnreadableError("none of its pictures can be read", "choose another one, or make it again")


# ---- sound


def _in_step(frames: Iterable[Any], start: Fraction, rate: int) -> Iterator[NDArray[np.float32]]:
    """Blocks (samples, channels) that begin at `start` seconds, gaps filled with silence."""
    floats = library("av", "Reading videos").AudioResampler(format="flt")
    at, begun, silent = 0, False, 0  # samples since the start; of gaps
    for frame in frames:
        pieces = [piece.to_ndarray().reshape(-1, piece.layout.nb_channels) for piece in floats.resample(frame)]
        block = np.concatenate(pieces)
        place = at if frame.pts is None else round((frame.pts * frame.time_base - start) * rate)
        if not begun or place - at > SLACK * rate:
            silent += max(0, place - at)
            if silent > LONGEST_SILENCE * rate:
                jump = f"from {at / rate:.1f} to {place / rate:.1f} s"
                raise UnreadableError(f"the time stamps of its sound jump {jump}", "convert it anew")
            for first in range(at, place, BLOCK):
                yield np.zeros((min(BLOCK, place - first), block.shape[1]), np.float32)
            at, begun = place, True
        before = max(0, -at)  # samples that were heard before the first picture
        at += len(block)
        if before < len(block):
            yield block[before:]
