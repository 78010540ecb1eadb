"""UNet, the skeleton of Stable Diffusion 1.5, frame by frame: methods define what happens between its layers."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from itertools import count, islice, takewhile
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ...ops import Ops

Part = Callable[..., Tensor]
Runner = Callable[[Part], Part]  # called with each part of a network before it is run


def at_once(part: Part) -> Part:
    """Run a part directly; training passes another runner, which recomputes a part for its gradients.

    Returning the part itself keeps no reference to its inputs, so it can free them early.
    """
    return part


def laid_out(x: Tensor) -> Tensor:
    """A map in the order that convolutions like.

    With the channels last it shares memory with its tokens, but wide convolutions take a CPU a fifth longer.
    """
    return x.contiguous(memory_format=torch.contiguous_format if x.device.type == "cpu" else torch.channels_last)


class Sizes(Protocol):
    @property
    def channels(self) -> tuple[int, ...]:
        """Of each level, from the finest; the deepest has no attention."""
        ...

    @property
    def layers(self) -> int:
        """Of each level on the way down; there is one more on the way up."""
        ...

    @property
    def heads(self) -> int: ...

    @property
    def norm_groups(self) -> int: ...


def levels_of(weights: Mapping[str, Any]) -> tuple[tuple[int, ...], int]:
    """The channels of each level and the layers of one, told by the names and shapes of a UNet's weights."""
    level, layer = "down_blocks.{}.resnets.0.conv1.weight", "down_blocks.0.resnets.{}.conv1.weight"
    levels = takewhile(lambda number: level.format(number) in weights, count())
    layers = takewhile(lambda number: layer.format(number) in weights, count())
    channels = tuple(weights[level.format(number)].shape[0] for number in levels)
    return channels, len(list(layers))


def time_width(sizes: Sizes) -> int:
    return 4 * sizes.channels[0]


class TimeEmbedding(nn.Module):
    def __init__(self, config: Sizes, ops: Ops):
        super().__init__()
        self.width = config.channels[0]
        self.linear_1 = ops.Linear(self.width, time_width(config))
        self.linear_2 = ops.Linear(time_width(config), time_width(config))

    def sinusoid(self, timestep: Tensor) -> Tensor:
        half = self.width // 2
        rates = torch.exp(torch.arange(half, device=timestep.device) * (-math.log(10_000) / half))
        angles = timestep.float()[:, None] * rates
        return torch.cat([angles.cos(), angles.sin()], dim=-1)

    def forward(self, timestep: Tensor, dtype: torch.dtype) -> Tensor:
        return self.linear_2(F.silu(self.linear_1(self.sinusoid(timestep).to(dtype))))


class Resnet(nn.Module):
    def __init__(self, channels_in: int, channels: int, config: Sizes, ops: Ops):
        super().__init__()
        self.norm1 = ops.GroupNorm(config.norm_groups, channels_in, eps=1e-5)
        self.conv1 = ops.Conv2d(channels_in, channels, 3, padding=1)
        self.time_emb_proj = ops.Linear(time_width(config), channels)
        self.norm2 = ops.GroupNorm(config.norm_groups, channels, eps=1e-5)
        self.conv2 = ops.Conv2d(channels, channels, 3, padding=1)
        self.conv_shortcut = ops.Conv2d(channels_in, channels, 1) if channels_in != channels else None

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        """time: the activated time embedding, one row for each so many frames."""
        h = self.conv1(F.silu(self.normed(self.norm1, x, len(time)), inplace=True))
        h.unflatten(0, (len(time), -1)).add_(self.time_emb_proj(time)[:, None, :, None, None])
        h = self.conv2(F.silu(self.normed(self.norm2, h, len(time)), inplace=True))
        return h.add_(x if self.conv_shortcut is None else self.conv_shortcut(x))

    def normed(self, norm: nn.Module, x: Tensor, rows: int) -> Tensor:
        """Frame by frame."""
        return norm(x)


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
    """The layers of one stage; UNet.walk runs its resnets in order."""

    resnets: Any  # lists of layers; a stage has some of the others, or none
    attentions: Any
    audio_modules: Any
    motion_modules: Any
    downsamplers: Any
    upsamplers: Any

    def __init__(self, channels: int, resnets: list[nn.Module], attentions: list[nn.Module]):
        super().__init__()
        self.channels = channels
        self.resnets = nn.ModuleList(resnets)
        if attentions:
            self.attentions = nn.ModuleList(attentions)

    @property
    def sites(self) -> int:
        return len(self.attentions) if hasattr(self, "attentions") else 0


