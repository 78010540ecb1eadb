"""The recorded cases of comparisons with a truth, and of measures of pictures: FID, SSIM, PSNR, Q-Align, HyperIQA."""

from __future__ import annotations

import zlib

import torch
from cases import answers
from seeded import normals
from torch import Tensor

from joyhallo.measures.similarity import WINDOWS, Similarity


def frames(name: str, count: int, cells: tuple[int, int], cell: int, salt: str, moving: float = 25.0) -> Tensor:
    """The recipe: squares of random colours, a part that stays and a part of each frame's own."""
    still = normals(f"{name}.still", (*cells, 3), salt)
    drawn = [128 + 40 * still + moving * normals(f"{name}.{at}", (*cells, 3), salt) for at in range(count)]
    made = torch.stack(drawn).round().clamp(0, 255).to(torch.uint8)
    return made.repeat_interleave(cell, 1).repeat_interleave(cell, 2)


def checked(case, made: Tensor) -> Tensor:
    """A mistake in the recipe would look like one in the measure."""
    assert zlib.crc32(made.numpy().tobytes()) == case.facts["frames"]["crc32"], "other frames than recorded"
    return made


@answers("similarity", "metrics")
def similarity(case):
    a, b = checked(case, frames("ssim", 2, (16, 20), 3, case.salt, moving=12)).split(1)
    found = Similarity(tuple(WINDOWS))
    found.see(a, b)
    yield "out.psnr", found.psnr()[0]
    names = {"gaussian": "ssim_gauss_rgb", "reflected": "ssim_torchmetrics", "uniform": "ssim_uniform7_rgb"}
    for ours, theirs in names.items():
        yield f"out.{theirs}", found.ssim(ours)[0]
