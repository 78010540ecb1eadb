"""`working_memory`: what the UNet needs beside its weights, to be freed before it runs.

Measured by following every tensor, with attention as fused kernels have it, and given in units of one map of the finest
level.
"""

from __future__ import annotations

import torch

from ...diffusion.codec import LATENT_SCALE
from ...diffusion.networks.attention import FEED_FORWARD_ELEMENTS_ELSEWHERE
from .network import FRAMES, Sizes
from .sampling import Settings

WORKED = 7.0  # maps for each frame
SHARED = 1.0  # that wait for the other row of guidance
REUSED = 1.0  # of each row, that wait for later steps


def working_memory(
    sizes: Sizes, size: int, settings: Settings, dtype: torch.dtype = torch.float16, frames: int = FRAMES
) -> int:
    """Bytes, for so many square faces of `size` pixels."""
    rows = 2 if settings.guidance > 1 else 1
    one = sizes.channels[0] * (size // LATENT_SCALE) ** 2 * dtype.itemsize
    waiting = SHARED * (rows - 1) + REUSED * (rows if settings.reuse > 1 else 0)
    return int(frames * one * (WORKED + waiting) + 1.6 * FEED_FORWARD_ELEMENTS_ELSEWHERE * dtype.itemsize)
