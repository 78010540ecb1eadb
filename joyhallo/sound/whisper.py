"""Whisper's encoder, and what two methods hear with it: states of its layers, 50 a second, ten of them for a frame.

The methods differ in how they fill the last half minute, in the last state, and in what lies beyond the recording's
ends: `LATENTSYNC` and `MUSETALK` say so. `hear` encodes nothing yet; half minutes are encoded as frames ask for them.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..config import SAMPLE_RATE
from ..files.fingerprint import of_module
from ..ops import Ops, TorchOps
from ..recent import Recent
from .audio import check_numbers
from .mel import basis

BANDS = 80
HOP, WINDOW = 160, 400  # samples
COLUMNS = 3000  # of half a minute, which the encoder takes at a time
ROWS = COLUMNS // 2  # that it gives
ROWS_PER_SECOND = SAMPLE_RATE // (2 * HOP)
OVERLAP = 250  # columns on each side of a half minute that only help to understand what is between them
HEAD = 64  # numbers that each head of Whisper's attention has
FLOOR, RANGE = 1e-10, 8.0
KEPT = Recent(128 << 20)  # states of half minutes, by all that they depend on, should another film want this sound

Joints = Literal["blocks", "overlapped"]


# ---- the network


class Attention(nn.Module):
    def __init__(self, width: int, heads: int, ops: Ops):
        super().__init__()
        self.ops, self.heads = ops, heads
        self.query = ops.Linear(width, width)
        self.key = ops.Linear(width, width, bias=False)
        self.value = ops.Linear(width, width)
        self.out = ops.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.ops.attention(self.query(x), self.key(x), self.value(x), self.heads))


class Block(nn.Module):
    def __init__(self, width: int, inner: int, heads: int, ops: Ops):
        super().__init__()
        self.attn = Attention(width, heads, ops)
        self.attn_ln = ops.LayerNorm(width)
        self.mlp = nn.ModuleList([ops.Linear(width, inner), nn.GELU(), ops.Linear(inner, width)])
        self.mlp_ln = ops.LayerNorm(width)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attn(self.attn_ln(x))
        y = self.mlp_ln(x)
        for layer in self.mlp:
            y = layer(y)
        return x + y


class Whisper(nn.Module):
    """The encoder alone, under the names of the published files of its authors."""

    positional_embedding: Tensor

    def __init__(self, width: int, blocks: int, ops: Ops = TorchOps, *, inner: int = 0, heads: int = 0):
        """inner, heads: if not as in the published ones."""
        super().__init__()
        self.width, inner, heads = width, inner or 4 * width, heads or max(1, width // HEAD)
        self.conv1 = ops.Conv1d(BANDS, width, 3, padding=1)
        self.conv2 = ops.Conv1d(width, width, 3, stride=2, padding=1)
        self.register_buffer("positional_embedding", torch.empty(ROWS, width))
        self.blocks = nn.ModuleList([Block(width, inner, heads, ops) for _ in range(blocks)])
        self.ln_post = ops.LayerNorm(width)

    def forward(self, mel: Tensor, normed: bool) -> Tensor:
        """mel (n, 80, 3000) -> states (n, 1500, states, width): of the input, and after each block.

        normed: whether the last one passes the last norm, as in the whole of Whisper.
        """
        x = F.gelu(self.conv2(F.gelu(self.conv1(mel)))).transpose(1, 2)
        found = [x + self.positional_embedding.to(x)]
        for block in self.blocks:
            found.append(block(found[-1]))
        if normed:
            found[-1] = self.ln_post(found[-1])
        return torch.stack(found, dim=2)


# ---- what it is given


def log_mel(samples: Tensor) -> Tensor:
    """samples (n) at 16 kHz -> (80, n // 160): logarithms, of which the faintest are 8 below the loudest."""
    if len(samples) <= WINDOW // 2:  # the mirror needs that many
        samples = F.pad(samples, (0, WINDOW // 2 + 1 - len(samples)))
    window = torch.hann_window(WINDOW, device=samples.device)
    parts, filters = [], basis(WINDOW, 0.0, SAMPLE_RATE / 2).to(samples.device)
    padded = F.pad(samples.float()[None], (WINDOW // 2, WINDOW // 2), mode="reflect")[0]
    columns = len(samples) // HOP
    for start in range(0, columns, COLUMNS):
        part = padded[start * HOP : (min(start + COLUMNS, columns) - 1) * HOP + WINDOW]
        power = torch.stft(part, WINDOW, HOP, window=window, center=False, return_complex=True).abs() ** 2
        parts.append((filters @ power).clamp(min=FLOOR).log10())
    if not parts:
        return samples.new_zeros(BANDS, 0)
    logarithms = torch.cat(parts, dim=1)
    return (logarithms.clamp(min=float(logarithms.max()) - RANGE) + 4) / 4


@dataclass(frozen=True)
class Manner:
    """How a method has Whisper hear."""

    silence: Literal["spectrum", "sound"]  # what half a minute that is not full is filled with: zeros of which
    normed: bool  # the last state
    beyond: Literal["repeated", "zero"]  # rows before the first and after the last
    past_end: bool  # whether the original makes frames until one begins after the last row


LATENTSYNC = Manner("spectrum", normed=False, beyond="repeated", past_end=True)
MUSETALK = Manner("sound", normed=True, beyond="zero", past_end=False)


# ---- hearing


@dataclass(frozen=True)
class Heard:
    """The states of a recording: `heard[rows]` is (n, states, width), for any rows in any order."""

    rows: int
    step: int  # rows from the beginning of one half minute to that of the next
    margin: int  # rows at the ends of half minutes that are not used
    block: Callable[[int], Tensor]  # its number -> (rows, states, width)

    def __len__(self) -> int:
        return self.rows

    def __getitem__(self, rows: Tensor) -> Tensor:
        last = max(0, -(-(self.rows - ROWS) // self.step))
        blocks = ((rows - self.margin) // self.step).clamp(0, last)
        parts = [(blocks == number).nonzero()[:, 0] for number in blocks.unique().tolist()]
        found = [self.block(int(blocks[part[0]]))[rows[part] - blocks[part] * self.step] for part in parts]
        order = torch.cat(parts).argsort()
        return torch.cat(found)[order]


def hear(
    whisper: Whisper,
    samples: Tensor,
    manner: Manner,
    joints: Joints = "blocks",
    device: torch.device | str = "cpu",
    ready: Callable[[Any], Any] = lambda network: network,
) -> Heard:
    """samples (n) at 16 kHz; ready: called with the network before each use.

    joints: half minutes that know nothing of each other, as in the originals, or that overlap.
    """
    check_numbers(samples)
    overlap = OVERLAP if joints == "overlapped" else 0
    step = COLUMNS - 2 * overlap
    whole = log_mel(samples) if manner.silence == "spectrum" else None
    named = f"{of_module(whisper)} {manner}"

    def spectrum(number: int) -> Tensor:
        start = number * step
        if whole is not None:
            part = whole[:, start : start + COLUMNS]
            return F.pad(part, (0, COLUMNS - part.shape[1]))
        part = samples[start * HOP : (start + COLUMNS) * HOP]
        return log_mel(F.pad(part, (0, COLUMNS * HOP - len(part))))

    @lru_cache(maxsize=2)  # a frame at a joint hears both sides
    @torch.no_grad()
    def block(number: int) -> Tensor:
        mel = spectrum(number)
        key = hashlib.sha256(named.encode() + mel.cpu().numpy().tobytes()).hexdigest()
        states = KEPT.get(key)
        if states is None:
            dtype = next(whisper.parameters()).dtype
            states = ready(whisper)(mel[None].to(device, dtype), manner.normed)[0].float().cpu()
            KEPT.keep(key, states)
        return states

    return Heard(len(samples) // (2 * HOP), step // 2, overlap // 2, block)


# ---- the window of each frame


@dataclass(frozen=True)
class WhisperWindows:
    """`windows[[3, 4]]` is (2, tokens, width): rows of states one after the other, the states of each row in order."""

    heard: Heard
    starts: Tensor  # (frames): the first row of each
    count: int  # rows of each
    beyond: Literal["repeated", "zero"]

    def __len__(self) -> int:
        return len(self.starts)

    def rows(self, frames: Sequence[int] | slice) -> Tensor:
        """(n, count), of which some may lie beyond the recording."""
        return self.starts[frames][:, None] + torch.arange(self.count)

    def __getitem__(self, frames: Sequence[int] | slice) -> Tensor:
        rows = self.rows(frames)
        inside = rows.clamp(0, max(0, len(self.heard) - 1))
        found = self.heard[inside.flatten()].unflatten(0, rows.shape)
        if self.beyond == "zero":
            found = found * ((rows >= 0) & (rows < len(self.heard)))[..., None, None]
        return found.flatten(1, 2)


def windows(
    heard: Heard,
    manner: Manner,
    rate: Fraction | float,
    frames: int,
    *,
    offset: float = 0.0,
    before: int = 2,
    after: int = 2,
) -> WhisperWindows:
    """For each of so many frames at a rate: `before` 25ths of a second before it, its own and `after` after it.

    Frame i begins at row floor(i * 50 / rate), exactly, so that nothing drifts at any rate. offset: milliseconds by
    which lips come later.
    """
    if not rate > 0:
        raise ValueError(f"The frame rate is {rate}; it must be above 0.")
    step = _rows_per_frame(rate)
    late = Fraction(offset).limit_denominator(1000) * ROWS_PER_SECOND / 1000
    first = torch.tensor([math.floor(number * step - late) for number in range(frames)], dtype=torch.long)
    return WhisperWindows(heard, first - 2 * before, 2 * (before + after + 1), manner.beyond)


def _rows_per_frame(rate: Fraction | float) -> Fraction:
    return ROWS_PER_SECOND / Fraction(rate).limit_denominator(1 << 20)


def frames_of(samples: int, rate: Fraction | float, manner: Manner, cover_tail: bool) -> int:
    """As the sound lasts, or as the original makes: LatentSync one or two more, MuseTalk one less where it is cut."""
    exact = samples * Fraction(ROWS_PER_SECOND, SAMPLE_RATE) / _rows_per_frame(rate)
    if cover_tail:
        return math.ceil(exact)
    if not manner.past_end:
        return math.floor(exact)
    return math.ceil((samples // (2 * HOP) + 1) / _rows_per_frame(rate)) + 1
