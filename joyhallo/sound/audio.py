"""Recordings as the speech encoder needs them, one channel at 16 kHz: `load` and `prepare`, and helpers for sound."""

from __future__ import annotations

import logging
import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from numbers import Real
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..config import FPS, SAMPLE_RATE
from ..libraries import library
from ..notices import Notice, noticed

log = logging.getLogger(__name__)

SHORTEST_SECONDS = 0.1
LOUDEST = 2.0**31  # 32-bit integers that were never scaled; beyond that the encoder's arithmetic overflows
RATES = (1_000, 1_000_000)
SILENCE = 1e-3  # -60 dB of full scale
FULL_SCALE = 0.9995
FLOOR = -100.0  # dB of full scale; fainter sounds count as this
CLIPPED_SHARE = 1e-3  # of all samples; loud but clean masters touch full scale, clipped ones stay there
BLOCK = 1 << 18  # samples at a time, so that hours of sound are never copied as a whole
BELIEVED = 1 << 24  # samples: more than this a file must hold, not promise, before memory is taken for it


Watch = Callable[[float], None]  # called often with the share of the work done, 0..1; raising stops the work

Sound = tuple[Tensor, int]  # (channels, samples) in -1..1, and the rate


class AudioError(ValueError):
    """A recording cannot be used; the message is for the user."""


def unwatched(done: float) -> None:
    pass


@dataclass(frozen=True)
class Recording:
    samples: Tensor  # (samples): float32, one channel at SAMPLE_RATE
    notices: tuple[Notice, ...] = ()  # doubts about its quality

    @property
    def seconds(self) -> float:
        return len(self.samples) / SAMPLE_RATE

    @property
    def frames(self) -> int:
        return video_frames(len(self.samples))


def video_frames(samples: int, fps: int = FPS) -> int:
    """How many frames the sound lasts. Counted in floating point like the original, so 0.28 s are 8 frames, not 7."""
    return math.ceil(samples / SAMPLE_RATE * fps)


def levels(samples: Tensor, rows: int) -> Tensor:
    """Loudness of each video frame, (rows) in dB of full scale, for samples (n) at SAMPLE_RATE followed by silence.

    It is the root mean square of the frame's samples; the last frame may have fewer of them.
    """
    size = SAMPLE_RATE // FPS
    whole = len(samples) // size
    heard, rest = samples[: whole * size].reshape(whole, size), samples[whole * size :]
    power = torch.zeros(rows, dtype=torch.float64)
    power[:whole] = torch.linalg.vector_norm(heard, dim=1).double().square() / size
    if len(rest):
        power[whole] = rest.double().square().mean()
    return (10 * power.log10()).clamp(min=FLOOR).float()


def prepare(waveform: Tensor, rate: int, watch: Watch = unwatched) -> Recording:
    """waveform (channels, samples) or (samples) in -1..1, at any rate. Channels are averaged before resampling.

    Raises AudioError for an unusable recording; the result has notices of doubts, which are also logged.
    """
    waveform, rate = as_channels(waveform), checked_rate(rate)
    whole = waveform.shape[1]
    blocks = _watched((block.detach().cpu().float().numpy().T for block in waveform.split(BLOCK, dim=1)), whole, watch)
    as_it_is = waveform[0].detach().cpu().float() if len(waveform) == 1 and rate == SAMPLE_RATE else None
    return _listen(blocks, rate, whole, as_it_is)


def moments(samples: Tensor) -> tuple[float, float]:
    """Mean and deviation, by which encoders that were trained on normalised sound are given theirs."""
    return samples.mean().item(), math.sqrt(samples.var(correction=0).item() + 1e-7)


def check_numbers(samples: Tensor) -> None:
    if not all(torch.isfinite(block).all() for block in samples.split(BLOCK, dim=-1)):
        raise AudioError(
            "The recording has samples that are not numbers, as broken speech synthesis leaves them. Export it again."
        )


def stereo(waveform: Tensor) -> Iterator[np.ndarray]:
    """waveform (channels, samples) in blocks (samples, 2): one channel twice, two as they are, more averaged."""
    for block in as_channels(waveform).split(BLOCK, dim=1):
        block = block.detach().cpu().float().numpy()
        yield (block if len(block) == 2 else np.repeat(block.mean(axis=0)[None], 2, axis=0)).T


