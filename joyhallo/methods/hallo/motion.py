"""Control over time: weights of pose, expression and lips per frame, pauses in the speech, and quiet anchor points."""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ...config import FPS
from ...sound.audio import FLOOR
from ...sound.times import pieces, plain, seconds
from .config import REGIONS

log = logging.getLogger(__name__)

MOST = 3.0  # strongest keyframe; catches "1:05" written for "1:05: 1", which would read as time 1, strength 5

GRAMMAR = (
    "One number for the whole video, or keyframes as in 0: 1, 2.5: 0.4, 1:05: 1 -> 0, #2000: 1. Each is a time "
    "(seconds, minutes:seconds, or # and a frame number) and a strength from 0 to 3, with straight lines between "
    "them; an arrow makes a jump."
)

# Factors on the weights of pose, expression and lips
EXPRESSIVENESS = {
    "calm": (0.6, 0.7, 0.9),
    "natural": (1.0, 1.0, 1.0),
    "lively": (1.3, 1.2, 1.1),
    "exaggerated": (1.6, 1.5, 1.3),
}

# All in dB
RANGE = 40.0  # frames fainter than the loudest by this are not speech
DIGITAL = 60.0  # below the speech: no room is that quiet, so it says nothing about the noise of the room
TELLABLE = 10.0  # speech over noise, needed to distinguish a pause from a faint word
FAINT = 25.0  # unstressed syllables lie this far below stressed ones
HYSTERESIS = 3.0  # to either side of the threshold, at most

SHORTEST = round(0.2 * FPS)  # frames; for some consonants the lips close almost as long
ATTACK, RELEASE = 3, 5  # frames; lips part before the sound begins, and come to rest slowly
NEAR = 2  # frames before and after a boundary in which quietness is measured


class MotionError(ValueError):
    """A schedule or weight cannot be used; the message is for the user."""


# ---- schedules


@dataclass(frozen=True)
class Key:
    time: float  # in frames
    value: float  # reached at this time
    then: float  # from which the curve continues


def keyframes(text: str, length: int, fps: float = FPS) -> Tensor:
    """Parse a schedule into (length) values; see GRAMMAR. Newlines, semicolons and Chinese punctuation also work."""
    written = plain(text).replace("→", "->")
    parts = pieces(written)
    if not parts:
        raise MotionError(f"The schedule is empty. {GRAMMAR}")
    if len(parts) == 1 and ":" not in written:
        return torch.full((length,), _strength(parts[0], parts[0]))
    keys = sorted((_key(part, fps) for part in parts), key=lambda key: key.time)
    for key, following in pairwise(keys):
        if key.time == following.time:
            at = f"{key.time / fps:g}"
            raise MotionError(
                f"Two keyframes are at {at} s. For a jump write {at}: {key.value:g} -> {following.then:g}."
            )
    return _lines(keys, length)


def _key(piece: str, fps: float) -> Key:
    time, colon, strength = (part.strip() for part in piece.rpartition(":"))
    if not colon:
        raise MotionError(f"{piece!r} is not a keyframe: there is no colon between time and strength. {GRAMMAR}")
    first, jumps, then = strength.partition("->")
    value = _strength(first, piece)
    return Key(_frame(time, piece, fps), value, _strength(then, piece) if jumps else value)


def _frame(time: str, piece: str, fps: float) -> float:
    if found := re.fullmatch(r"#\s*(\d+)", time):
        return float(found[1])
    at = seconds(time)
    if at is None:
        raise MotionError(f"The time {time!r} in {piece!r} is not understood. {GRAMMAR}")
    return round(at * fps, 6)  # 0.28 s are 7.000000000000001 frames in floating point


def _strength(text: str, piece: str) -> float:
    found = re.fullmatch(r"\s*(\d+\.?\d*|\.\d+)\s*", text)
    if not found or float(found[1]) > MOST:
        raise MotionError(f"The strength {text.strip()!r} in {piece!r} is not a number from 0 to {MOST:g}. {GRAMMAR}")
    return float(found[1])


def _lines(keys: Sequence[Key], length: int) -> Tensor:
    known = [(key.time, key.value, key.then) for key in keys]
    times, values, thens = (torch.tensor(part, dtype=torch.float64) for part in zip(*known, strict=True))
    frames = torch.arange(length, dtype=torch.float64)
    passed = torch.searchsorted(times, frames, right=True)
    before, after = (passed - 1).clamp(min=0), passed.clamp(max=len(keys) - 1)
    start = torch.where(passed > 0, thens[before], values[0])
    end = torch.where(passed < len(keys), values[after], thens[-1])
    span = times[after] - times[before]
    share = torch.where(span > 0, (frames - times[before]) / span, 0.0)
    return torch.lerp(start, end, share).float()


def curve(value: Any, length: int) -> Tensor:
    """Expand a number, or any container of one number per frame, to (length); the last number is repeated."""
    found = _numbers(value)
    if not len(found):
        raise MotionError("The list of weights is empty; give a number, or one for each frame.")
    wrong = (~found.isfinite() | (found < 0)).nonzero()
    if len(wrong):
        at = int(wrong[0])
        raise MotionError(f"The weight of frame {at} is {found[at].item():g}; weights must be 0 or more.")
    if len(found) > 1 and abs(len(found) - length) > 1:
        rest = "the last one is repeated" if len(found) < length else "the rest is ignored"
        log.info("%d weights were given for %d frames: %s.", len(found), length, rest)
    return torch.cat([found[:length], found[-1:].expand(max(0, length - len(found)))])


def _numbers(value: Any) -> Tensor:
    try:
        given = value.detach().cpu().float().numpy() if isinstance(value, Tensor) else np.asarray(value)
    except ValueError:  # nested lists of different lengths
        given = np.asarray(None)
    if given.dtype.kind not in "fiu" or given.ndim > 1:
        shape = f" of shape {given.shape}" if given.ndim else ""
        raise MotionError(
            f"The weights are a {type(value).__name__}{shape}; give a number, or a list of numbers, one for each frame."
        )
    return torch.from_numpy(np.atleast_1d(given).astype(np.float32))


# ---- pauses


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


# ---- combined weights


def weights(
    length: int,
    pose: Any = 1.0,
    expression: Any = 1.0,
    lip: Any = 1.0,
    expressiveness: str = "natural",
    opening: Tensor | None = None,
) -> Tensor:
    """Weights of pose, expression and lips for Settings.weights, (length, 3).

    Each of the three is a number, a list of numbers, or a text for `keyframes`. `opening` (length), from `gate`, scales
    the lips alone.
    """
    given = [keyframes(x, length) if isinstance(x, str) else curve(x, length) for x in (pose, expression, lip)]
    if expressiveness not in EXPRESSIVENESS:
        raise MotionError(f"The expressiveness {expressiveness!r} is unknown; choose {', '.join(EXPRESSIVENESS)}.")
    found = torch.stack(given, dim=1) * torch.tensor(EXPRESSIVENESS[expressiveness])
    if opening is not None:
        found[:, REGIONS.index("lip")] *= opening
    return found


# ---- quiet places for anchors


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
