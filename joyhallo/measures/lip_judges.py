"""Judges of lip sync, all alike: `by_lip_reader` and `by_syncnet` watch a film once, and then score any sound to it.
`compared` scores the same lips where they cannot fit, and `controls_of` tells what that says of each measure.

They are given a film at 25 frames a second in pieces, uint8 (n, height, width, 3), the boxes of its faces, of which
the longest stretch counts, and the frames that begin another shot.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ..faces.boxes import Box
from ..sound.audio import Recording
from . import lip_reader, sync
from .lip_reader import LipReader
from .lipsync import SAMPLES
from .speaking_crops import Stretch, longest, stretches
from .streamed import Ready, as_it_is
from .sync import Boxes, OnStep, Shown, delayed, unwatched
from .syncnet import SyncNet
from .table import MEASURES, SHIFT, SHIFTED, SHUFFLED, STILL, Control


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

    stretch: Stretch | None  # of frames with the face; None: whole frames were shown
    score: Callable[[Tensor], Told]  # of samples (n) at 16 kHz, from the film's first frame on
    still: Callable[[Tensor], Told]  # the same, as if the lips never moved again after the first window


def by_syncnet(
    network: SyncNet,
    pieces: Iterable[Tensor],
    boxes: Boxes | None,
    cuts: Iterable[int] = (),
    *,
    on_step: OnStep = unwatched,
    device: torch.device | str = "cpu",
    ready: Ready = as_it_is,
) -> Watched:
    """boxes: None to show whole frames, as Wav2Lip's evaluation does"""
    shown = sync.watch(pieces, boxes, network, cuts, on_step=on_step, device=device, ready=ready)

    def score(samples: Tensor, film: Shown = shown) -> Told:
        told = sync.score(film, Recording(samples), network, device=device, ready=ready)
        values = {
            "sync_c": told.confidence,
            "sync_d": told.distance,
            "sync_offset": float(told.offset),
            "sync_c_overlap": told.overlap.confidence,
        }
        return Told(told.confidence, told.distance, told.offset, told.curve.flip(0), told.windows, values)

    frozen = replace(shown, features=_frozen(shown.features))
    return Watched(shown.stretch, score, lambda samples: score(samples, frozen))


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

    watching, seen_so_far = lip_reader.Watching(reader, [Box(*sides) for sides in stretch.boxes.tolist()]), 0
    for frames in pieces:
        start, stop = max(seen_so_far, stretch.start), min(seen_so_far + len(frames), stretch.stop)
        if start < stop:
            ready(reader)
            watching.see(frames[start - seen_so_far : stop - seen_so_far].to(device))
        seen_so_far += len(frames)
        on_step(seen_so_far)
        if seen_so_far >= stretch.stop:
            break
    lips = watching.lips

    def score(samples: Tensor, seen: Tensor = lips) -> Told:
        part = samples[SAMPLES * stretch.start : SAMPLES * stretch.stop]
        voice = lip_reader.heard(ready(reader), Recording(part), device)
        fit, windows = lip_reader.fit(seen, voice), min(len(lips), len(voice))
        values = {"lip_sync": fit.confidence, "lip_offset": float(fit.offset)}
        return Told(fit.confidence, 1 - fit.similarity, fit.offset, 1 - fit.similarities, windows, values)

    return Watched(stretch, score, lambda samples: score(samples, _frozen(lips)))


def _frozen(features: Tensor) -> Tensor:
    """(windows, width): the first one all the time"""
    return features[:1].expand_as(features)


# ---- controls


def compared(watched: Watched, samples: Tensor, shuffled: Tensor) -> dict[Control, Told]:
    """What the judge says of lips that never move, of another sound, and of their own sound when it comes late."""
    return {
        STILL: watched.still(samples),
        SHUFFLED: watched.score(shuffled),
        SHIFTED: watched.score(delayed(samples, SHIFT)),
    }


def controls_of(others: Mapping[Control, Told]) -> dict[str, dict[str, float]]:
    """Of each control, the measures that it is a control of."""
    return {
        control: {name: value for name, value in told.values.items() if control in MEASURES[name].controls}
        for control, told in others.items()
    }
