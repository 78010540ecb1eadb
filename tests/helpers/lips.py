"""Wav2Lip's networks with weights drawn for tests."""

from __future__ import annotations

from functools import cache

import torch
from parity_wav2lip import NETWORKS

from joyhallo.files.checkpoint import Checkpoint
from joyhallo.methods.wav2lip.checkpoint import published, without_norms


def checkpoint(name: str) -> Checkpoint:
    return Checkpoint(NETWORKS[name], drawn(name), without_norms)


@cache
def drawn(name: str) -> dict[str, torch.Tensor]:
    """Weights by which each BatchNorm is far from doing nothing."""
    torch.manual_seed(0)
    state = {}
    for key, shape in published(NETWORKS[name]).items():
        if len(shape) > 1:
            state[key] = torch.empty(shape).normal_(std=(2 / torch.Size(shape[1:]).numel()) ** 0.5)
        elif key.endswith(("running_var", ".1.weight")):
            state[key] = torch.empty(shape).uniform_(0.6, 1.4)
        else:
            state[key] = torch.empty(shape).normal_(std=0.1)
    return state