def load(path: str | Path, watch: Watch = unwatched) -> Recording:
    """Read a sound file and resample it piece by piece, however much it promises to hold."""
    with _opened(path) as file:
        blocks = _watched(_blocks(file, Path(path).name), file.frames, watch)
        return _listen(blocks, checked_rate(file.samplerate), file.frames)


def read(path: str | Path, watch: Watch = unwatched) -> tuple[Tensor, int]:
    """Read a sound file unchanged: (channels, samples) and its rate."""
    with _opened(path) as file:
        blocks = _watched(_blocks(file, Path(path).name), file.frames, watch)
        samples = joined(blocks, file.frames).reshape(-1, file.channels)
        return torch.from_numpy(samples.T.copy()), file.samplerate


def _watched(blocks: Iterable[np.ndarray], promised: int, watch: Watch) -> Iterator[np.ndarray]:
    seen = 0
    for block in blocks:
        yield block
        seen += len(block)
        watch(min(1.0, seen / max(1, promised)))


def _blocks(file: Any, name: str) -> Iterator[np.ndarray]:
    unreadable = library("soundfile", "Reading sound files").SoundFileError
    while True:
        try:
            block = file.read(BLOCK, dtype="float32", always_2d=True)
        except unreadable as error:
            raise AudioError(
                f"{name} is damaged: it promises {file.frames} samples that cannot all be read ({error}). Make it "
                f"again, or save what it holds: ffmpeg -i {name} sound.wav"
            ) from error
        if not len(block):
            return
        yield block


def resampled(blocks: Iterable[np.ndarray], rate: int, target: int = SAMPLE_RATE) -> Iterator[np.ndarray]:
    """Resample pieces of sound, (samples) or (samples, channels), with soxr's HQ filter.

    Like librosa's default, it makes ceil(samples * target / rate), cutting or filling the end.
    """
    if rate == target:
        yield from blocks
        return
    soxr = library("soxr", "Resampling sound")
    stream, heard, made, last = None, 0, 0, np.zeros(0, np.float32)
    for block in blocks:
        if stream is None:
            channels = 1 if block.ndim == 1 else block.shape[1]
            stream, last = soxr.ResampleStream(rate, target, channels, dtype="float32", quality="HQ"), block[:0]
        heard += len(block)
        yield (piece := stream.resample_chunk(np.ascontiguousarray(block)))
        made += len(piece)
    if stream is not None:
        missing = max(0, resampled_length(heard, rate, target) - made)
        yield (tail := stream.resample_chunk(np.ascontiguousarray(last), last=True)[:missing])
        yield np.zeros((missing - len(tail), *last.shape[1:]), np.float32)


def resampled_length(samples: int, rate: int, target: int = SAMPLE_RATE) -> int:
    return samples if rate == target else math.ceil(samples * (target / rate))