After = Callable[[Block, int, Tensor], Tensor]  # what follows a resnet: its block, its index there, its map


class UNet(nn.Module):
    """Down, middle and up. The deepest stage has no attention; subclasses define what follows a resnet.

    inputs: channels of the latents. transformer: makes the attention of a site, of so many channels. resnet: makes
    one of so many channels in and out, if not the usual.
    """

    def __init__(
        self,
        config: Sizes,
        ops: Ops,
        inputs: int,
        transformer: Callable[[int], nn.Module],
        resnet: Callable[[int, int], nn.Module] | None = None,
    ):
        super().__init__()
        make = resnet or (lambda channels_in, channels: Resnet(channels_in, channels, config, ops))

        def block(width: int, resnet_inputs: list[int], attentions: int) -> Block:
            resnets = [make(channels, width) for channels in resnet_inputs]
            return Block(width, resnets, [transformer(width) for _ in range(attentions)])

        widths, levels = config.channels, len(config.channels)
        deepest = levels - 1
        self.conv_in = ops.Conv2d(inputs, widths[0], 3, padding=1)
        self.time_embedding = TimeEmbedding(config, ops)
        skips = [widths[0]]

        self.down_blocks: Any = nn.ModuleList()
        for level, width in enumerate(widths):
            down = block(width, [skips[-1], *[width] * (config.layers - 1)], config.layers if level < deepest else 0)
            skips += [width] * config.layers
            if level < deepest:
                down.downsamplers = nn.ModuleList([Downsample(width, ops)])
                skips.append(width)
            self.down_blocks.append(down)

        self.mid_block = block(widths[-1], [widths[-1]] * 2, 1)

        self.up_blocks: Any = nn.ModuleList()
        below = widths[-1]
        for level in reversed(range(levels)):
            width = widths[level]
            joined = [width + skips.pop() for _ in range(config.layers + 1)]
            joined[0] += below - width
            up = block(width, joined, config.layers + 1 if level < deepest else 0)
            if level > 0:
                up.upsamplers = nn.ModuleList([Upsample(width, ops)])
            self.up_blocks.append(up)
            below = width

    def site_blocks(self) -> list[tuple[Block, int]]:
        """(block, index in it) of every attention site, in the order in which `walk` meets them."""
        blocks = [*self.down_blocks, self.mid_block, *self.up_blocks]
        return [(block, index) for block in blocks for index in range(block.sites)]

    def site_transformers(self) -> list[Any]:
        return [block.attentions[index] for block, index in self.site_blocks()]

    def at_sites(self, attend: Callable[[int, Tensor], Tensor]) -> After:
        """For `walk`: nothing but attend(site, x), at every attention site, counted from 0."""
        sites = {where: site for site, where in enumerate(self.site_blocks())}

        def after(block: Block, index: int, x: Tensor) -> Tensor:
            return attend(sites[block, index], x) if block.sites else x

        return after

    def walk(
        self,
        x: Tensor,
        time: Tensor,
        after: After,
        shallow: int = 0,
        deep: Tensor | None = None,
        run: Runner = at_once,
    ) -> tuple[Tensor, Tensor | None]:
        """x: conv_in's output; `after` is called after every resnet but the last one of the middle.

        Returns the last map, and the one that entered the last `shallow` layers. Given the latter of another walk as
        `deep`, nothing runs but these layers and what their skips need.
        """
        time = F.silu(time)
        x = laid_out(x)
        layers = [(block, index) for block in self.up_blocks for index in range(len(block.resnets))]
        skips = list(islice(self._descend(x, time, after, run), None if deep is None else shallow))
        if deep is None:
            x = run(self.mid_block.resnets[0])(skips[-1], time)
            x = after(self.mid_block, 0, x)
            x = run(self.mid_block.resnets[1])(x, time)
        else:
            x, layers = deep, layers[-shallow:]

        for block, index in layers:
            if len(skips) == shallow:  # each layer takes one
                deep = x
            x = run(block.resnets[index])(torch.cat([x, skips.pop()], dim=1), time)
            x = after(block, index, x)
            if index == len(block.resnets) - 1 and hasattr(block, "upsamplers"):
                x = block.upsamplers[0](x)
        return x, deep

    def _descend(self, x: Tensor, time: Tensor, after: After, run: Runner) -> Iterator[Tensor]:
        """Yield the maps for the skips, computed on demand."""
        yield x
        for block in self.down_blocks:
            for index, resnet in enumerate(block.resnets):
                x = after(block, index, run(resnet)(x, time))
                yield x
            if hasattr(block, "downsamplers"):
                x = block.downsamplers[0](x)
                yield x
