"""SyncNet's lip sync of a whole film: `watch` once, and `score` for each of several sounds."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from ..sound.audio import Recording
from ..sound.mfcc import in_16_bits
from .lipsync import SAMPLES, LipSync, SyncError, scored, windows_of
from .speaking_crops import SpeakingCrops, Stretch, longest, stretches, whole_frames
from .streamed import Ready, as_it_is
from .syncnet import SyncNet, Watching, heard

Boxes = NDArray[np.floating]  # as `stretches` takes them
OnStep = Callable[[int], None]  # called with the number of frames seen so far; raising stops the work


def unwatched(frames: int) -> None:
    pass


@dataclass(frozen=True)
class Shown:
    """What SyncNet saw in a film, to be compared with any sound."""

    features: Tensor  # (windows, 1024), of every five frames in a row
    frames: int
    start: int = 0  # the film's frame that they begin with
    share: float = 1.0  # of the film's frames, those that were shown
    stretch: Stretch | None = None  # that was followed; None: whole frames were shown


def watch(
    pieces: Iterable[Tensor],
    boxes: Boxes | None,
    network: SyncNet,
    cuts: Iterable[int] = (),
    *,
    on_step: OnStep = unwatched,
    device: torch.device | str = "cpu",
    ready: Ready = as_it_is,
) -> Shown:
    """pieces: of a film at 25 frames a second, uint8 (n, height, width, 3), R, G, B.

    boxes: of the faces in its frames, of which the longest stretch counts; None: whole frames are shown, as Wav2Lip's
    evaluation does. cuts: frames that begin another shot.
    """
    watching = Watching(network, device, ready)
    if boxes is None:
        frames = _look(watching, pieces, whole_frames, on_step)
        return Shown(watching.features, frames)
    stretch = longest(stretches(boxes, cuts))
    seen = _look(watching, pieces, SpeakingCrops(stretch).cut, on_step, stretch.stop)
    if seen < stretch.stop:
        raise SyncError(
            f"The film has {seen} frames, but a face is expected in its frame {stretch.stop - 1}. Give boxes for the "
            "film as it is shown, at 25 frames a second."
        )
    return Shown(watching.features, len(stretch), stretch.start, len(stretch) / len(boxes), stretch)


def _look(
    watching: Watching,
    pieces: Iterable[Tensor],
    cut: Callable[[Tensor], Tensor],
    on_step: OnStep,
    enough: float = math.inf,
) -> int:
    """How many frames there were, up to the piece with which there are enough."""
    seen = 0
    for piece in pieces:
        watching.see(cut(piece))
        seen += len(piece)
        on_step(seen)
        if seen >= enough:
            break
    return seen


def score(
    shown: Shown,
    sound: Recording | Tensor,
    network: SyncNet,
    *,
    device: torch.device | str = "cpu",
    ready: Ready = as_it_is,
) -> LipSync:
    """sound: of the whole film, from its first frame on; as a tensor int16 (n) at 16 kHz."""
    samples = in_16_bits(sound.samples) if isinstance(sound, Recording) else sound
    samples = samples[SAMPLES * shown.start : SAMPLES * (shown.start + shown.frames)]
    windows = windows_of(shown.frames, len(samples))
    return scored(shown.features[:windows], heard(network, samples, windows, device, ready))


# ---- sounds to compare with


def delayed(samples: Tensor, frames: int) -> Tensor:
    """samples (n) of the same length, later by so many frames, or earlier: its offset is less by as many, or more."""
    by = max(-len(samples), min(frames * SAMPLES, len(samples)))
    return F.pad(samples, (by, -by))


def rotated(samples: Tensor) -> Tensor:
    """samples (n) whose halves have changed places: the same sound, but of other moments."""
    return samples.roll(len(samples) // 2)
