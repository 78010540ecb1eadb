"""Codecs of patches for tests: fitted to smooth noise, with decoders of seeded weights, which change much."""

from __future__ import annotations

from pathlib import Path

import seeded
import torch
from torch import Tensor

from joyhallo.diffusion.codec import DecoderSizes, PatchCodec, PatchDecoder
from joyhallo.training.small import patches

SIZES = DecoderSizes(width=16, blocks=2, fine=8)


def pictures(count: int, seed: int = 0, size: tuple[int, int] = (48, 32)) -> Tensor:
    """(count, 3, *size) in -1..1, smooth: noise enlarged."""
    height, width = size
    noise = torch.randn(count, 3, height // 8, width // 8, generator=torch.Generator().manual_seed(seed))
    return torch.nn.functional.interpolate(noise, size=size, mode="bicubic").tanh()


def codec(channels: int = 16, sizes: DecoderSizes | None = SIZES) -> PatchCodec:
    fitted = PatchCodec.fit(pictures(24), channels)
    if sizes is None:
        return fitted
    with torch.device("meta"):
        decoder = PatchDecoder(channels, sizes)
    seeded.fill(decoder)
    return PatchCodec(fitted.patches, decoder)


def write(path: Path, channels: int = 16, sizes: DecoderSizes | None = SIZES) -> Path:
    patches.write(path, codec(channels, sizes))
    return path
