"""Attention, feed-forward, and the transformer that a map passes in the UNets of Stable Diffusion's kind.

Shapes: frames are folded into the batch. A map is (frames, channels, height, width), its tokens are
(frames, height * width, channels). Where several rows (unconditional and conditional, say) run together, their
frames follow each other: row-major, (rows * frames, ...).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ...ops import Ops
from .blocks import laid_out
from .portions import portions


class KeysValues(NamedTuple):
    keys: Tensor
    values: Tensor


class Attention(nn.Module):
    def __init__(self, width: int, heads: int, ops: Ops, context_width: int | None = None, bias: bool = False):
        """bias: of queries, keys and values; what comes out always has one."""
        super().__init__()
        self.ops, self.heads = ops, heads
        self.to_q = ops.Linear(width, width, bias=bias)
        self.to_k = ops.Linear(context_width or width, width, bias=bias)
        self.to_v = ops.Linear(context_width or width, width, bias=bias)
        self.to_out = nn.ModuleList([ops.Linear(width, width)])

    def keys_values(self, context: Tensor) -> KeysValues:
        return KeysValues(self.to_k(context), self.to_v(context))

    def gather(self, x: Tensor, context: KeysValues) -> Tensor:
        """Attention without its output projection."""
        return self.ops.attention(self.to_q(x), *context, self.heads)

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        return self.to_out[0](self.gather(x, self.keys_values(x if context is None else context)))


class GatedProjection(nn.Module):
    def __init__(self, width: int, inner: int, ops: Ops):
        super().__init__()
        self.proj = ops.Linear(width, 2 * inner)

    def forward(self, x: Tensor) -> Tensor:
        value, gate = self.proj(x).chunk(2, dim=-1)
        gate = F.gelu(gate)
        return value * gate if gate.requires_grad else value.mul_(gate)


class FeedForward(nn.Module):
    def __init__(self, width: int, ops: Ops):
        super().__init__()
        # named net.0 and net.2 in checkpoints; the original has an inactive dropout between them
        self.net = nn.ModuleList([GatedProjection(width, 4 * width, ops), nn.Identity(), ops.Linear(4 * width, width)])

    def forward(self, x: Tensor) -> Tensor:
        return self.net[2](self.net[0](x))

    def onto(self, x: Tensor, norm: nn.Module) -> Tensor:
        """x and what is made of it once it is normed. Unless gradients need x, the sum takes its memory.

        The inner width is eight times the outer: a slice of the tokens at a time keeps it small.
        """
        slices = x.view(-1, x.shape[-1]).split(max(1, portions(x.device).feed_forward // (8 * x.shape[-1])))
        if torch.is_grad_enabled():
            return torch.cat([self(norm(some)).add_(some) for some in slices]).view(x.shape)
        for some in slices:
            some.add_(self(norm(some)))
        return x


class ContextBlock(nn.Module):
    """Every pixel sees the others, then a context."""

    def __init__(self, width: int, heads: int, context_width: int, ops: Ops):
        super().__init__()
        self.norm1, self.norm2, self.norm3 = (ops.LayerNorm(width) for _ in range(3))
        self.attn1 = Attention(width, heads, ops)
        self.attn2 = Attention(width, heads, ops, context_width)
        self.ff = FeedForward(width, ops)

    def forward(self, x: Tensor, context: Tensor) -> Tensor:
        x = self.see(x)
        return self.finish(self.attn2(self.norm2(x), context).add_(x))

    def see(self, x: Tensor) -> Tensor:
        """The part that does not depend on the context."""
        return self.attn1(self.norm1(x)).add_(x)

    def finish(self, x: Tensor) -> Tensor:
        return self.ff.onto(x, self.norm3)


class Transformer(nn.Module):
    """A map becomes tokens, passes one block and is added to itself as a map again."""

    def __init__(self, channels: int, inner: int, block: nn.Module, norm_groups: int, ops: Ops):
        super().__init__()
        self.norm = ops.GroupNorm(norm_groups, channels, eps=1e-6)
        self.proj_in = ops.Conv2d(channels, inner, 1)
        self.transformer_blocks: Any = nn.ModuleList([block])
        self.proj_out = ops.Conv2d(inner, channels, 1)

    def tokens(self, x: Tensor) -> Tensor:
        return self.proj_in(self.norm(x)).flatten(2).transpose(1, 2).contiguous()

    def forward(self, x: Tensor, *conditions) -> Tensor:
        tokens = self.transformer_blocks[0](self.tokens(x), *conditions)
        return self.leave(tokens, x)

    def leave(self, tokens: Tensor, x: Tensor) -> Tensor:
        return self.proj_out(laid_out(tokens.transpose(1, 2).unflatten(2, x.shape[2:]))).add_(x)
