"""The layers for training: PyTorch's own, with a workaround for a bug in GroupNorm."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from ..ops import TorchOps


class TrainingOps(TorchOps):
    class GroupNorm(TorchOps.GroupNorm):
        """On processors, PyTorch (2.13 still does) reads memory that is not its own for the gradients of the weights
        where the input, in channels-last order, wants none: as where trained modules begin behind frozen ones."""

        def forward(self, input: Tensor) -> Tensor:
            if self.weight.requires_grad and not input.requires_grad:
                input = input.contiguous()
            return F.group_norm(input, self.num_groups, self.weight, self.bias, self.eps)
