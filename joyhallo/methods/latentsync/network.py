"""LatentSync's UNet, under the names of the published files: the noise in the faces of a window, by what is heard.

Frames of a window are folded into the batch. Norms of the residual blocks, and the last one, go over all of them
together, so that a window can neither be split nor padded. Guidance compares two windows, one with sound and one
without: two rows, which run one after the other, or on a CPU together, their frames behind each other in the batch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ...config import check_count
from ...diffusion.networks.attention import ContextBlock, KeysValues, Transformer
from ...diffusion.networks.blocks import After, Block, Part, Runner, Upsample, at_once, laid_out, levels_of
from ...diffusion.networks.blocks import Resnet as FrameResnet
from ...diffusion.networks.blocks import UNet as Skeleton
from ...diffusion.networks.motion_module import MotionModule
from ...diffusion.networks.portions import portions
from ...ops import Ops, TorchOps

CHANNELS = 4  # of latents
INPUTS = 3 * CHANNELS + 1  # noisy, mask (1: what is kept), masked, and whole faces
FRAMES = 16  # of a window
FEW = 512  # pixels of all frames, for which adding up weights takes as long as it spares
SHALLOW = 1  # layers that also run in steps that reuse what the deeper ones found
MOST = {"levels": 10, "layers": 20, "sound": 1 << 16, "positions": 1 << 12}

Motion = Literal["everywhere", "up", "nowhere"]
Heard = Sequence[KeysValues] | None  # keys and values of the sound, for each attention; None: silence


@dataclass(frozen=True)
class Sizes:
    """The defaults are those of both published versions."""

    channels: tuple[int, ...] = (320, 640, 1280, 1280)
    layers: int = 2
    sound: int = 384  # numbers of each token
    motion: Motion = "everywhere"  # up: as those have it who train with little memory; nowhere: after the first stage
    positions: int = 24  # of frames in a window
    heads: int = 8
    norm_groups: int = 32

    @classmethod
    def of(cls, weights: Mapping[str, Any]) -> Sizes:
        """Told by the shapes of weights; heads and groups have none, and are always as many."""
        channels, layers = levels_of(weights)
        sound = weights["mid_block.attentions.0.transformer_blocks.0.attn2.to_k.weight"].shape[1]
        tables = [key for key in weights if key.endswith(".pos_encoder.pe")]
        motion = "nowhere" if not tables else "everywhere" if any(key.startswith("down") for key in tables) else "up"
        positions = weights[tables[0]].shape[1] if tables else cls.positions
        found = {"levels": len(channels), "layers": layers, "sound": sound, "positions": positions}
        for name, value in found.items():
            check_count(f"the number of {name}", value, MOST[name])
        return cls(channels, layers, sound, motion, positions)


class Resnet(FrameResnet):
    def normed(self, norm: nn.Module, x: Tensor, rows: int) -> Tensor:
        return as_one(norm, x, rows)


def as_one(norm: nn.Module, x: Tensor, rows: int) -> Tensor:
    """A group norm of all frames of a row (rows * frames, channels, height, width) as one: they become a tall map."""
    tall = x.unflatten(0, (rows, -1)).transpose(1, 2).flatten(2, 3)
    return norm(tall).unflatten(2, (len(x) // rows, -1)).transpose(1, 2).flatten(0, 1)


class SoundBlock(ContextBlock):
    """Every pixel of a face sees the others, then hears its frame."""

    def hear(self, x: Tensor, rows: Sequence[KeysValues | None]) -> Tensor:
        """x (rows * frames, pixels, channels)"""
        made = [part + self.heard(part, sound) for part, sound in zip(x.chunk(len(rows)), rows, strict=True)]
        return self.finish(made[0] if len(rows) == 1 else torch.cat(made))

    def heard(self, x: Tensor, sound: KeysValues | None) -> Tensor:
        return self.attn2.to_out[0](self.attn2.gather(self.norm2(x), sound)) if sound else self.silence(x)

    def silence(self, x: Tensor) -> Tensor:
        """What is heard of tokens that are all zero: their values are zero, and one bias is left for all pixels."""
        return self.attn2.to_out[0](x.new_zeros(1, x.shape[-1]))


class SoundTransformer(Transformer):
    def __init__(self, width: int, sizes: Sizes, ops: Ops):
        block = SoundBlock(width, sizes.heads, sizes.sound, ops)
        super().__init__(width, width, block, sizes.norm_groups, ops)

    @property
    def block(self) -> SoundBlock:
        return self.transformer_blocks[0]

    def look(self, x: Tensor) -> Tensor:
        """The part that does not depend on the sound."""
        return self.block.see(self.tokens(x))

    def hear(self, seen: Tensor, x: Tensor, rows: Sequence[KeysValues | None]) -> Tensor:
        return self.leave(self.block.hear(seen, rows), x)


class PhasedUpsample(Upsample):
    """The same with four ninths of the products: in a map of doubled pixels a kernel of 3x3 meets only 2x2 of the
    small one, in one of four ways, and weights that meet the same pixel are added up beforehand."""

    def __init__(self, channels: int, ops: Ops):
        super().__init__(channels, ops)
        self.ops = ops

    def forward(self, x: Tensor) -> Tensor:
        rows, columns = x.shape[2:]
        if len(x) * rows * columns < FEW:
            return super().forward(x)
        weight, bias = self.ops.weights(self.conv, x)
        bias = None if bias is None else bias.to(x.dtype)
        around, made = F.pad(x, (1, 1, 1, 1)), x.new_empty(*x.shape[:2], rows, 2, columns, 2)
        for (down, across), table in zip(PLACES, tables(weight), strict=True):
            part = around[:, :, down : down + rows + 1, across : across + columns + 1]
            made[:, :, :, down, :, across] = F.conv2d(part, added(weight, table).to(x.dtype), bias)
        return laid_out(made.flatten(4, 5).flatten(2, 3))


def added(weight: Tensor, table: Tensor) -> Tensor:
    return (weight.flatten(2) @ table).unflatten(2, (2, 2))


PLACES = tuple(product(range(2), range(2)))  # down and across, of four pixels that are alike


def tables(like: Tensor) -> list[Tensor]:
    """Matrices that add up weights (..., 9) to (..., 4), one for each of `PLACES`.

    Along such short sides, sums take a CPU four times as long as these products.
    """
    weights, pixels = torch.arange(3, device=like.device), torch.arange(2, device=like.device)[:, None]
    first = (weights <= pixels).to(like.dtype)  # whether a weight meets the first of two small pixels, or the second
    met = torch.stack([first, 1 - first], dim=1)
    return [torch.kron(met[down], met[across]).T for down, across in PLACES]


class Predicted(NamedTuple):
    noise: Tensor  # (rows, frames, 4, height, width)
    deep: list[Tensor]  # what other steps may reuse, of rows that ran together; empty unless that was asked for


class UNet(Skeleton):
    def __init__(self, sizes: Sizes | None = None, ops: Ops = TorchOps):
        sizes = sizes or Sizes()
        super().__init__(
            sizes,
            ops,
            INPUTS,
            lambda width: SoundTransformer(width, sizes, ops),
            lambda channels_in, channels: Resnet(channels_in, channels, sizes, ops),
        )
        for block in (*(self.down_blocks if sizes.motion == "everywhere" else ()), *self.up_blocks):
            if sizes.motion != "nowhere":
                block.motion_modules = nn.ModuleList([MotionModule(block.channels, sizes, ops) for _ in block.resnets])
        for block in self.up_blocks:
            if hasattr(block, "upsamplers"):
                block.upsamplers = nn.ModuleList([PhasedUpsample(block.channels, ops)])
        self.sizes = sizes
        self.conv_norm_out = ops.GroupNorm(sizes.norm_groups, sizes.channels[0], eps=1e-5)
        self.conv_out = ops.Conv2d(sizes.channels[0], CHANNELS, 3, padding=1)

    def listen(self, sound: Tensor) -> list[KeysValues]:
        """Tokens (frames, tokens, width) of a window, as every step needs them."""
        return [site.block.attn2.keys_values(sound) for site in self.site_transformers()]

    def forward(
        self,
        latents: Tensor,
        timestep: Tensor,
        rows: Sequence[Heard],
        deep: Sequence[Tensor] | None = None,
        reusable: bool = False,
    ) -> Predicted:
        """latents (frames, 13, height, width), the same for all rows, which hear different things; timestep (1).

        deep: of another step that was `reusable`, to spare all but the last layer.
        """
        x = laid_out(self.conv_in(latents))
        time = self.time_embedding(timestep, x.dtype)
        first, shallow = self.down_blocks[0], SHALLOW if reusable or deep else 0
        alike, together = [first.resnets[0], first.attentions[0].look], min(len(rows), portions(x.device).rows)
        run = for_each(alike, together) if together > 1 else for_all(alike) if len(rows) > 1 else at_once
        x, time, noise, kept = repeated(x, together), repeated(time, together), [], []
        for number, start in enumerate(range(0, len(rows), together)):
            after = self._after(rows[start : start + together], run)
            made, below = self.walk(x, time, after, shallow, deep[number] if deep else None, run)
            made = self.conv_out(F.silu(as_one(self.conv_norm_out, made, together), inplace=True))
            noise.append(made.unflatten(0, (together, -1)))
            kept += [] if below is None else [below]
        return Predicted(torch.cat(noise), kept)

    def _after(self, rows: Sequence[Heard], run: Runner) -> After:
        sites = {where: site for site, where in enumerate(self.site_blocks())}

        def after(block: Block, index: int, x: Tensor) -> Tensor:
            if block.sites:
                transformer, site = block.attentions[index], sites[block, index]
                heard = [row[site] if row else None for row in rows]
                x = transformer.hear(run(transformer.look)(x), x, heard)
            if hasattr(block, "motion_modules"):
                carried = x.new_zeros(len(rows), 0, x.shape[2] * x.shape[3], x.shape[1])
                x = block.motion_modules[index](x, carried)
            return x

        return after


# Nothing of the sound has come in before the first parts end: they run once for all rows.


def for_all(alike: Sequence[Callable[..., Tensor]]) -> Runner:
    """Of two rows that follow each other, only the first runs the parts in which they are alike."""
    found: dict[Part, Tensor] = {}

    def run(part: Part) -> Part:
        if part not in alike:
            return part
        if part in found:
            return lambda *_: found.pop(part)

        def first(*inputs: Tensor) -> Tensor:
            return found.setdefault(part, part(*inputs))

        return first

    return run


def for_each(alike: Sequence[Callable[..., Tensor]], rows: int) -> Runner:
    """Of rows that run together, the first alone goes through the parts in which they are alike."""

    def run(part: Part) -> Part:
        if part not in alike:
            return part
        return lambda *inputs: repeated(part(*(given[: len(given) // rows] for given in inputs)), rows)

    return run


def repeated(x: Tensor, rows: int) -> Tensor:
    return x if rows == 1 else torch.cat([x] * rows)
