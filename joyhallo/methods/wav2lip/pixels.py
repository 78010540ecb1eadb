"""Between bytes of pictures, which are R, G, B here, and the numbers that the networks take, which are B, G, R."""

from __future__ import annotations

import torch
from torch import Tensor

from ...faces.rescale import rescale


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
    whole = crops.flip(3).permute(0, 3, 1, 2).float() / 255
    masked = whole.clone()
    masked[:, :, whole.shape[2] // 2 :] = 0
    return torch.cat([masked, whole], dim=1)


def as_crops(prediction: Tensor) -> Tensor:
    """prediction (n, 3, size, size) in 0..1 -> crops uint8 (n, size, size, 3); truncated, not rounded."""
    return (prediction.float() * 255).to(torch.uint8).permute(0, 2, 3, 1).flip(3)
