"""MuseTalk's UNet, under the names of the published files: in one step from two faces and sound to a face."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ...config import check_count
from ...diffusion.networks.attention import ContextBlock, Transformer
from ...diffusion.networks.blocks import UNet as Skeleton
from ...diffusion.networks.blocks import levels_of
from ...diffusion.networks.motion_module import waves
from ...ops import Ops, TorchOps

FACES = 2  # in: the one whose lower half is black, and the whole one
CHANNELS = 4  # of each, and of the one that comes out
TOKENS = 50  # of sound, for each frame
MOST = {"levels": 10, "layers": 20, "channels": 1 << 16, "sound": 1 << 16}


@dataclass(frozen=True)
class Sizes:
    """The defaults are those of both published versions."""

    channels: tuple[int, ...] = (320, 640, 1280, 1280)
    layers: int = 2
    sound: int = 384  # numbers of each token
    heads: int = 8
    norm_groups: int = 32

    @classmethod
    def of(cls, weights: Mapping[str, Any]) -> Sizes:
        """Told by the shapes of weights; heads and groups have none, and are always as many."""
        channels, layers = levels_of(weights)
        sound = weights["mid_block.attentions.0.transformer_blocks.0.attn2.to_k.weight"].shape[1]
        for name, value in (("levels", len(channels)), ("layers", layers), ("sound", sound)):
            check_count(f"the number of {name}", value, MOST[name])
        return cls(channels, layers, sound)


class UNet(Skeleton):
    def __init__(self, sizes: Sizes | None = None, ops: Ops = TorchOps):
        sizes = sizes or Sizes()

        def transformer(width: int) -> nn.Module:
            return Transformer(width, width, ContextBlock(width, sizes.heads, sizes.sound, ops), sizes.norm_groups, ops)

        super().__init__(sizes, ops, FACES * CHANNELS, transformer)
        self.conv_norm_out = ops.GroupNorm(sizes.norm_groups, sizes.channels[0], eps=1e-5)
        self.conv_out = ops.Conv2d(sizes.channels[0], CHANNELS, 3, padding=1)

    def forward(self, latents: Tensor, sound: Tensor) -> Tensor:
        """latents (n, 8, 32, 32), sound (n, 50, width), placed -> (n, 4, 32, 32). The moment is always 0."""
        sites = self.site_transformers()
        x = self.conv_in(latents)
        time = self.time_embedding(torch.zeros(1, device=x.device), x.dtype)
        x, _ = self.walk(x, time, self.at_sites(lambda site, x: sites[site](x, sound)))
        return self.conv_out(F.silu(self.conv_norm_out(x), inplace=True))


def placed(sound: Tensor) -> Tensor:
    """Tokens (n, tokens, width) with the code of their places added, which no file of weights holds."""
    return sound + waves(sound.shape[1], sound.shape[2]).to(sound)