def joined(blocks: Iterable[np.ndarray], expected: int) -> np.ndarray:
    """Join (samples) or (samples, channels) in one array made beforehand: a list of pieces would fragment the heap.

    It grows if more come than were expected, and shrinks if fewer do.
    """
    whole, filled = np.empty(0, np.float32), 0
    for block in blocks:
        needed = filled + len(block)
        if not filled:
            whole = np.empty((max(min(expected, BELIEVED), needed), *block.shape[1:]), np.float32)
        elif needed > len(whole):
            whole.resize((needed + needed // 4, *whole.shape[1:]), refcheck=False)
        whole[filled:needed] = block
        filled = needed
    whole.resize((filled, *whole.shape[1:]), refcheck=False)
    return whole


def _listen(blocks: Iterable[np.ndarray], rate: int, count: int, known: Tensor | None = None) -> Recording:
    """blocks: (samples, channels), `count` samples in all; known: the result, if no resampling is needed"""
    level = Level()
    mono = (block.mean(axis=1) for block in level.watch(blocks))
    if known is None:
        known = torch.from_numpy(joined(resampled(mono, rate), resampled_length(count, rate)))
    else:
        deque(mono, maxlen=0)
    seconds = level.samples / rate
    if not level.samples:
        raise AudioError("The recording is empty: it holds no sample. Choose a recording with speech.")
    if seconds < SHORTEST_SECONDS:
        raise AudioError(
            f"The recording lasts {seconds:.3f} s ({level.samples} samples at {rate} Hz), but it must last at least "
            f"{SHORTEST_SECONDS} s. Check that it was not cut off, and that its sample rate is right."
        )
    return Recording(known, tuple(level.doubts()))


class Level:
    """Peak and clipping of a recording, gathered while it streams by."""

    def __init__(self) -> None:
        self.samples = 0
        self.values = 0
        self.peak = 0.0
        self.clipped = 0

    def watch(self, blocks: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        for block in blocks:
            self._note(np.abs(block))
            yield block

    def _note(self, height: np.ndarray) -> None:
        if not np.isfinite(height).all():
            raise AudioError(
                f"{int((~np.isfinite(height)).sum())} samples near {self.samples} are not numbers (NaN or infinite). "
                "The step that made this sound failed; make it again."
            )
        peak = float(height.max(initial=0.0))
        if peak > LOUDEST:
            raise AudioError(
                f"The samples reach {peak:.3g}, but sound lies between -1 and 1. The step that made it failed; make "
                "it again."
            )
        self.samples += len(height)
        self.values += height.size
        self.peak = max(self.peak, peak)
        self.clipped += int((height >= FULL_SCALE).sum())

    def doubts(self) -> Iterator[Notice]:
        if self.peak == 0:
            yield noticed(log, "silent", "The recording is silent: every sample is zero. The mouth will hardly move.")
        elif self.peak < SILENCE:
            yield noticed(
                log,
                "nearly_silent",
                "The recording is nearly silent: its loudest sample is at {peak} dB. Check its volume.",
                peak=round(20 * math.log10(self.peak)),
            )
        if self.peak > 2:
            yield noticed(
                log,
                "unscaled",
                "The samples reach {peak}; expected -1 to 1. Scale them, or the encoder hears speech far louder than "
                "it was trained on.",
                peak=f"{self.peak:.3g}",
            )
        elif self.clipped > CLIPPED_SHARE * self.values:
            yield noticed(
                log,
                "clipped",
                "The recording is clipped: {share} of its samples are at full scale. The lips may follow it less well.",
                share=f"{self.clipped / self.values:.1%}",
            )


def as_channels(waveform: Any) -> Tensor:
    """Bring sound of any accepted shape to (channels, samples), or raise an AudioError."""
    if not isinstance(waveform, (Tensor, np.ndarray)):
        raise AudioError(
            f"The sound is a {type(waveform).__name__}; expected a tensor (channels, samples) of floating-point "
            "numbers."
        )
    waveform = torch.as_tensor(waveform)
    if waveform.ndim == 3 and len(waveform) != 1:
        raise AudioError(f"The sound is a batch of {len(waveform)} recordings; give one at a time.")
    if waveform.ndim not in (1, 2, 3):
        raise AudioError(f"The sound has the shape {tuple(waveform.shape)}; expected (channels, samples).")
    if not waveform.is_floating_point():
        raise AudioError(f"The samples are {waveform.dtype}; expected floating-point numbers from -1 to 1.")
    if not waveform.numel():
        raise AudioError(
            f"The recording is empty: its shape is {tuple(waveform.shape)}. Choose a recording with speech."
        )
    return waveform.reshape(-1, waveform.shape[-1])


def checked_rate(rate: Any) -> int:
    low, high = RATES
    if not isinstance(rate, Real) or not low <= float(rate) <= high or float(rate) % 1:
        raise AudioError(f"The sample rate is {rate!r} Hz; expected a whole number from {low} to {high}.")
    return int(float(rate))


def _opened(path: str | Path) -> Any:
    soundfile = library("soundfile", "Reading sound files")
    path = Path(path)
    if not path.is_file():
        raise AudioError(f"The file {path} does not exist.")
    try:
        return soundfile.SoundFile(path)
    except soundfile.SoundFileError as error:
        raise AudioError(
            f"{path.name} cannot be read as sound ({error}). WAV, FLAC, OGG and MP3 can; for other formats and "
            f"videos, extract the sound first: ffmpeg -i {path.name} sound.wav"
        ) from error
