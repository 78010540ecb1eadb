"""Separation of the voice from music with the original's network (Kim_Vocal_2.onnx, an MDX network): `hear`.

Only the encoder's input is separated; the video carries the sound that the user gave.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ..config import SAMPLE_RATE
from ..files.contents import WeightsError, not_a_model, opened
from ..libraries import brief, library
from ..notices import noticed
from .audio import (
    SILENCE,
    AudioError,
    Recording,
    Watch,
    joined,
    prepare,
    resampled,
    resampled_length,
    stereo,
    unwatched,
)

log = logging.getLogger(__name__)

MODES = ("off", "on", "auto")

RATE = 44_100
FOURIER, HOP, BINS, FRAMES = 7680, 1024, 3072, 256
PART = HOP * (FRAMES - 1)  # samples that the network takes at once, 5.9 s
EDGE = FOURIER // 2
STEP = int(0.75 * PART)
RUMBLE = 3  # lowest bins, on which the network was not trained
GAIN = 1.009  # makes up for the network's loss
PEAK = 0.9  # louder mixes are brought down to it, and louder voices afterwards

PAUSE_SECONDS = 0.05
PAUSE_DEPTH = 21.0  # dB
DIGITAL_SILENCE = 60.0  # dB below the voice; no room is that quiet, so it says nothing about the recording

FILE = "Kim_Vocal_2.onnx"
FOLDER = "models/joyhallo/audio_separator"


@dataclass(frozen=True)
class Separator:
    name: str
    network: Callable[[np.ndarray], np.ndarray]  # (1, 4, BINS, FRAMES): real and imaginary of left, then of right


def load_separator(path: str | Path, providers: Sequence[str] = ("CPUExecutionProvider",)) -> Separator:
    runtime = library("onnxruntime", "Separating the voice from music", "or switch separation off.")
    path = Path(path)
    try:
        with opened(path) as file:
            problem = not_a_model(file.read(512))
        if problem:
            raise WeightsError(f"{path.name} {problem}.")
    except WeightsError as error:
        raise WeightsError(f"{error} Expected {FILE}.") from error
    try:
        session = runtime.InferenceSession(str(path), providers=list(providers))
    except Exception as error:  # onnxruntime's own exceptions have no common base
        raise WeightsError(
            f"{path.name} cannot be run as an ONNX network ({brief(error)}). Download {FILE} again."
        ) from error
    shapes, sizes = [put.shape for put in session.get_inputs()], (4, BINS, FRAMES)
    if len(shapes) != 1 or any(isinstance(n, int) and n != m for n, m in zip(shapes[0][1:], sizes, strict=False)):
        found = [tuple(shape) for shape in shapes]
        raise WeightsError(f"{path.name} takes {found}; expected (batch, 4, {BINS}, {FRAMES}), as {FILE} does.")
    (entry,) = session.get_inputs()

    def network(spectrum: np.ndarray) -> np.ndarray:
        try:
            return session.run(None, {entry.name: spectrum})[0]
        except Exception as error:  # as above
            raise AudioError(f"{path.name} cannot separate a voice ({brief(error)}). Choose {FILE}.") from error

    return Separator(path.name, network)


def hear(
    waveform: Tensor,
    rate: int,
    mode: str = "off",
    separator: Separator | str | Path | None = None,
    watch: Watch = unwatched,
    reading: Watch = unwatched,
) -> Recording:
    """Prepare the speech encoder's input: the sound as it is, or the voice in it.

    watch: called while the voice is separated; reading: before that.
    mode: "off"; "on"; or "auto", which separates if `music_likely` says so and a separator is given. A path is loaded
    when it is needed.
    """
    if mode not in MODES:
        raise AudioError(f"The separation mode {mode!r} is unknown; choose one of {', '.join(MODES)}.")
    if mode == "on" and separator is None:
        raise AudioError(
            f"To separate the voice, load {FILE} (in ComfyUI, put it from Hallo's weights into {FOLDER}), or switch "
            "separation off."
        )
    plain = prepare(waveform, rate, reading)
    if mode == "off" or (mode == "auto" and not music_likely(plain.samples)):
        return plain
    if separator is None:
        music = "There seems to be music or noise behind the voice; put {file} into {folder} to have it removed."
        return replace(plain, notices=(*plain.notices, noticed(log, "music", music, file=FILE, folder=FOLDER)))
    if not isinstance(separator, Separator):
        separator = load_separator(separator)
    voice, notices = isolated(separator, waveform, rate, watch), plain.notices
    if voice.abs().max() < SILENCE <= plain.samples.abs().max():
        nobody = "Nothing was left when the voice was separated from the rest: nobody seems to speak in this recording."
        notices = (*notices, noticed(log, "no_voice", nobody))
    return replace(plain, samples=voice, notices=notices)


def music_likely(samples: Tensor) -> bool:
    """Whether pauses are not silent: they lie less than PAUSE_DEPTH below the voice.

    Speech alone, even fast and synthetic, drops by 23 dB or more between syllables; with music 10 dB below the voice
    it drops by less than 21. Steady noise counts as music: the separator removes both.
    """
    return pause_depth(samples) < PAUSE_DEPTH


def pause_depth(samples: Tensor) -> float:
    """dB from the loudest 5 % of a recording's 50 ms blocks to the quietest 5 %, digital silence aside."""
    size = min(len(samples), round(PAUSE_SECONDS * SAMPLE_RATE))
    power = samples[: len(samples) // size * size].unflatten(0, (-1, size)).square().mean(dim=1).numpy()
    level = 10 * np.log10(power + 1e-20)
    loud = np.percentile(level, 95)
    if loud < -90:
        return math.inf
    return float(loud - np.percentile(level[level > loud - DIGITAL_SILENCE], 5))


def isolated(separator: Separator, waveform: Tensor, rate: int, watch: Watch = unwatched) -> Tensor:
    """Separate the voice from waveform (channels, samples): (samples) at SAMPLE_RATE. Only this is held in memory."""

    def mix() -> Iterator[np.ndarray]:
        return resampled(stereo(waveform), rate, RATE)

    samples, peak = 0, 0.0
    for block in mix():
        samples, peak = samples + len(block), max(peak, float(np.abs(block).max(initial=0.0)))
    down = PEAK / peak if peak > PEAK else 1.0
    loudest = 0.0

    def voice() -> Iterator[np.ndarray]:
        nonlocal loudest
        for block in separated(separator, (block * np.float32(down) for block in mix()), samples, watch):
            loudest = max(loudest, float(np.abs(block).max(initial=0.0)))
            yield block.mean(axis=1)

    found = torch.from_numpy(joined(resampled(voice(), RATE), resampled_length(samples, RATE)))
    return found * (PEAK / loudest) if loudest > PEAK else found


def separated(
    separator: Separator, mix: Iterable[np.ndarray], samples: int, watch: Watch = unwatched
) -> Iterator[np.ndarray]:
    """Yield the voice in `samples` of sound (samples, 2) at RATE, piece by piece: parts overlap and crossfade."""
    useful = PART - 2 * EDGE
    filling = useful + EDGE - samples % useful
    total = EDGE + samples + filling
    source = chain([np.zeros((EDGE, 2), np.float32)], mix, [np.zeros((filling, 2), np.float32)])
    ahead = np.zeros((0, 2), np.float32)
    voice, weight = np.zeros((PART, 2), np.float32), np.zeros((PART, 1), np.float32)
    for start in range(0, total, STEP):
        watch(start / total)
        size = min(PART, total - start)
        while len(ahead) < size:
            ahead = np.concatenate([ahead, next(source)])
        fade = np.hanning(size)[:, None]
        part = np.pad(ahead[:size], ((0, PART - size), (0, 0)))
        voice[:size] += (_run(separator, part)[:size] * fade).astype(np.float32)  # rounded like audio-separator
        weight[:size] += fade
        first, last = max(EDGE, start), min(start + STEP, EDGE + samples)
        if first < last:
            done = slice(first - start, last - start)
            yield voice[done] / weight[done] * np.float32(GAIN)
        ahead = ahead[STEP:]
        voice, weight = (np.concatenate([held[STEP:], np.zeros_like(held[:STEP])]) for held in (voice, weight))


def _run(separator: Separator, part: np.ndarray) -> np.ndarray:
    """(PART, 2) -> (PART, 2)"""
    window = torch.hann_window(FOURIER)
    spectrum = torch.stft(torch.from_numpy(part.T.copy()), FOURIER, HOP, window=window, return_complex=True)
    planes = torch.view_as_real(spectrum).permute(0, 3, 1, 2).flatten(0, 1)[:, :BINS].contiguous()
    planes[:, :RUMBLE] = 0
    found = torch.from_numpy(np.asarray(separator.network(planes[None].numpy())))
    if found.shape != (1, 4, BINS, FRAMES):
        raise AudioError(
            f"{separator.name} returns the shape {tuple(found.shape)}; expected (1, 4, {BINS}, {FRAMES}). Choose "
            f"{FILE}."
        )
    full = torch.nn.functional.pad(found[0].float(), (0, 0, 0, spectrum.shape[1] - BINS)).unflatten(0, (2, 2))
    spectrum = torch.view_as_complex(full.permute(0, 2, 3, 1).contiguous())
    return torch.istft(spectrum, FOURIER, HOP, window=window).numpy().T
