"""Between bytes of pictures, which are R, G, B here, and the numbers that the networks take, which are B, G, R."""

from __future__ import annotations

import torch
from torch import Tensor

from ...faces.rescale import rescale
from ...faces.unshared import unshared


def cut(pictures: Tensor, boxes: Tensor, size: int) -> Tensor:
    """pictures uint8 (n, height, width, 3), boxes (n, 4) inside them -> crops uint8 (n, size, size, 3), stretched."""
    crops = [rescale(part[None], (size, size)) for part in _parts(pictures, boxes)]
    return torch.cat(crops) if crops else pictures.new_zeros(0, size, size, 3)


def pasted(pictures: Tensor, boxes: Tensor, crops: Tensor) -> Tensor:
    """Copies of the pictures in which each crop covers its whole box, as in the original: nothing is blended."""
    result = pictures.clone()
    for part, crop in zip(_parts(result, boxes), crops, strict=True):
        part[:] = rescale(crop[None], (part.shape[1], part.shape[0]))[0]
    return result


def _parts(pictures: Tensor, boxes: Tensor) -> list[Tensor]:
    """Views of the pictures. The boxes of a film differ in size, so each picture is done by itself."""
    width, height = pictures.shape[2], pictures.shape[1]
    for left, top, right, bottom in boxes.tolist():
        if not (0 <= left < right <= width and 0 <= top < bottom <= height):
            raise ValueError(
                f"The box of the face is {left}, {top}, {right}, {bottom} (left, top, right, bottom); it must have an "
                f"area inside the picture of {width}x{height} pixels."
            )
    return [
        picture[top:bottom, left:right]
        for picture, (left, top, right, bottom) in zip(pictures, boxes.tolist(), strict=True)
    ]


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
