"""Control over time: how strongly pose, expression and lips follow the speech in each frame, and where speech rests."""

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

MOST = 3.0  # what a keyframe may ask for; in "1:05" alone, where 1:05: 1 was meant, the 05 would be a strength

GRAMMAR = (
    "One number for the whole video, or keyframes as in 0: 1, 2.5: 0.4, 1:05: 1 -> 0, #2000: 1: each a time and a "
    "strength from 0 to 3, with a straight line from one to the next, where a time is in seconds, minutes:seconds or, "
    "after #, frames, and an arrow jumps."
)

# What an expressiveness does to the weights of pose, expression and lips
EXPRESSIVENESS = {
    "calm": (0.6, 0.7, 0.9),
    "natural": (1.0, 1.0, 1.0),
    "lively": (1.3, 1.2, 1.1),
    "exaggerated": (1.6, 1.5, 1.3),
}

# All in dB
RANGE = 40.0  # what is fainter than the loudest frame by this is not speech
DIGITAL = 60.0  # under the speech: no room is that quiet, so it says nothing about where the noise of one ends
TELLABLE = 10.0  # speech over noise, from which on a pause can be told from a faint word
FAINT = 25.0  # unstressed syllables lie this far under stressed ones
HYSTERESIS = 3.0  # to either side of the threshold, at most

SHORTEST = round(0.2 * FPS)  # frames; the lips close as long for some consonants
ATTACK, RELEASE = 3, 5  # frames; lips part before they are heard, and come to rest slowly
NEAR = 2  # frames before and after a boundary that tell how quiet it is there


class MotionError(ValueError):
    """A schedule that is not understood, in words for whoever wrote it."""


# ---- schedules


@dataclass(frozen=True)
class Key:
    time: float  # in frames
    value: float  # that it arrives at
    then: float  # that it goes on from


def keyframes(text: str, length: int, fps: float = FPS) -> Tensor:
    """A schedule in words -> (length): see GRAMMAR. Newlines, semicolons and Chinese punctuation are taken as well."""
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
        raise MotionError(f"{piece!r} is no keyframe: it lacks a colon between time and strength. {GRAMMAR}")
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
        raise MotionError(f"The strength {text.strip()!r} in {piece!r} is no number from 0 to {MOST:g}. {GRAMMAR}")
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
    """A number, or numbers one for each frame in any container -> (length). The last number holds."""
    found = _numbers(value)
    if not len(found):
        raise MotionError("The list of weights is empty; give a number, or one for each frame.")
    wrong = (~found.isfinite() | (found < 0)).nonzero()
    if len(wrong):
        at = int(wrong[0])
        raise MotionError(f"The weight of frame {at} is {found[at].item():g}; weights are numbers from 0 on.")
    if len(found) > 1 and abs(len(found) - length) > 1:
        rest = "the last one holds" if len(found) < length else "the rest is left out"
        log.info("%d weights were given for %d frames: %s.", len(found), length, rest)
    return torch.cat([found[:length], found[-1:].expand(max(0, length - len(found)))])


def _numbers(value: Any) -> Tensor:
    try:
        given = value.detach().cpu().float().numpy() if isinstance(value, Tensor) else np.asarray(value)
    except ValueError:  # lists of several lengths within a list
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
    reach: float  # to either side of it: between the two nothing changes


def threshold(levels: Tensor) -> Threshold | None:
    """Under what a recording rests, found from its own levels (frames); None where speech and noise are too near.

    Its noise is what 5 % of it are fainter than, its speech what 5 % of its loud part are louder than: neither one
    click nor long silence moves them.
    """
    speech = torch.quantile(levels[levels >= levels.max() - RANGE], 0.95).item()
    noise = torch.quantile(levels[levels >= speech - DIGITAL], 0.05).item()
    if speech - noise < TELLABLE and levels.min() < speech - DIGITAL:  # an even voice with nothing between its words
        noise = speech - DIGITAL
    above = speech - noise
    if above < TELLABLE:
        return None
    return Threshold(noise + max(above - FAINT, 0.4 * above), min(HYSTERESIS, above / 8))


