"""The kinds of files that networks which measure lip sync are in; torch is not needed to tell them."""

from __future__ import annotations

from ..files.contents import Kind

SYNCNET = Kind("a SyncNet, which measures lip sync", (r"(module\.)?netcnnlip\.",))
STABLE_SYNCNET = Kind(
    "LatentSync's StableSyncNet, which measures lip sync",
    (r"audio_encoder\.down_blocks\.", r"visual_encoder\.down_blocks\."),
)
