"""Stable Diffusion's autoencoder in plain torch, under diffusers' names: measured cards may have torch alone."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

LATENTS, GROUPS = 4, 32


class Posterior(NamedTuple):
    mean: Tensor
    logvar: Tensor

    def mode(self) -> Tensor:
        return self.mean


class Encoded(NamedTuple):
    latent_dist: Posterior


class Decoded(NamedTuple):
    sample: Tensor


def normed(width: int) -> nn.GroupNorm:
    return nn.GroupNorm(GROUPS, width, eps=1e-6)


class Resnet(nn.Module):
    def __init__(self, taken: int, given: int):
        super().__init__()
        self.norm1, self.norm2 = normed(taken), normed(given)
        self.conv1, self.conv2 = nn.Conv2d(taken, given, 3, padding=1), nn.Conv2d(given, given, 3, padding=1)
        self.conv_shortcut = nn.Conv2d(taken, given, 1) if taken != given else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        h = self.conv2(F.silu(self.norm2(self.conv1(F.silu(self.norm1(x))))))
        return self.conv_shortcut(x) + h


class Attention(nn.Module):
    def __init__(self, width: int):
        super().__init__()
        self.group_norm = normed(width)
        self.to_q, self.to_k, self.to_v = (nn.Linear(width, width) for _ in range(3))
        self.to_out = nn.ModuleList([nn.Linear(width, width)])

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.group_norm(x).flatten(2).transpose(1, 2)
        q, k, v = (layer(tokens)[:, None] for layer in (self.to_q, self.to_k, self.to_v))
        seen = self.to_out[0](F.scaled_dot_product_attention(q, k, v)[:, 0])
        return x + seen.transpose(1, 2).unflatten(2, x.shape[2:])


class Middle(nn.Module):
    def __init__(self, width: int):
        super().__init__()
        self.resnets = nn.ModuleList([Resnet(width, width), Resnet(width, width)])
        self.attentions = nn.ModuleList([Attention(width)])

    def forward(self, x: Tensor) -> Tensor:
        return self.resnets[1](self.attentions[0](self.resnets[0](x)))


class Halving(nn.Module):
    def __init__(self, width: int):
        super().__init__()
        self.conv = nn.Conv2d(width, width, 3, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(F.pad(x, (0, 1, 0, 1)))


class Doubling(nn.Module):
    def __init__(self, width: int):
        super().__init__()
        self.conv = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(F.interpolate(x, scale_factor=2.0, mode="nearest"))


class Level(nn.Module):
    def __init__(self, widths: Sequence[int], scaled: dict[str, nn.Module]):
        super().__init__()
        self.resnets = nn.ModuleList([Resnet(a, b) for a, b in pairwise(widths)])
        self.scaled = [*scaled]
        for name, layer in scaled.items():
            self.add_module(name, nn.ModuleList([layer]))

    def forward(self, x: Tensor) -> Tensor:
        for resnet in self.resnets:
            x = resnet(x)
        for name in self.scaled:
            x = self.get_submodule(name)[0](x)  # type: ignore[index]
        return x


class Encoder(nn.Module):
    def __init__(self, widths: Sequence[int], layers: int):
        super().__init__()
        self.conv_in = nn.Conv2d(3, widths[0], 3, padding=1)
        self.down_blocks, before, last = nn.ModuleList(), widths[0], len(widths) - 1
        for level, width in enumerate(widths):
            scaled: dict[str, nn.Module] = {"downsamplers": Halving(width)} if level < last else {}
            self.down_blocks.append(Level([before, *[width] * layers], scaled))
            before = width
        self.mid_block, self.conv_norm_out = Middle(before), normed(before)
        self.conv_out = nn.Conv2d(before, 2 * LATENTS, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv_in(x)
        for block in self.down_blocks:
            x = block(x)
        return self.conv_out(F.silu(self.conv_norm_out(self.mid_block(x))))


class Decoder(nn.Module):
    def __init__(self, widths: Sequence[int], layers: int):
        super().__init__()
        self.conv_in = nn.Conv2d(LATENTS, widths[-1], 3, padding=1)
        self.mid_block, self.up_blocks, before = Middle(widths[-1]), nn.ModuleList(), widths[-1]
        for level in reversed(range(len(widths))):
            scaled: dict[str, nn.Module] = {"upsamplers": Doubling(widths[level])} if level else {}
            self.up_blocks.append(Level([before, *[widths[level]] * (layers + 1)], scaled))
            before = widths[level]
        self.conv_norm_out, self.conv_out = normed(before), nn.Conv2d(before, 3, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.mid_block(self.conv_in(x))
        for block in self.up_blocks:
            x = block(x)
        return self.conv_out(F.silu(self.conv_norm_out(x)))


class Autoencoder(nn.Module):
    def __init__(self, widths: Sequence[int], layers: int):
        super().__init__()
        self.encoder, self.decoder = Encoder(widths, layers), Decoder(widths, layers)
        self.quant_conv = nn.Conv2d(2 * LATENTS, 2 * LATENTS, 1)
        self.post_quant_conv = nn.Conv2d(LATENTS, LATENTS, 1)

    @property
    def dtype(self) -> torch.dtype:
        return self.quant_conv.weight.dtype

    @property
    def device(self) -> torch.device:
        return self.quant_conv.weight.device

    def encode(self, pixels: Tensor) -> Encoded:
        mean, logvar = self.quant_conv(self.encoder(pixels)).chunk(2, dim=1)
        return Encoded(Posterior(mean, logvar.clamp(-30, 20)))

    def decode(self, latents: Tensor) -> Decoded:
        return Decoded(self.decoder(self.post_quant_conv(latents)))
