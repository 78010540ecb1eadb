"""A video of any make as training sees it: upright, 25 frames a second, and the sound in step with them.

What cannot be decoded is left out: the frame before it stays, the sound is silent.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from ..config import FPS
from ..faces.boxes import Picture
from ..libraries import library
from ..sound.audio import Sound

LONGEST_HOLD = 30.0  # seconds that a frame may stay; beyond it the time stamps are wrong
SLACK = 0.05  # seconds by which sound may lag behind its own time stamps before silence fills the gap


class SourceError(ValueError):
    """A video that cannot be read, in words for whoever gave it."""


def pictures(path: Path) -> Iterator[Picture]:
    """All that it shows, at 25 frames a second."""
    with _opened(path) as file:
        if not file.streams.video:
            raise SourceError("it holds no picture")
        count = 0
        for count, picture in enumerate(at_rate(_shown(file, file.streams.video[0])), 1):  # noqa: B007
            yield picture
        if not count:
            raise SourceError("none of its pictures can be read")


def at_rate(shown: Iterable[tuple[float, Picture]], rate: int = FPS) -> Iterator[Picture]:
    """Frames at their times in seconds -> at a steady rate: each from its own time, rounded, until the next one's."""
    held: Picture | None = None
    start, count = 0.0, 0
    for time, picture in shown:
        if held is None:
            start = time
        place = int((time - start) * rate + 0.5 + 1e-6)
        if place - count > LONGEST_HOLD * rate:
            raise SourceError(f"its time stamps jump from {count / rate:.1f} to {time - start:.1f} s; convert it anew")
        for _ in range(count, place):
            assert held is not None
            yield held
        held, count = picture, max(count, place)
    if held is not None:
        yield held


def sound(path: Path) -> Sound | None:
    """From the first picture on; None where there is none."""
    with _opened(path) as file:
        if not file.streams.audio:
            return None
        start = next((frame.time for frame in _decoded(file, file.streams.video[0]) if frame.time is not None), 0.0)
    with _opened(path) as file:
        stream = file.streams.audio[0]
        blocks = list(_in_step(_decoded(file, stream), start, stream.rate))
    if not blocks:
        raise SourceError("none of its sound can be read")
    return torch.from_numpy(np.concatenate(blocks, axis=1)), stream.rate


def _in_step(frames: Iterable[Any], start: float, rate: int) -> Iterator[NDArray[np.float32]]:
    """Blocks (channels, samples) that begin at `start` seconds, gaps filled with silence."""
    floats = library("av", "Reading videos").AudioResampler(format="flt")
    at, begun = 0, False  # samples since the start
    for frame in frames:
        pieces = [piece.to_ndarray().reshape(-1, piece.layout.nb_channels).T for piece in floats.resample(frame)]
        block = np.concatenate(pieces, axis=1)
        place = at if frame.time is None else round((frame.time - start) * rate)
        if not begun or place - at > SLACK * rate:
            if place > at:
                yield np.zeros((len(block), place - at), np.float32)
            at, begun = place, True
        before = max(0, -at)  # samples that were heard before the first picture
        at += block.shape[1]
        if before < block.shape[1]:
            yield block[:, before:]


def _shown(file: Any, stream: Any) -> Iterator[tuple[float, Picture]]:
    """Pictures and their times, square pixels, upright."""
    stream.thread_type, stream.codec_context.thread_count = "AUTO", 1  # there is a process for each video
    step = float(1 / (stream.average_rate or FPS))
    aspect = float(stream.codec_context.sample_aspect_ratio or 1)
    time = -step
    for frame in _decoded(file, stream):
        time = frame.time if frame.time is not None else time + step
        picture = frame.to_ndarray(format="rgb24")
        if aspect != 1:
            size = round(picture.shape[1] * aspect), picture.shape[0]
            picture = np.asarray(Image.fromarray(picture).resize(size, Image.Resampling.BICUBIC))
        yield time, np.ascontiguousarray(np.rot90(picture, round(frame.rotation / 90)))


def _decoded(file: Any, stream: Any) -> Iterator[Any]:
    av = library("av", "Reading videos")
    for packet in file.demux(stream):
        try:
            frames = packet.decode()
        except av.error.InvalidDataError:
            continue
        yield from frames


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    av = library("av", "Reading videos")
    try:
        with av.open(str(path)) as file:
            yield file
    except av.error.FFmpegError as error:
        raise SourceError(f"it cannot be read as a video ({error.strerror})") from error
