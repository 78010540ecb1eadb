"""HuBERT's encoder, and what is heard with it: the last of its states, 50 a second.

It is built like wav2vec2 with its norms first. `hear` encodes nothing yet; blocks of 20 s are encoded as frames ask for
them, each by itself, but of a recording that was normalised as a whole.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..files.fingerprint import of_module
from ..ops import Ops, TorchOps
from ..recent import Recent
from .audio import check_numbers, moments
from .heard import Heard, Joints, remembered, rows_per_frame

STRIDES = (5, 2, 2, 2, 2, 2, 2)  # of the convolutions, in every published one
HOP, REACH = 320, 400  # samples from one row to the next, and those that a row hears: what the convolutions amount to
ROWS = 1000  # of a block
OVERLAP = 50  # rows at both ends of a block that only help to understand what is between them
HEAD = 64  # numbers that each head of its attention has
WORKED = 410  # numbers that are held at a time for each sample of a block: a third more than was counted
KEPT = Recent(128 << 20)  # states of blocks, by all that they depend on, should another film want this sound


# ---- the network


@dataclass(frozen=True)
class Sizes:
    """Those of large, the one that methods were trained with."""

    width: int = 1024
    layers: int = 24
    inner: int = 4096
    channels: tuple[int, ...] = (512,) * 7
    kernels: tuple[int, ...] = (10, 3, 3, 3, 3, 2, 2)
    positions: int = 128  # rows that tell a row where it is
    groups: int = 16

    @classmethod
    def of(cls, state: Mapping[str, Tensor]) -> Sizes:
        """As the weights say, under the names of `Hubert`. A LookupError or a ValueError if they say nothing usable."""
        convolutions = [state[f"feature_extractor.conv_layers.{number}.conv.weight"] for number in range(len(STRIDES))]
        width, share, positions = state["encoder.pos_conv_embed.conv.weight"].shape
        return cls(
            width,
            sum(key.endswith(".attention.q_proj.weight") for key in state),
            state["encoder.layers.0.feed_forward.intermediate_dense.weight"].shape[0],
            tuple(kernel.shape[0] for kernel in convolutions),
            tuple(kernel.shape[2] for kernel in convolutions),
            positions,
            width // share,
        )


class Convolved(nn.Module):
    def __init__(self, taken: int, given: int, kernel: int, stride: int, ops: Ops):
        super().__init__()
        self.conv = ops.Conv1d(taken, given, kernel, stride)
        self.layer_norm = ops.LayerNorm(given)

    def forward(self, x: Tensor) -> Tensor:
        return F.gelu(self.layer_norm(self.conv(x).transpose(1, 2)).transpose(1, 2))


class Extractor(nn.Module):
    def __init__(self, sizes: Sizes, ops: Ops):
        super().__init__()
        taken = (1, *sizes.channels)
        layers = zip(taken, sizes.channels, sizes.kernels, STRIDES, strict=False)
        self.conv_layers = nn.Sequential(*(Convolved(*layer, ops) for layer in layers))

    def forward(self, samples: Tensor) -> Tensor:
        return self.conv_layers(samples[:, None]).transpose(1, 2)


class Projection(nn.Module):
    def __init__(self, sizes: Sizes, ops: Ops):
        super().__init__()
        self.layer_norm = ops.LayerNorm(sizes.channels[-1])
        self.projection = ops.Linear(sizes.channels[-1], sizes.width)

    def forward(self, x: Tensor) -> Tensor:
        return self.projection(self.layer_norm(x))


class Positions(nn.Module):
    def __init__(self, sizes: Sizes, ops: Ops):
        super().__init__()
        kernel = sizes.positions
        self.conv = ops.Conv1d(sizes.width, sizes.width, kernel, padding=kernel // 2, groups=sizes.groups)

    def forward(self, x: Tensor) -> Tensor:
        found = self.conv(x.transpose(1, 2))[..., : x.shape[1]]  # even kernels make one more
        return x + F.gelu(found).transpose(1, 2)


class Attention(nn.Module):
    def __init__(self, width: int, ops: Ops):
        super().__init__()
        self.ops, self.heads = ops, max(1, width // HEAD)
        self.q_proj, self.k_proj, self.v_proj, self.out_proj = (ops.Linear(width, width) for _ in range(4))

    def forward(self, x: Tensor) -> Tensor:
        return self.out_proj(self.ops.attention(self.q_proj(x), self.k_proj(x), self.v_proj(x), self.heads))


class FeedForward(nn.Module):
    def __init__(self, width: int, inner: int, ops: Ops):
        super().__init__()
        self.intermediate_dense = ops.Linear(width, inner)
        self.output_dense = ops.Linear(inner, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.output_dense(F.gelu(self.intermediate_dense(x)))


class Layer(nn.Module):
    def __init__(self, width: int, inner: int, ops: Ops):
        super().__init__()
        self.attention = Attention(width, ops)
        self.layer_norm = ops.LayerNorm(width)
        self.feed_forward = FeedForward(width, inner, ops)
        self.final_layer_norm = ops.LayerNorm(width)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attention(self.layer_norm(x))
        return x + self.feed_forward(self.final_layer_norm(x))


class Encoder(nn.Module):
    def __init__(self, sizes: Sizes, ops: Ops):
        super().__init__()
        self.pos_conv_embed = Positions(sizes, ops)
        self.layers = nn.ModuleList(Layer(sizes.width, sizes.inner, ops) for _ in range(sizes.layers))
        self.layer_norm = ops.LayerNorm(sizes.width)

    def forward(self, x: Tensor) -> Tensor:
        x = self.pos_conv_embed(x)
        for layer in self.layers:
            x = layer(x)
        return self.layer_norm(x)


class Hubert(nn.Module):
    """Under the names of transformers, but with a plain convolution for positions, see `hubert_file`."""

    def __init__(self, sizes: Sizes | None = None, ops: Ops = TorchOps):
        super().__init__()
        self.sizes = sizes = sizes or Sizes()
        self.feature_extractor = Extractor(sizes, ops)
        self.feature_projection = Projection(sizes, ops)
        self.encoder = Encoder(sizes, ops)

    def forward(self, samples: Tensor) -> Tensor:
        """samples (n, 400 or more) of zero mean and unit variance, at 16 kHz -> (n, rows, width)"""
        return self.encoder(self.feature_projection(self.feature_extractor(samples)))


# ---- hearing


def hear(
    hubert: Hubert,
    samples: Tensor,
    joints: Joints = "blocks",
    device: torch.device | str = "cpu",
    ready: Callable[..., Any] = lambda network, memory: network,
) -> Heard:
    """samples (n) at 16 kHz; ready: called before each use with the network and the bytes that it needs beside.

    joints: blocks that know nothing of each other, as in the original, or that overlap.
    """
    check_numbers(samples)
    overlap = OVERLAP if joints == "overlapped" else 0
    step = ROWS - 2 * overlap
    mean, deviation = moments(samples) if len(samples) else (0.0, 1.0)
    named = of_module(hubert)

    @lru_cache(maxsize=2)  # a frame at a joint hears both sides
    @torch.no_grad()
    def block(number: int) -> Tensor:
        start = number * step * HOP
        part = (samples[start : start + ROWS * HOP + REACH - HOP] - mean) / deviation
        part = F.pad(part, (0, max(0, REACH - len(part))))
        dtype = next(hubert.parameters()).dtype
        memory = WORKED * len(part) * dtype.itemsize
        return remembered(KEPT, named, part, lambda: ready(hubert, memory)(part[None].to(device, dtype))[0, :, None])

    return Heard(rows_of(len(samples)), ROWS, step, overlap, block)


def rows_of(samples: int) -> int:
    return max(0, (samples - (REACH - HOP)) // HOP)


def frames_of(samples: int, rate: Fraction | float, cover_tail: bool) -> int:
    """As the sound lasts, or as many as have a row of their own, which the original makes: one less at times."""
    rows = Fraction(samples, HOP) if cover_tail else rows_of(samples)
    return math.ceil(rows / rows_per_frame(rate))
