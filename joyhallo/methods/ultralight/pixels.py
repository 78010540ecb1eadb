"""Between bytes of pictures, which are R, G, B here, and the numbers that the network takes, which are B, G, R."""

from __future__ import annotations

import torch
from torch import Tensor

SIDE = 168  # of a crop, of which the network sees all but a rim
RIM = slice(4, 164)
MOUTH = slice(5, 150), slice(5, 155)  # rows and columns of what it sees that are made anew


def inputs(crops: Tensor) -> Tensor:
    """crops (n, 3, 168, 168) of bytes -> (n, 6, 160, 160): first as they are, then with a black mouth."""
    whole = crops[..., RIM, RIM].flip(1).float() / 255
    masked = whole.clone()
    masked[(..., *MOUTH)] = 0
    return torch.cat([whole, masked], dim=1).contiguous(memory_format=torch.channels_last)


def as_crops(prediction: Tensor, crops: Tensor) -> Tensor:
    """prediction (n, 3, 160, 160) in 0..1 -> crops of bytes, the rim as before; truncated, not rounded."""
    made = crops.clone()
    made[..., RIM, RIM] = (prediction.float() * 255).byte().flip(1).to(crops.device)
    return made
