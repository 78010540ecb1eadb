"""Between bytes of pictures, which are R, G, B here, and the numbers that the networks take, which are B, G, R."""

from __future__ import annotations

import torch
from torch import Tensor

from ...faces.unshared import unshared


def inputs(crops: Tensor) -> Tensor:
    """crops uint8 (n, size, size, 3) -> (n, 6, size, size): first with a black lower half, then whole."""
    count, size, _, channels = crops.shape
    shape = (count, 2 * channels, size, size)
    made = torch.empty(shape, device=crops.device, memory_format=torch.channels_last)
    numbers, pixels = unshared(made), unshared(torch.empty_like(crops, dtype=torch.float32))
    pixels[:] = unshared(crops)
    pixels /= 255
    for channel in range(channels):
        numbers[:, channels + channel] = pixels[..., channels - 1 - channel]
        numbers[:, channel, : size // 2] = pixels[:, : size // 2, :, channels - 1 - channel]
    numbers[:, :channels, size // 2 :] = 0
    return made


def as_crops(prediction: Tensor) -> Tensor:
    """prediction (n, 3, size, size) in 0..1 -> crops uint8 (n, size, size, 3); truncated, not rounded."""
    count, channels, height, width = prediction.shape
    made = torch.empty(count, height, width, channels, dtype=torch.uint8, device=prediction.device)
    numbers, pixels = unshared(prediction.float()), unshared(made)
    for channel in range(channels):
        pixels[..., channel] = numbers[:, channels - 1 - channel] * 255
    return made
