"""Two speakers: `divided` splits one recording by turns; `together` and `in_turn` join a recording of each."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from .audio import BLOCK, Sound, as_channels, checked_rate, resampled
from .times import pieces, plain, seconds

SPEAKERS = (1, 2)  # in the picture from left to right
FADE = 0.01  # seconds: a hard cut clicks, and the encoder's features of a click move the lips
ROUNDED = 0.1  # seconds by which a turn may end beyond the recording, from rounding

GRAMMAR = (
    "Write who speaks when, as in 1: 0-3.2, 2: 3.2-1:07, 1: 1:07-: a speaker, 1 or 2, and two times in seconds or "
    "minutes:seconds; leave out the second to mean the end."
)


class TurnsError(ValueError):
    """Turns cannot be understood or applied; the message is for the user."""


@dataclass(frozen=True)
class Turn:
    speaker: int
    start: float  # seconds
    end: float

    def __str__(self) -> str:
        return f"{self.speaker}: {self.start:g}-{self.end:g}"


@dataclass(frozen=True)
class Dialogue:
    """Tracks (channels, samples) of one length."""

    first: Tensor  # silent while the other speaks
    second: Tensor
    both: Tensor  # for the video
    rate: int


# ---- one recording


def divided(sound: Sound, text: str) -> Dialogue:
    """Split a recording of two speakers by a text that says who speaks when; see GRAMMAR."""
    waveform, rate = as_channels(sound[0]), checked_rate(sound[1])
    turns = read_turns(text, waveform.shape[1] / rate)
    first, second = (
        waveform * _heard([turn for turn in turns if turn.speaker == speaker], waveform.shape[1], rate)
        for speaker in SPEAKERS
    )
    return Dialogue(first, second, waveform, rate)


def read_turns(text: str, length: float) -> list[Turn]:
    """Parse the turns of a recording that lasts `length` seconds."""
    turns = [_turn(piece, length) for piece in pieces(re.sub("[–—~至]", "-", plain(text)))]
    if not turns:
        raise TurnsError(f"There are no turns. {GRAMMAR}")
    for speaker in SPEAKERS:
        own = sorted((turn for turn in turns if turn.speaker == speaker), key=lambda turn: turn.start)
        if not own:
            raise TurnsError(f"Speaker {speaker} has no turn. {GRAMMAR}")
        for turn, following in pairwise(own):
            if following.start < turn.end:
                raise TurnsError(
                    f"The turns {turn} and {following} of the same speaker overlap; end the first earlier."
                )
    return turns


def _turn(piece: str, length: float) -> Turn:
    found = re.fullmatch(r"(\d+)\s*:([^-]+)-([^-]*)", piece)
    start, end = (seconds(found[2]), seconds(found[3]) if found[3].strip() else length) if found else (None, None)
    if found is None or start is None or end is None:
        raise TurnsError(f"The turn {piece!r} is not understood. {GRAMMAR}")
    if int(found[1]) not in SPEAKERS:
        raise TurnsError(f"There is no speaker {found[1]}, as in {piece!r}: 1 is on the left, 2 on the right.")
    if start >= length or end > length + ROUNDED:
        raise TurnsError(f"The turn {piece!r} reaches beyond the recording, which ends at {length:.2f} s.")
    if end <= start:
        raise TurnsError(f"The turn {piece!r} ends before it begins; write the earlier time first.")
    return Turn(int(found[1]), start, min(end, length))


def _heard(turns: Iterable[Turn], length: int, rate: int) -> Tensor:
    """Weight of each sample, (length): 1 in the turns, 0 elsewhere, faded at cuts."""
    found = torch.zeros(length)
    for turn in turns:
        start, end = round(turn.start * rate), round(turn.end * rate)
        found[start:end] = _faded(end - start, round(FADE * rate), start > 0, end < length)
    return found


def _faded(length: int, fade: int, at_start: bool, at_end: bool) -> Tensor:
    places, found = (torch.arange(length) + 0.5) / max(1, fade), torch.ones(length)
    if at_start:
        found = torch.minimum(found, places)
    return torch.minimum(found, places.flip(0)) if at_end else found


# ---- two recordings


def together(one: Sound, other: Sound) -> Dialogue:
    """Play both at once. The longer one sets the length; the mix is turned down where it would clip."""
    first, second, rate = _alike(one, other)
    length = max(first.shape[1], second.shape[1])
    first, second = (torch.nn.functional.pad(track, (0, length - track.shape[1])) for track in (first, second))
    both = first + second
    return Dialogue(first, second, both / max(1.0, both.abs().max().item()), rate)


def in_turn(one: Sound, other: Sound) -> Dialogue:
    """Play one after the other."""
    first, second, rate = _alike(one, other)
    lengths = first.shape[1], second.shape[1]
    both = torch.cat([first, second], dim=1)
    first = torch.nn.functional.pad(first, (0, lengths[1]))
    return Dialogue(first, torch.nn.functional.pad(second, (lengths[0], 0)), both, rate)


def _alike(*sounds: Sound) -> tuple[Tensor, Tensor, int]:
    """Bring both to the higher rate and to one channel count: mono is repeated, other layouts that differ are mixed."""
    rate = max(checked_rate(rate) for _, rate in sounds)
    tracks = [
        _at_rate(as_channels(waveform).detach().cpu().float(), checked_rate(own), rate) for waveform, own in sounds
    ]
    first, second = _of_the_same_channels(tracks)
    return first, second, rate


def _of_the_same_channels(tracks: Sequence[Tensor]) -> list[Tensor]:
    counts = {len(track) for track in tracks}
    if 1 not in counts and len(counts) > 1:
        return [track.mean(0, keepdim=True) for track in tracks]
    return [track.expand(max(counts), -1) for track in tracks]


def _at_rate(waveform: Tensor, rate: int, target: int) -> Tensor:
    if rate == target:
        return waveform
    blocks = (block.numpy().T for block in waveform.split(BLOCK, dim=1))
    return torch.from_numpy(np.concatenate(list(resampled(blocks, rate, target))).T)
