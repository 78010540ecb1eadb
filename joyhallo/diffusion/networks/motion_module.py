"""Attention over time: every pixel sees itself in the frames of the clip and in the last frames before it."""

from __future__ import annotations

from typing import Any, Protocol

import torch
from torch import Tensor, nn

from ...ops import Ops
from .attention import Attention, FeedForward
from .blocks import Sizes

ATTENTIONS = 2


class TemporalSizes(Sizes, Protocol):
    @property
    def positions(self) -> int:
        """Length of the table: motion frames and video frames together."""
        ...


def waves(length: int, width: int) -> Tensor:
    """The usual table of positions: (1, length, width)."""
    places, numbers = torch.arange(length).double()[:, None], torch.arange(0, width, 2).double()
    angles = places * 10_000 ** (-numbers / width)
    return torch.stack([angles.sin(), angles.cos()], dim=-1).reshape(1, length, width).float()


class Positions(nn.Module):
    pe: Tensor

    def __init__(self, length: int, width: int):
        super().__init__()
        shape_alone = torch.get_default_device().type == "meta"  # where arithmetic loads PyTorch's compiler: seconds
        self.register_buffer("pe", torch.empty(1, length, width) if shape_alone else waves(length, width))

    def forward(self, x: Tensor) -> Tensor:
        return x.add_(self.pe[:, : x.shape[1]].to(x))


class TemporalAttention(Attention):
    def __init__(self, width: int, config: TemporalSizes, ops: Ops):
        super().__init__(width, config.heads, ops)
        self.pos_encoder = Positions(config.positions, width)


class TemporalBlock(nn.Module):
    def __init__(self, width: int, config: TemporalSizes, ops: Ops):
        super().__init__()
        self.attention_blocks: Any = nn.ModuleList([TemporalAttention(width, config, ops) for _ in range(ATTENTIONS)])
        self.norms = nn.ModuleList([ops.LayerNorm(width) for _ in range(ATTENTIONS)])
        self.ff = FeedForward(width, ops)
        self.ff_norm = ops.LayerNorm(width)

    def forward(self, x: Tensor, motion: int) -> Tensor:
        """x (pixels, motion + frames, width) -> (pixels, frames, width).

        The motion frames come first, and are dropped once unused: in the last attention they are still keys and
        values, but not queries.
        """
        for attention, norm in zip(self.attention_blocks, self.norms, strict=True):
            y = attention.pos_encoder(norm(x))
            kept = motion if attention is self.attention_blocks[-1] else 0
            x = attention(y[:, kept:], y).add_(x[:, kept:])
        return self.ff.onto(x, self.ff_norm)


class TemporalTransformer(nn.Module):
    def __init__(self, channels: int, config: TemporalSizes, ops: Ops):
        super().__init__()
        self.norm = ops.GroupNorm(config.norm_groups, channels, eps=1e-6)
        self.proj_in = ops.Linear(channels, channels)
        self.transformer_blocks: Any = nn.ModuleList([TemporalBlock(channels, config, ops)])
        self.proj_out = ops.Linear(channels, channels)

    def enter(self, x: Tensor) -> Tensor:
        """(frames, channels, height, width) -> (frames, pixels, channels)"""
        return self.proj_in(self.norm(x).flatten(2).transpose(1, 2))

    def move(self, sequences: Tensor, motion: int) -> Tensor:
        return self.proj_out(self.transformer_blocks[0](sequences, motion))


class MotionModule(nn.Module):
    def __init__(self, channels: int, config: TemporalSizes, ops: Ops):
        super().__init__()
        self.temporal_transformer = TemporalTransformer(channels, config, ops)

    def carry(self, features: Tensor) -> Tensor:
        """The reference UNet's tokens of the motion frames (rows, motion, pixels, channels), as `forward` takes them.

        They stay the same over all steps of a chunk, so they enter once.
        """
        entered = self.temporal_transformer.enter(features.flatten(0, 1).transpose(1, 2).unsqueeze(-1))
        return entered.unflatten(0, features.shape[:2])

    def forward(self, x: Tensor, carried: Tensor) -> Tensor:
        """x (rows * frames, channels, height, width), carried (rows, motion, pixels, channels)"""
        rows, motion = carried.shape[:2]
        moved = self.temporal_transformer.move(self._sequences(x, carried).flatten(0, 1), motion)
        moved = moved.view(rows, *x.shape[2:], -1, x.shape[1]).permute(0, 3, 4, 1, 2)
        return (x.unflatten(0, (rows, -1)) + moved).flatten(0, 1)

    def _sequences(self, x: Tensor, carried: Tensor) -> Tensor:
        """One over time for every pixel: (rows, pixels, motion + frames, channels)."""
        transformer, (rows, motion) = self.temporal_transformer, carried.shape[:2]
        if motion:
            entered = transformer.enter(x).unflatten(0, (rows, -1))
            return torch.cat([carried.transpose(1, 2), entered.transpose(1, 2)], dim=2)
        over_time = transformer.norm(x).flatten(2).unflatten(0, (rows, -1)).permute(0, 3, 1, 2)
        return transformer.proj_in(over_time.contiguous())  # brought into this order only once
