"""`working_memory`: the memory that networks need beside their weights, to be freed before they run.

Measured by `benchmarks/memory.py`, which tracks every tensor, and given in units of one map of the finest level.
"""

from __future__ import annotations

import torch

from ...diffusion.codec import LATENT_SCALE
from ...diffusion.networks.portions import ELSEWHERE
from .config import NetConfig
from .sampling import Settings

# Maps for each denoised frame, for each frame of a chunk, and for the portrait with its cached features.
DENOISED, HEARD, HEARD_BY_REGION, KEPT = 10.5, 4.0, 8.0, 110.0
WAITING = 1.0  # for each frame whose deep features are held until the other guidance row has run, too
LOOKED_AT = 52.0  # for each picture that the reference network encodes
PREPARED = 60.0  # for the outputs of the three small networks
WIDEST = 2 * 3 * 3  # squares of the channels in the largest matrix: a convolution of a map beside a skip


def working_memory(
    config: NetConfig, settings: Settings, size: int, dtype: torch.dtype, kept: torch.dtype | None = None
) -> dict[str, int]:
    """Bytes per network, by name, for square frames of `size` pixels. kept: the dtype of weights, cast on use."""
    frames, rows = settings.chunk_frames, 2 if settings.guided and settings.rows_together else 1
    map_bytes = config.channels[0] * (size // LATENT_SCALE) ** 2 * dtype.itemsize
    slices = ELSEWHERE.feed_forward * dtype.itemsize
    heard = HEARD_BY_REGION if config.regional_audio else HEARD
    waiting = WAITING if settings.reuse > 1 and settings.guided and rows == 1 else 0.0
    denoised = map_bytes * (frames * (rows * DENOISED + heard + waiting) + KEPT) + 1.6 * slices
    looked = map_bytes * LOOKED_AT * (1 + settings.motion_frames) + 0.4 * slices
    small = map_bytes * PREPARED + 0.4 * slices
    if kept not in (None, dtype):  # the denoiser's large matrices are cast where its maps are small
        looked += dtype.itemsize * WIDEST * max(config.channels) ** 2
        small += dtype.itemsize * config.audio_inputs * config.audio_hidden
    return {
        "reference_unet": int(looked),
        "denoising_unet": int(denoised),
        **dict.fromkeys(("face_locator", "imageproj", "audioproj"), int(small)),
    }
