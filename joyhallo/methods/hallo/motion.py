"""Control over time: weights of pose, expression and lips for each frame, as numbers, lists or keyframes in words."""

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
from ...sound.times import pieces, plain, seconds
from .config import REGIONS

log = logging.getLogger(__name__)

STRONGEST = 10.0  # weight of a frame: twice what keyframes and expressiveness can reach; 1e30 gives no numbers
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
    wrong = (~found.isfinite() | (found < 0) | (found > STRONGEST)).nonzero()
    if len(wrong):
        at = int(wrong[0])
        raise MotionError(f"The weight of frame {at} is {found[at].item():g}; weights must be from 0 to {STRONGEST:g}.")
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
