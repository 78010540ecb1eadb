"""UNet, the skeleton of Stable Diffusion 1.5, frame by frame: the base of the reference and the denoising UNet."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ....ops import Ops
from ..config import NetConfig
from .attention import Transformer, spatial_transformer

Part = Callable[..., Tensor]
Runner = Callable[[Part], Part]  # called with each part of a network before it is run


def at_once(part: Part) -> Part:
    """Run a part directly; training passes another runner, which recomputes a part for its gradients.

    Returning the part itself keeps no reference to its inputs, so it can free them early.
    """
    return part


class TimeEmbedding(nn.Module):
    def __init__(self, config: NetConfig, ops: Ops):
        super().__init__()
        self.width = config.channels[0]
        self.linear_1 = ops.Linear(self.width, config.time_width)
        self.linear_2 = ops.Linear(config.time_width, config.time_width)

    def sinusoid(self, timestep: Tensor) -> Tensor:
        half = self.width // 2
        rates = torch.exp(torch.arange(half, device=timestep.device) * (-math.log(10_000) / half))
        angles = timestep.float()[:, None] * rates
        return torch.cat([angles.cos(), angles.sin()], dim=-1)

    def forward(self, timestep: Tensor, dtype: torch.dtype) -> Tensor:
        return self.linear_2(F.silu(self.linear_1(self.sinusoid(timestep).to(dtype))))


class Resnet(nn.Module):
    def __init__(self, channels_in: int, channels: int, config: NetConfig, ops: Ops):
        super().__init__()
        self.norm1 = ops.GroupNorm(config.norm_groups, channels_in, eps=1e-5)
        self.conv1 = ops.Conv2d(channels_in, channels, 3, padding=1)
        self.time_emb_proj = ops.Linear(config.time_width, channels)
        self.norm2 = ops.GroupNorm(config.norm_groups, channels, eps=1e-5)
        self.conv2 = ops.Conv2d(channels, channels, 3, padding=1)
        self.conv_shortcut = ops.Conv2d(channels_in, channels, 1) if channels_in != channels else None

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        """time: the activated time embedding, one row for all frames or one for each."""
        h = self.conv1(F.silu(self.norm1(x), inplace=True))
        h += self.time_emb_proj(time)[:, :, None, None]
        h = self.conv2(F.silu(self.norm2(h), inplace=True))
        return h.add_(x if self.conv_shortcut is None else self.conv_shortcut(x))


class Downsample(nn.Module):
    def __init__(self, channels: int, ops: Ops):
        super().__init__()
        self.conv = ops.Conv2d(channels, channels, 3, stride=2, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x)


class Upsample(nn.Module):
    def __init__(self, channels: int, ops: Ops):
        super().__init__()
        self.conv = ops.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(F.interpolate(x, scale_factor=2.0, mode="nearest"))


class Block(nn.Module):
    """The layers of one stage; UNet.walk runs them in order."""

    resnets: Any  # lists of layers; a stage has some of the others, or none
    attentions: Any
    audio_modules: Any
    motion_modules: Any
    downsamplers: Any
    upsamplers: Any

    def __init__(self, channels: int, resnet_inputs: list[int], attentions: int, config: NetConfig, ops: Ops):
        super().__init__()
        self.channels = channels
        self.resnets = nn.ModuleList([Resnet(c, channels, config, ops) for c in resnet_inputs])
        if attentions:
            self.attentions = nn.ModuleList([spatial_transformer(channels, config, ops) for _ in range(attentions)])

    @property
    def sites(self) -> int:
        return len(self.attentions) if hasattr(self, "attentions") else 0


class UNet(nn.Module):
    """Down, middle and up. The deepest stage has no attention; subclasses define what happens at a site."""

    def __init__(self, config: NetConfig, ops: Ops):
        super().__init__()
        widths, deepest = config.channels, config.levels - 1
        self.conv_in = ops.Conv2d(config.latent_channels, widths[0], 3, padding=1)
        self.time_embedding = TimeEmbedding(config, ops)
        skips = [widths[0]]

        self.down_blocks: Any = nn.ModuleList()
        for level, width in enumerate(widths):
            inputs = [skips[-1], *[width] * (config.layers - 1)]
            block = Block(width, inputs, config.layers if level < deepest else 0, config, ops)
            skips += [width] * config.layers
            if level < deepest:
                block.downsamplers = nn.ModuleList([Downsample(width, ops)])
                skips.append(width)
            self.down_blocks.append(block)

        self.mid_block = Block(widths[-1], [widths[-1]] * 2, 1, config, ops)

        self.up_blocks: Any = nn.ModuleList()
        below = widths[-1]
        for level in reversed(range(config.levels)):
            width = widths[level]
            inputs = [width + skips.pop() for _ in range(config.layers + 1)]
            inputs[0] += below - width
            block = Block(width, inputs, config.layers + 1 if level < deepest else 0, config, ops)
            if level > 0:
                block.upsamplers = nn.ModuleList([Upsample(width, ops)])
            self.up_blocks.append(block)
            below = width

    def site_blocks(self) -> list[tuple[Block, int]]:
        """(block, index in it) of every attention site, in the order in which `walk` meets them."""
        blocks = [*self.down_blocks, self.mid_block, *self.up_blocks]
        return [(block, index) for block in blocks for index in range(block.sites)]

    def site_transformers(self) -> list[Transformer]:
        return [block.attentions[index] for block, index in self.site_blocks()]

    def walk(
        self,
        x: Tensor,
        time: Tensor,
        attend: Callable[[int, Tensor], Tensor],
        shallow: int = 0,
        deep: Tensor | None = None,
        run: Runner = at_once,
    ) -> tuple[Tensor, Tensor | None]:
        """x: conv_in's output; attend(site, x) is called at every attention site, counted from 0.

        Returns the last map, and the one that entered the last `shallow` layers. Given the latter of another walk as
        `deep`, nothing runs but these layers and what their skips need.
        """
        time = F.silu(time)
        x = x.contiguous(memory_format=torch.channels_last)  # a map and its tokens then share memory
        sites = {where: site for site, where in enumerate(self.site_blocks())}
        layers = [(block, index) for block in self.up_blocks for index in range(len(block.resnets))]
        skips = list(islice(self._descend(x, time, attend, run), None if deep is None else shallow))
        if deep is None:
            x = run(self.mid_block.resnets[0])(skips[-1], time)
            x = attend(sites[self.mid_block, 0], x)
            x = run(self.mid_block.resnets[1])(x, time)
        else:
            x, layers = deep, layers[-shallow:]

        for block, index in layers:
            if len(skips) == shallow:  # each layer takes one
                deep = x
            x = run(block.resnets[index])(torch.cat([x, skips.pop()], dim=1), time)
            if block.sites:
                x = attend(sites[block, index], x)
            if index == len(block.resnets) - 1 and hasattr(block, "upsamplers"):
                x = block.upsamplers[0](x)
        return x, deep

    def _descend(
        self, x: Tensor, time: Tensor, attend: Callable[[int, Tensor], Tensor], run: Runner
    ) -> Iterator[Tensor]:
        """Yield the maps for the skips, computed on demand."""
        yield x
        site = 0
        for block in self.down_blocks:
            for resnet in block.resnets:
                x = run(resnet)(x, time)
                if block.sites:
                    x, site = attend(site, x), site + 1
                yield x
            if hasattr(block, "downsamplers"):
                x = block.downsamplers[0](x)
                yield x