def pauses(levels: Tensor, sensitivity: float = 0.0) -> Tensor:
    """Where nobody speaks: levels (frames) in dB -> (frames), true in pauses.

    `sensitivity`: dB by which the threshold is raised, so that louder sounds count as pauses, too.
    """
    if levels.max() <= FLOOR:
        return torch.ones(len(levels), dtype=torch.bool)
    found = threshold(levels)
    if found is None:
        log.info("Speech and background are less than %g dB apart: there are no pauses to tell.", TELLABLE)
        return torch.zeros(len(levels), dtype=torch.bool)
    middle = found.level + sensitivity
    faint, loud = levels < middle - found.reach, levels > middle + found.reach
    decided = (faint | loud).nonzero().flatten()
    if not len(decided):
        return faint
    # what lies between the two is as what came before it
    latest = torch.searchsorted(decided, torch.arange(len(levels)), right=True) - 1
    quiet = faint[decided[latest.clamp(min=0)]]
    for start, stop in runs(quiet):
        quiet[start:stop] = stop - start >= SHORTEST
    return quiet


def runs(mask: Tensor) -> list[tuple[int, int]]:
    """Where a mask (frames) is true: the first frame of each stretch, and the one after its last."""
    edges = torch.nn.functional.pad(mask, (1, 1)).int().diff().nonzero().flatten()
    return [(start, stop) for start, stop in edges.reshape(-1, 2).tolist()]


def gate(pauses: Tensor, attack: int = ATTACK, release: int = RELEASE) -> Tensor:
    """1 in speech, 0 in pauses: (frames). It opens in the `attack` frames before speech and closes in the `release`
    frames after it, by half a wave of the cosine each."""
    places = torch.arange(len(pauses))
    far = len(pauses) + max(attack, release) + 1
    since = places - torch.where(pauses, -far, places).cummax(0).values
    until = torch.where(pauses, 2 * far, places).flip(0).cummin(0).values.flip(0) - places
    near = torch.maximum(1 - until / (attack + 1), 1 - since / (release + 1)).clamp(min=0)
    return 0.5 - 0.5 * torch.cos(torch.pi * near)


# ---- all together


def weights(
    length: int,
    pose: Any = 1.0,
    expression: Any = 1.0,
    lip: Any = 1.0,
    expressiveness: str = "natural",
    opening: Tensor | None = None,
) -> Tensor:
    """What Settings.weights takes: (length, 3), for pose, expression and lips.

    Each of the three is a number, a list of numbers, or a text that `keyframes` understands. `opening` (length) is what
    `gate` gives, to which the lips, and these alone, are held.
    """
    given = [keyframes(x, length) if isinstance(x, str) else curve(x, length) for x in (pose, expression, lip)]
    if expressiveness not in EXPRESSIVENESS:
        raise MotionError(f"The expressiveness {expressiveness!r} is unknown; choose {', '.join(EXPRESSIVENESS)}.")
    found = torch.stack(given, dim=1) * torch.tensor(EXPRESSIVENESS[expressiveness])
    if opening is not None:
        found[:, REGIONS.index("lip")] *= opening
    return found


# ---- where a cut is heard least


def anchors(levels: Tensor, starts: Sequence[int], every: int) -> list[int]:
    """Chunks that begin at quiet places, `every` to twice as many frames apart, counted from the first chunk.

    levels (frames) in dB; starts: the first frame of each chunk, rising. -> indices into `starts`. Where no chunk
    begins in such a stretch the next one is taken.
    """
    if every < 1:
        raise ValueError(f"An anchor every {every} frames was asked for; at least 1 is expected.")
    found, last = [], 0
    while later := [i for i, start in enumerate(starts) if start >= starts[last] + every]:
        near = [i for i in later if starts[i] < starts[last] + 2 * every] or later[:1]
        last = quietest(levels, starts, near)
        found.append(last)
    return found


def quietest(levels: Tensor, starts: Sequence[int], candidates: Sequence[int]) -> int:
    """The candidate, an index into `starts`, around whose start the loudest frame is faintest; the first of equals."""
    return min(candidates, key=lambda i: _loudest(levels, starts[i]))


def _loudest(levels: Tensor, start: int) -> float:
    around = levels[max(0, start - NEAR) : start + NEAR]
    return around.max().item() if len(around) else -float("inf")
