"""Attention to the speech, weighted apart for pose, expression and lips.

The original computes, for each region r with soft mask m_r and weight s_r,

    x += sum_r s_r * (Z_r(m_r * (W_out a + b_out)) + c_r)

where a is the attention before its output projection (JoyHallo: one for all regions, Hallo: one for each) and Z_r, c_r
a 1x1 convolution. With a scalar mask per pixel the two projections are one matrix Z_r W_out, and everything that does
not depend on the sound is a handful of vectors. Without sound a is zero, and these vectors are all that remains.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ....diffusion.networks.attention import Attention, FeedForward, KeysValues, Transformer
from ....ops import Ops
from ..config import NetConfig

ZERO_CONVS = ("zero_conv_full", "zero_conv_face", "zero_conv_lip")  # pose, expression, lip


class RegionGates(NamedTuple):
    """The strength of the speech in each region, at one level of the UNet, for one frame or for each."""

    masks: Tensor  # (frames, pixels, 3): s_r * m_r
    weights: Tensor  # (frames, 1, 3): s_r


class RegionFold(NamedTuple):
    """The output projections of one site, multiplied out."""

    projection: Tensor  # (width, 3 * width): Z_r W_out side by side
    mask_vectors: Tensor  # (3, width): Z_r b_out
    weight_vectors: Tensor  # (3, width): c_r

    def unheard(self, gates: RegionGates) -> Tensor:
        """The part added to every frame, even without sound: (frames or 1, pixels, width)."""
        return gates.masks @ self.mask_vectors + gates.weights @ self.weight_vectors

    def heard(self, gathered: Tensor, gates: RegionGates) -> Tensor:
        """gathered (frames, pixels, 1 or 3, width)"""
        return F.linear((gathered * gates.masks[..., None]).flatten(-2), self.projection)


class AudioBlock(nn.Module):
    def __init__(self, width: int, config: NetConfig, ops: Ops):
        super().__init__()
        self.ops = ops
        self.norm1 = ops.LayerNorm(width)
        self.attn1 = Attention(width, config.heads, ops)
        self.norm2 = ops.LayerNorm(width)
        self.hearings = len(ZERO_CONVS) if config.regional_audio else 1
        for i in range(self.hearings):
            self.add_module(f"attn2_{i}", Attention(width, config.heads, ops, config.audio_width))
        for name in ZERO_CONVS:
            self.add_module(name, ops.Conv2d(width, width, 1))
        self.norm3 = ops.LayerNorm(width)
        self.ff = FeedForward(width, ops)

    def attentions(self) -> list[Attention]:
        return [self.get_submodule(f"attn2_{i}") for i in range(self.hearings)]  # type: ignore[misc]

    def listen(self, tokens: Tensor) -> list[KeysValues]:
        """Audio tokens (frames, tokens, width) -> keys and values, which serve all steps of a chunk."""
        return [attention.keys_values(tokens) for attention in self.attentions()]

    def fold(self, like: Tensor) -> RegionFold:
        projections, mask_vectors, weight_vectors = [], [], []
        for region, name in enumerate(ZERO_CONVS):
            z, c = self.ops.weights(self.get_submodule(name), like)
            w_out, b_out = self.ops.weights(self.attentions()[region % self.hearings].to_out[0], like)
            z = z.flatten(1)
            projections.append(z @ w_out)
            mask_vectors.append(z @ b_out)
            weight_vectors.append(c)
        folded = torch.cat(projections, 1), torch.stack(mask_vectors), torch.stack(weight_vectors)
        return RegionFold(*(t.to(like.dtype) for t in folded))

    def forward(self, x: Tensor, heard: list[KeysValues], fold: RegionFold, gates: RegionGates, frames: int) -> Tensor:
        """x (rows * frames, pixels, width). Only its last frames hear; `heard` has one entry for each of them."""
        x = self.attn1(self.norm1(x)).add_(x)
        y = (x.unflatten(0, (-1, frames)) + fold.unheard(gates)).flatten(0, 1)
        if heard:
            hearing = slice(-heard[0].keys.shape[0], None)
            normed = self.norm2(x[hearing])
            gathered = [a.gather(normed, kv) for a, kv in zip(self.attentions(), heard, strict=True)]
            y[hearing].unflatten(0, (-1, frames)).add_(
                fold.heard(torch.stack(gathered, -2).unflatten(0, (-1, frames)), gates)
            )
        return self.ff.onto(y, self.norm3)


def audio_module(channels: int, inner: int, config: NetConfig, ops: Ops) -> Transformer:
    return Transformer(channels, inner, AudioBlock(inner, config, ops), config.norm_groups, ops)
