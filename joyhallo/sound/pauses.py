"""Pauses in a recording, found from its levels: a mask, a gate that follows it, and quiet places to cut."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..config import FPS
from .audio import FLOOR

log = logging.getLogger(__name__)

# All in dB
RANGE = 40.0  # frames fainter than the loudest by this are not speech
DIGITAL = 60.0  # below the speech: no room is that quiet, so it says nothing about the noise of the room
TELLABLE = 10.0  # speech over noise, needed to distinguish a pause from a faint word
FAINT = 25.0  # unstressed syllables lie this far below stressed ones
HYSTERESIS = 3.0  # to either side of the threshold, at most

SHORTEST = round(0.2 * FPS)  # frames; for some consonants the lips close almost as long
ATTACK, RELEASE = 3, 5  # frames; lips part before the sound begins, and come to rest slowly
NEAR = 2  # frames before and after a boundary in which quietness is measured


@dataclass(frozen=True)
class Threshold:
    level: float  # dB
    reach: float  # to either side: between the two, the state does not change


def threshold(levels: Tensor) -> Threshold | None:
    """The level that separates speech from pauses, found from levels (frames); None if speech and noise are too close.

    The noise is the 5th percentile of all levels, the speech the 95th of the loud ones: neither one click nor long
    silence affects them.
    """
    speech = torch.quantile(levels[levels >= levels.max() - RANGE], 0.95).item()
    noise = torch.quantile(levels[levels >= speech - DIGITAL], 0.05).item()
    if (
        speech - noise < TELLABLE and levels.min() < speech - DIGITAL
    ):  # a steady voice, and digital silence between words
        noise = speech - DIGITAL
    above = speech - noise
    if above < TELLABLE:
        return None
    return Threshold(noise + max(above - FAINT, 0.4 * above), min(HYSTERESIS, above / 8))


def pauses(levels: Tensor, sensitivity: float = 0.0) -> Tensor:
    """Find pauses: levels (frames) in dB -> (frames), true where nobody speaks.

    `sensitivity`: dB added to the threshold, so that louder sounds count as pauses, too.
    """
    if levels.max() <= FLOOR:
        return torch.ones(len(levels), dtype=torch.bool)
    found = threshold(levels)
    if found is None:
        log.info("Speech and background are less than %g dB apart: pauses cannot be found.", TELLABLE)
        return torch.zeros(len(levels), dtype=torch.bool)
    middle = found.level + sensitivity
    faint, loud = levels < middle - found.reach, levels > middle + found.reach
    decided = (faint | loud).nonzero().flatten()
    if not len(decided):
        return faint
    # frames between the two keep the state of those before
    latest = torch.searchsorted(decided, torch.arange(len(levels)), right=True) - 1
    quiet = faint[decided[latest.clamp(min=0)]]
    for start, stop in runs(quiet):
        quiet[start:stop] = stop - start >= SHORTEST
    return quiet


def runs(mask: Tensor) -> list[tuple[int, int]]:
    """Stretches where a mask (frames) is true: the first frame of each, and the one after its last."""
    edges = torch.nn.functional.pad(mask, (1, 1)).int().diff().nonzero().flatten()
    return [(start, stop) for start, stop in edges.reshape(-1, 2).tolist()]


def gate(pauses: Tensor, attack: int = ATTACK, release: int = RELEASE) -> Tensor:
    """A gate (frames), 1 in speech and 0 in pauses. It opens over the `attack` frames before speech and closes over the
    `release` frames after it, each along half a cosine wave."""
    places = torch.arange(len(pauses))
    far = len(pauses) + max(attack, release) + 1
    since = places - torch.where(pauses, -far, places).cummax(0).values
    until = torch.where(pauses, 2 * far, places).flip(0).cummin(0).values.flip(0) - places
    near = torch.maximum(1 - until / (attack + 1), 1 - since / (release + 1)).clamp(min=0)
    return 0.5 - 0.5 * torch.cos(torch.pi * near)


def anchors(levels: Tensor, starts: Sequence[int], every: int) -> list[int]:
    """Choose chunks that begin at quiet places, `every` to twice as many frames apart, counted from the first chunk.

    levels (frames) in dB; starts: the first frame of each chunk, rising. Returns indices into `starts`. If no chunk
    begins in such a stretch, the next one is taken.
    """
    if every < 1:
        raise ValueError(f"Anchors every {every} frames are impossible; choose at least 1.")
    found, last = [], 0
    while later := [i for i, start in enumerate(starts) if start >= starts[last] + every]:
        near = [i for i in later if starts[i] < starts[last] + 2 * every] or later[:1]
        last = quietest(levels, starts, near)
        found.append(last)
    return found


def quietest(levels: Tensor, starts: Sequence[int], candidates: Sequence[int]) -> int:
    """The candidate, an index into `starts`, at the quietest place by its loudest frame; the first of equals."""
    return min(candidates, key=lambda i: _loudest(levels, starts[i]))


def _loudest(levels: Tensor, start: int) -> float:
    around = levels[max(0, start - NEAR) : start + NEAR]
    return around.max().item() if len(around) else -float("inf")
