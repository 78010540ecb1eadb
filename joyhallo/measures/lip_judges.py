"""Judges of lip sync, all alike: `by_lip_reader` and `by_syncnet` watch a film once, and then score any sound to it.

They are given a film at 25 frames a second in pieces, uint8 (n, height, width, 3), the boxes of its faces, of which
the longest stretch counts, and the frames that begin another shot.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from ..faces.boxes import Box
from ..sound.audio import Recording
from . import lip_reader, sync
from .lip_reader import LipReader
from .lipsync import SAMPLES
from .speaking_crops import Stretch, longest, stretches
from .sync import Boxes, OnStep, unwatched
from .syncnet import Ready, SyncNet, as_it_is


@dataclass(frozen=True)
class Told:
    """How well lips fit a sound; the numbers of one judge cannot be compared with those of another."""

    confidence: float  # how much better the best lag is than usual ones; more is better
    distance: float  # at the best lag; less is better
    offset: int  # frames by which the sound comes early
    curve: Tensor  # (31): the distance if the sound is taken to be early by -15 to 15 frames
    windows: int
    values: Mapping[str, float]  # by measure


@dataclass(frozen=True)
class Watched:
    """What a judge saw of a film."""

    stretch: Stretch  # of frames with the face
    score: Callable[[Tensor], Told]  # of samples (n) at 16 kHz, from the film's first frame on


def by_syncnet(
    network: SyncNet,
    pieces: Iterable[Tensor],
    boxes: Boxes,
    cuts: Iterable[int] = (),
    *,
    on_step: OnStep = unwatched,
    device: torch.device | str = "cpu",
    ready: Ready = as_it_is,
) -> Watched:
    shown = sync.watch(pieces, boxes, network, cuts, on_step=on_step, device=device, ready=ready)
    assert shown.stretch is not None

    def score(samples: Tensor) -> Told:
        told = sync.score(shown, Recording(samples), network, device=device, ready=ready)
        values = {
            "sync_c": told.confidence,
            "sync_d": told.distance,
            "sync_offset": float(told.offset),
            "sync_c_overlap": told.overlap.confidence,
        }
        return Told(told.confidence, told.distance, told.offset, told.curve.flip(0), told.windows, values)

    return Watched(shown.stretch, score)


def by_lip_reader(
    reader: LipReader,
    pieces: Iterable[Tensor],
    boxes: Boxes,
    cuts: Iterable[int] = (),
    *,
    on_step: OnStep = unwatched,
    device: torch.device | str = "cpu",
    ready: Ready = as_it_is,
) -> Watched:
    """Its distance is 1 less the likeness of what it sees and hears."""
    stretch = longest(stretches(boxes, cuts))

    def mouths() -> Iterator[Tensor]:
        for crops in _mouths(pieces, stretch, device, on_step):
            ready(reader)
            yield crops

    lips = lip_reader.seen(reader, mouths())

    def score(samples: Tensor) -> Told:
        part = samples[SAMPLES * stretch.start : SAMPLES * stretch.stop]
        voice = lip_reader.heard(ready(reader), Recording(part), device)
        fit, windows = lip_reader.fit(lips, voice), min(len(lips), len(voice))
        values = {"lip_sync": fit.confidence, "lip_offset": float(fit.offset)}
        return Told(fit.confidence, 1 - fit.similarity, fit.offset, 1 - fit.similarities, windows, values)

    return Watched(stretch, score)


def _mouths(
    pieces: Iterable[Tensor], stretch: Stretch, device: torch.device | str, on_step: OnStep
) -> Iterator[Tensor]:
    faces = lip_reader.steady([Box(*sides) for sides in stretch.boxes.tolist()])
    seen = 0
    for frames in pieces:
        start, stop = max(seen, stretch.start), min(seen + len(frames), stretch.stop)
        if start < stop:
            shown = frames[start - seen : stop - seen].to(device)
            yield lip_reader.crops(shown, faces[start - stretch.start : stop - stretch.start])
        seen += len(frames)
        on_step(seen)
        if seen >= stretch.stop:
            break
