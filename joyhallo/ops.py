"""The interface between the networks and their host: `Ops`, with the implementations `TorchOps` and `CastOps`.

Every network takes one argument `ops`: a class with the layers below, `attention`, and `weights` for the few
places that fold two layers into one. ComfyUI passes its own, with its memory management; training and tests use
`TorchOps`.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Ops = Any  # a class like TorchOps, whose members construct layers


class _Drawn:
    """A layer whose weights are drawn, except on the meta device, where it waits for a file to fill it.

    PyTorch would draw there, too, and working out the shapes of numbers that do not exist took longer than all else of
    building a network.
    """

    weight: Tensor

    def reset_parameters(self) -> None:
        if not self.weight.is_meta:
            super().reset_parameters()  # type: ignore[misc]


class TorchOps:
    """Plain torch.nn layers and scaled-dot-product attention."""

    class Linear(_Drawn, nn.Linear): ...

    class Conv1d(_Drawn, nn.Conv1d): ...

    class Conv2d(_Drawn, nn.Conv2d): ...

    class ConvTranspose2d(_Drawn, nn.ConvTranspose2d): ...

    class GroupNorm(_Drawn, nn.GroupNorm): ...

    class LayerNorm(_Drawn, nn.LayerNorm): ...

    @staticmethod
    def attention(q: Tensor, k: Tensor, v: Tensor, heads: int) -> Tensor:
        """(batch, tokens, heads * width) in and out; every query of a batch entry sees all of its keys."""
        q, k, v = (t.unflatten(-1, (heads, -1)).transpose(1, 2) for t in (q, k, v))
        return F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)

    @staticmethod
    def weights(layer: Any, like: Tensor) -> tuple[Tensor, Tensor | None]:
        """A layer's weight and bias where `like` lives, in full precision."""
        weight, bias = layer.weight.float(), layer.bias
        return weight.to(like.device), None if bias is None else bias.float().to(like.device)


class CastOps(TorchOps):
    """Keeps weights as stored (in half precision, say) and computes in the input's dtype: CPUs are slow in half."""

    class Linear(TorchOps.Linear):
        def forward(self, input: Tensor) -> Tensor:
            return F.linear(input, *_cast(self, input.dtype))

    class Conv1d(TorchOps.Conv1d):
        def forward(self, input: Tensor) -> Tensor:
            return self._conv_forward(input, *_cast(self, input.dtype))

    class Conv2d(TorchOps.Conv2d):
        def forward(self, input: Tensor) -> Tensor:
            return self._conv_forward(input, *_cast(self, input.dtype))

    class ConvTranspose2d(TorchOps.ConvTranspose2d):
        def forward(self, input: Tensor, output_size: list[int] | None = None) -> Tensor:
            if output_size is not None or isinstance(self.padding, str):
                raise NotImplementedError("Only layers whose sizes follow from their numbers are used here.")
            sizes = self.stride, self.padding, self.output_padding, self.groups, self.dilation
            return F.conv_transpose2d(input, *_cast(self, input.dtype), *sizes)

    class GroupNorm(TorchOps.GroupNorm):
        def forward(self, input: Tensor) -> Tensor:
            return F.group_norm(input, self.num_groups, *_cast(self, input.dtype), self.eps)

    class LayerNorm(TorchOps.LayerNorm):
        def forward(self, input: Tensor) -> Tensor:
            return F.layer_norm(input, self.normalized_shape, *_cast(self, input.dtype), self.eps)


def _cast(layer: Any, dtype: torch.dtype) -> tuple[Tensor, Tensor | None]:
    return layer.weight.to(dtype), None if layer.bias is None else layer.bias.to(dtype)
