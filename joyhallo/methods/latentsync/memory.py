"""`working_memory`: what the UNet needs beside its weights, to be freed before it runs.

Measured by following every tensor, with attention as fused kernels have it, and given in units of one map of the finest
level.
"""

from __future__ import annotations

import torch

from ...diffusion.codec import LATENT_SCALE
from ...diffusion.networks.portions import ELSEWHERE, portions
from .network import FRAMES, Sizes
from .sampling import Settings

WORKED = 8.6  # maps for each frame
SHARED = 2.0  # that wait for the other row of guidance
REUSED = 1.0  # of each row, that wait for later steps
WIDENED = 8  # times, within a feed-forward, which goes through the tokens in slices
SLICES = 2.0
TOGETHER = 36.2  # maps for each frame, where both rows run together: instead of what is worked on and shared
DOUBLING, HELD = 60, 6.1  # bytes for each pair of channels whose map is doubled, and maps for each frame meanwhile
HEARD = 3900  # numbers for each frame and channel of the finest level: keys and values of its sound at all levels


def working_memory(
    sizes: Sizes,
    size: int,
    settings: Settings,
    dtype: torch.dtype = torch.float16,
    frames: int = FRAMES,
    device: str | torch.device = "cuda",
) -> int:
    """Bytes, for so many square faces of `size` pixels."""
    rows = 2 if settings.guidance > 1 else 1
    together = min(rows, portions(torch.device(device)).rows)
    maps = frames * sizes.channels[0] * (size // LATENT_SCALE) ** 2
    waiting = SHARED * (rows - together) + REUSED * (rows if settings.reuse > 1 else 0)
    worked = maps * TOGETHER if together > 1 else maps * WORKED + SLICES * min(WIDENED * maps, ELSEWHERE.feed_forward)
    usual = dtype.itemsize * (maps * waiting + worked)
    heard = HEARD * frames * sizes.channels[0]
    doubling = DOUBLING * max(sizes.channels) ** 2 + dtype.itemsize * (maps * (HELD * together + waiting) + heard)
    return int(max(usual, doubling))  # of few frames weights are larger, in full precision and added up
