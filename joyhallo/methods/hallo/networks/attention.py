"""Attention to the portrait, at each attention site of both UNets: to its features, and to the face tokens."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from ....diffusion.networks.attention import Attention, FeedForward, KeysValues, Transformer
from ....diffusion.networks.portions import portions
from ....ops import Ops
from ..config import NetConfig


class TokenFold(NamedTuple):
    """Cross-attention to a few fixed tokens, with all four projections multiplied out.

    4 tokens seen by 8 heads are 32 weights a pixel, far fewer than the channels: the two square projections of the
    pixels become two thin ones. The products are exact; only the rounding differs.
    """

    to_logits: Tensor  # (rows, channels, heads * tokens)
    to_output: Tensor  # (rows, heads * tokens, channels)
    bias: Tensor  # (channels)
    tokens: int

    def rows(self, rows: slice) -> TokenFold:
        return self._replace(to_logits=self.to_logits[rows], to_output=self.to_output[rows])

    def __call__(self, x: Tensor) -> Tensor:
        """(rows * frames, pixels, channels) -> the same shape; every frame of a row sees that row's tokens."""
        rows = self.to_logits.shape[0]
        logits = x.reshape(rows, -1, x.shape[-1]) @ self.to_logits
        weights = logits.unflatten(-1, (-1, self.tokens)).softmax(-1).flatten(-2)
        return torch.baddbmm(self.bias, weights, self.to_output).view(x.shape)


class Reading(NamedTuple):
    """Frames (a slice of the folded batch) and the reference that they read, or None for only their own tokens.

    A slice of references is divided evenly among the frames: those of each row read their own.
    """

    frames: slice
    reference: int | slice | None


class PortraitAttention(Attention):
    """Self-attention that also reads a portrait's features, or cross-attention to a few fixed tokens."""

    def read(self, x: Tensor, references: KeysValues, readings: Sequence[Reading]) -> Tensor:
        """Self-attention in which some frames also see reference keys (references, pixels, channels)."""
        q, (k, v) = self.to_q(x), self.keys_values(x)
        seen = torch.empty_like(q)
        for frames, reference in readings:
            own = KeysValues(k[frames], v[frames])
            if reference is None:
                seen[frames] = self.ops.attention(q[frames], *own, self.heads)
            elif isinstance(reference, slice):
                theirs = KeysValues(references.keys[reference], references.values[reference])
                seen[frames] = self.ops.attention(q[frames], *joined(own, theirs), self.heads)
            else:
                shared = KeysValues(references.keys[reference], references.values[reference])
                attend_with_shared(self.ops, q[frames], own, shared, self.heads, out=seen[frames])
        return self.to_out[0](seen)

    def fold(self, tokens: Tensor) -> TokenFold:
        """tokens (rows, few, context width)"""
        few, dtype = tokens.shape[1], tokens.dtype
        w_q, _ = self.ops.weights(self.to_q, tokens)
        w_out, bias = self.ops.weights(self.to_out[0], tokens)
        k, v = (t.float().unflatten(-1, (self.heads, -1)) for t in self.keys_values(tokens))
        w_q = w_q.unflatten(0, (self.heads, -1)) * k.shape[-1] ** -0.5
        w_out = w_out.unflatten(1, (self.heads, -1))
        to_logits = torch.einsum("rthd,hdc->rcht", k, w_q).flatten(-2)
        to_output = torch.einsum("rthd,chd->rhtc", v, w_out).flatten(1, 2)
        assert bias is not None
        return TokenFold(to_logits.to(dtype), to_output.to(dtype), bias.to(dtype), few)


def joined(own: KeysValues, references: KeysValues) -> KeysValues:
    """Keys of frames (rows * frames, pixels, channels), each followed by those of its row (rows, keys, channels)."""
    rows = len(references.keys)
    frames = len(own.keys) // rows
    return KeysValues(
        *(torch.cat([o, r.repeat_interleave(frames, 0)], 1) for o, r in zip(own, references, strict=True))
    )


def attend_with_shared(ops: Ops, q: Tensor, own: KeysValues, shared: KeysValues, heads: int, out: Tensor) -> None:
    """Frames q (frames, pixels, channels) see their own keys and one shared set (keys, channels).

    A few frames at a time use one workspace. The shared half of it is written once, not for every frame, so memory
    does not grow with the number of frames.
    """
    frames, pixels, width = q.shape
    total = pixels + shared.keys.shape[0]
    if (
        torch.is_grad_enabled() and q.requires_grad
    ):  # backward needs each frame's keys, so the workspace cannot be reused
        k, v = (torch.cat([t, s.expand(frames, -1, -1)], 1) for t, s in zip(own, shared, strict=True))
        out.copy_(ops.attention(q, k, v, heads))
        return
    group = min(frames, max(1, portions(q.device).shared_keys // total))
    workspace = KeysValues(*(q.new_empty(group, total, width) for _ in range(2)))
    for room, keys in zip(workspace, shared, strict=True):
        room[:, pixels:] = keys
    for start in range(0, frames, group):
        some = slice(start, min(start + group, frames))
        k, v = (room[: some.stop - start] for room in workspace)
        k[:, :pixels], v[:, :pixels] = own.keys[some], own.values[some]
        out[some] = ops.attention(q[some], k, v, heads)


class SpatialBlock(nn.Module):
    """Self-attention, attention to the face tokens, feed-forward."""

    def __init__(self, width: int, config: NetConfig, ops: Ops):
        super().__init__()
        self.norm1 = ops.LayerNorm(width)
        self.attn1 = PortraitAttention(width, config.heads, ops)
        self.norm2 = ops.LayerNorm(width)
        self.attn2 = PortraitAttention(width, config.heads, ops, config.face_width)
        self.norm3 = ops.LayerNorm(width)
        self.ff = FeedForward(width, ops)

    def forward(self, x: Tensor, face: TokenFold, references: KeysValues, readings: Sequence[Reading]) -> Tensor:
        return self.finish(self.attn1.read(self.norm1(x), references, readings).add_(x), face)

    def finish(self, x: Tensor, face: TokenFold) -> Tensor:
        x = face(self.norm2(x)).add_(x)
        return self.ff.onto(x, self.norm3)


def spatial_transformer(channels: int, config: NetConfig, ops: Ops) -> Transformer:
    return Transformer(channels, channels, SpatialBlock(channels, config, ops), config.norm_groups, ops)
