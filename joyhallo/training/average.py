"""A running average of the weights, which is often better than any of them."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor


class Average:
    def __init__(self, parameters: Mapping[str, Tensor], decay: float):
        self.decay, self.parameters = decay, parameters
        self.weights = {name: parameter.detach().clone() for name, parameter in parameters.items()}

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Update after step number `step`, counted from 1. It follows quickly at first, to forget the beginning."""
        decay = min(self.decay, step / (step + 9))
        for name, weight in self.weights.items():
            weight.lerp_(self.parameters[name], 1 - decay)

    def load(self, weights: Mapping[str, Tensor]) -> None:
        for name, tensor in self.weights.items():
            tensor.copy_(weights[name])
