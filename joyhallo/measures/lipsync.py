"""How well lips fit a sound, told by the distances between what a network sees and what it hears: Sync-C and Sync-D.

Papers also call them LSE-C and LSE-D. `windows_of` says how many windows a film has, `scored` makes the scores of
their features. Sync-C depends on a film's length: the silence beyond both ends counts as well, and has more weight in
short films. Only films of one length can be compared. `Overlap` has no such bias, but nobody else publishes it.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from ..config import FPS, SAMPLE_RATE
from .medians import medians

FRAMES = 5  # of a window
SPAN = 15  # frames by which the sound is moved either way
SAMPLES = SAMPLE_RATE // FPS  # of a frame
SMOOTHED = 9  # windows
AT_ONCE = 256  # windows whose features a processor keeps at hand, for all lags
COMPARABLE = 40  # windows, below which confidences say more about the length than about the lips


class SyncError(ValueError):
    """Lip sync cannot be measured; the message is for the user."""


def windows_of(frames: int, samples: int) -> int:
    """One fewer than there could be, as in the original."""
    windows = min(frames, samples // SAMPLES) - FRAMES
    if windows < 1:
        raise SyncError(
            f"Lip sync is measured in at least {FRAMES + 1} frames, at {FPS} a second; the film has {frames} that show "
            f"the face, and sound for {samples // SAMPLES}. Use a longer film."
        )
    return windows


@dataclass(frozen=True)
class Overlap:
    """Ours: as the scores below, but of windows that have both picture and sound, and of lags with half of them."""

    confidence: float
    distance: float
    offset: int
    curve: Tensor  # (2 span + 1): NaN where there are fewer


@dataclass(frozen=True)
class LipSync:
    confidence: float  # Sync-C: how much better the best lag is than usual ones; more is better
    distance: float  # Sync-D: at the best lag; less is better
    median: float  # their sum
    offset: int  # frames by which the sound comes too early; delayed by so many it fits
    windows: int
    curve: Tensor  # (2 span + 1): the mean distance from the sound of so many windows before, up to as many after
    framewise: Tensor  # (windows): the confidence along the film, smoothed; only to look at
    overlap: Overlap


def scored(seen: Tensor, heard: Tensor, span: int = SPAN) -> LipSync:
    """seen, heard (windows, features): of the same windows."""
    if seen.shape != heard.shape or seen.ndim != 2 or not len(seen):
        raise ValueError(
            f"There are features {tuple(seen.shape)} of pictures and {tuple(heard.shape)} of sound; expected as many "
            "of both, (windows, features), and one window at least."
        )
    apart = distances(seen, heard, span)
    curve = apart.mean(0)
    if not torch.isfinite(curve).all():
        raise SyncError(
            "The network's features are not finite. Load its weights in full precision, or download them again."
        )
    best, median = int(curve.argmin()), curve.median()
    return LipSync(
        (median - curve[best]).item(),
        curve[best].item(),
        median.item(),
        span - best,
        len(seen),
        curve,
        medians(median - apart[:, best], SMOOTHED),
        _overlap(apart),
    )


def distances(seen: Tensor, heard: Tensor, span: int = SPAN) -> Tensor:
    """(windows, 2 span + 1): of each picture from the sound of `span` windows before it up to as many after it.

    Where there is no sound its features are zeros.
    """
    padded, starts = F.pad(heard, (0, 0, span, span)), range(0, len(seen), AT_ONCE)
    return torch.cat([_apart(seen[at : at + AT_ONCE], padded[at : at + AT_ONCE + 2 * span]) for at in starts])


def _apart(seen: Tensor, heard: Tensor) -> Tensor:
    """Of some windows, and as many of sound and those around them."""
    count = len(seen)
    lags = range(len(heard) - count + 1)
    return torch.stack([F.pairwise_distance(seen, heard[lag : lag + count]) for lag in lags], dim=1)


def _overlap(apart: Tensor) -> Overlap:
    """apart: distances (windows, lags)"""
    count, span = len(apart), apart.shape[1] // 2
    lags = torch.arange(-span, span + 1, device=apart.device)
    place = torch.arange(count, device=apart.device)[:, None] + lags
    both = (place >= 0) & (place < count)
    pairs = both.sum(0)
    means = apart.where(both, 0).sum(0) / pairs
    counting = 2 * pairs >= count
    kept = means[counting]
    best = int(kept.argmin())
    distance = kept[best].item()
    curve = means.where(counting, float("nan"))
    return Overlap(kept.median().item() - distance, distance, -int(lags[counting][best]), curve)
