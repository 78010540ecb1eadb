"""The areas of a face that LatentSync can paint anew: four shapes, drawn for 256 pixels, at any size."""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor

from ...diffusion.codec import LATENT_SCALE
from ...faces.lanczos import lanczos

SIDE = 256
USUAL = "mask"
MIDDLE = 128  # the row with which the lower half begins

# The first and the last pixel that is painted anew, in each row from the middle down.
# fmt: off
HALF_FROM = (
    9, 9, 9, 9, 9, 9, 9, 9, 10, 10, 10, 10, 10, 10, 10, 10, 10, 10, 10, 10, 10, 10, 11, 11, 11, 11, 11, 11, 11,
    11, 11, 11, 11, 11, 11, 11, 12, 12, 12, 12, 12, 12, 12, 13, 13, 14, 14, 15, 15, 16, 16, 17, 18, 18, 19, 19,
    20, 21, 21, 22, 22, 23, 24, 25, 26, 26, 27, 28, 29, 30, 31, 32, 33, 34, 34, 35, 36, 37, 38, 39, 40, 42, 43,
    44, 45, 47, 48, 49, 51, 52, 54, 56, 57, 59, 60, 62, 64, 66, 68, 70, 72, 74, 76, 78, 80, 82, 85, 87, 90, 93,
    95, 99, 104, 108, 131,
)
HALF_TO = (
    247, 247, 247, 247, 247, 247, 247, 246, 246, 246, 246, 246, 246, 246, 246, 246, 246, 246, 246, 246, 246,
    245, 245, 245, 245, 245, 245, 245, 245, 245, 245, 245, 245, 245, 245, 244, 244, 244, 244, 244, 244, 244,
    243, 243, 242, 242, 241, 241, 240, 240, 239, 238, 238, 237, 236, 236, 235, 234, 234, 233, 232, 232, 231,
    230, 230, 229, 228, 228, 227, 226, 225, 224, 223, 223, 222, 221, 220, 219, 218, 217, 216, 215, 214, 213,
    212, 211, 210, 208, 207, 206, 204, 203, 202, 200, 199, 197, 196, 194, 192, 191, 189, 187, 185, 183, 180,
    178, 175, 173, 171, 168, 166, 164, 160, 156, 152,
)
CHIN_FROM = (
    39, 39, 39, 39, 39, 39, 39, 39, 39, 40, 40, 40, 40, 40, 40, 40, 41, 41, 41, 41, 41, 42, 42, 42, 42, 43, 43,
    43, 44, 44, 44, 45, 45, 45, 46, 46, 47, 47, 48, 48, 49, 49, 50, 50, 51, 51, 52, 53, 53, 54, 54, 55, 56, 56,
    57, 58, 59, 59, 60, 61, 62, 63, 64, 65, 66, 67, 68, 69, 70, 72, 73, 74, 76, 77, 78, 80, 82, 83, 85, 86, 88,
    90, 93, 95, 97, 100, 104, 108, 113, 120,
)
CHIN_TO = (
    217, 217, 217, 217, 217, 217, 217, 217, 217, 216, 216, 216, 216, 216, 216, 216, 215, 215, 215, 215, 215,
    214, 214, 214, 214, 213, 213, 213, 212, 212, 212, 211, 211, 211, 210, 210, 209, 209, 208, 208, 207, 207,
    206, 206, 205, 205, 204, 203, 203, 202, 202, 201, 200, 200, 199, 198, 197, 197, 196, 195, 194, 193, 192,
    191, 190, 189, 188, 187, 186, 184, 183, 182, 180, 179, 178, 176, 174, 173, 171, 169, 167, 165, 163, 161,
    158, 155, 152, 148, 143, 136,
)
# fmt: on

BESIDE_THE_NOSE = (95, ((9, 77), (178, 246)))  # in the upper half: the row with which it begins, its columns
ALL_OF_THE_NOSE = (60, ((9, 246),))
AREAS = {  # what is below the middle, and what above
    "mask": (HALF_FROM, HALF_TO, BESIDE_THE_NOSE),
    "mask2": (HALF_FROM, HALF_TO, None),
    "mask3": (CHIN_FROM, CHIN_TO, None),
    "mask4": (HALF_FROM, HALF_TO, ALL_OF_THE_NOSE),
}


def drawn(area: str) -> Tensor:
    """(256, 256) of bytes: 255 where a face is kept, 0 where it is painted anew."""
    first, last, above = AREAS[area]
    kept = torch.full((SIDE, SIDE), 255, dtype=torch.uint8)
    columns = torch.arange(SIDE)
    inside = (columns >= torch.tensor(first)[:, None]) & (columns <= torch.tensor(last)[:, None])
    kept[MIDDLE : MIDDLE + len(first)][inside] = 0
    if above:
        top, runs = above
        for start, end in runs:
            kept[top:MIDDLE, start : end + 1] = 0
    return kept


@lru_cache(maxsize=8)
def mask(area: str, size: int) -> Tensor:
    """(1, 1, size, size): 1 where a face is kept. Other sizes have soft rims, with which 512 was trained, too."""
    if area not in AREAS:
        raise ValueError(f"The area {area} is not known to LatentSync; choose one of {', '.join(AREAS)}.")
    return lanczos(drawn(area)[None], (size, size))[None].double().div(255).float()


def in_latents(kept: Tensor) -> Tensor:
    """Each block of pixels by its first one."""
    return kept[..., ::LATENT_SCALE, ::LATENT_SCALE]
