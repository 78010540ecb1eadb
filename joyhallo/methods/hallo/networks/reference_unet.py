"""ReferenceUNet, which encodes the portrait and the last frames of the clip so far."""

from __future__ import annotations

import torch
from torch import Tensor

from ....diffusion.networks.blocks import Runner, UNet, at_once
from ....ops import Ops, TorchOps
from ..config import NetConfig
from .attention import spatial_transformer


class ReferenceUNet(UNet):
    def __init__(self, config: NetConfig, ops: Ops = TorchOps):
        super().__init__(
            config, ops, config.latent_channels, lambda channels: spatial_transformer(channels, config, ops)
        )

    def forward(self, latents: Tensor, face_tokens: Tensor, run: Runner = at_once) -> list[Tensor]:
        """Pictures (rows, latent channels, height, width), each with its face tokens (rows, tokens, width).

        Returns, for every attention site, the normalised tokens that enter its self-attention: (rows, pixels,
        channels). Layers after the last site's normalisation are not run, as no picture is needed.
        """
        features: list[Tensor] = []
        sites = self.site_transformers()

        def attend(site: int, x: Tensor) -> Tensor:
            transformer = sites[site]
            block = transformer.transformer_blocks[0]

            def enter() -> Tensor:
                tokens = transformer.tokens(x)
                features.append(block.norm1(tokens))
                return tokens

            def leave(tokens: Tensor, seen: Tensor, x: Tensor) -> Tensor:
                tokens = block.attn1(seen).add_(tokens)
                return transformer.leave(block.finish(tokens, block.attn2.fold(face_tokens)), x)

            if site == len(sites) - 1:
                enter()
                return x
            return run(leave)(enter(), features[-1], x)

        timestep = torch.zeros(1, device=latents.device)
        x = self.conv_in(latents)
        self.walk(x, self.time_embedding(timestep, x.dtype), self.at_sites(attend), run=run)
        return features
