"""Whisper's encoder, and what two methods hear with it: states of its layers, 50 a second, ten of them for a frame.

The methods differ in how they fill the last half minute, in the last state, and in what lies beyond the recording's
ends: `LATENTSYNC` and `MUSETALK` say so. `hear` encodes nothing yet; half minutes are encoded as frames ask for them.
"""

from __future__ import annotations

import math
from collections.abc import Callable
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
from .heard import ROWS_PER_SECOND, Beyond, Heard, Joints, remembered, rows_per_frame
from .mel import basis

BANDS = 80
HOP, WINDOW = 160, 400  # samples
COLUMNS = 3000  # of half a minute, which the encoder takes at a time
ROWS = COLUMNS // 2  # that it gives
OVERLAP = 250  # columns on each side of a half minute that only help to understand what is between them
HEAD = 64  # numbers that each head of Whisper's attention has
FLOOR, RANGE = 1e-10, 8.0
KEPT = Recent(128 << 20)  # states of half minutes, by all that they depend on, should another film want this sound


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
    beyond: Beyond
    past_end: bool  # whether the original makes frames until one begins after the last row


LATENTSYNC = Manner("spectrum", normed=False, beyond="repeated", past_end=True)
MUSETALK = Manner("sound", normed=True, beyond="zero", past_end=False)


# ---- hearing


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
        dtype = next(whisper.parameters()).dtype
        return remembered(KEPT, named, mel, lambda: ready(whisper)(mel[None].to(device, dtype), manner.normed)[0])

    return Heard(len(samples) // (2 * HOP), ROWS, step // 2, overlap // 2, block)


def frames_of(samples: int, rate: Fraction | float, manner: Manner, cover_tail: bool) -> int:
    """As the sound lasts, or as the original makes: LatentSync one or two more, MuseTalk one less where it is cut."""
    exact = samples * Fraction(ROWS_PER_SECOND, SAMPLE_RATE) / rows_per_frame(rate)
    if cover_tail:
        return math.ceil(exact)
    if not manner.past_end:
        return math.floor(exact)
    return math.ceil((samples // (2 * HOP) + 1) / rows_per_frame(rate)) + 1
