"""AMT-S, which guesses a frame between two others; how well it does is how smoothly a film moves.

`open_amt` opens its authors' `amt-s.pth`, whose names are kept. It finds how each place of one picture looks like those
of the other, and refines with it, from coarse to fine, how both move towards the moment between them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..faces.warp import read_at
from ..files.checkpoint import Checkpoint, check, shapes, weights_of
from ..files.contents import KINDS, Kind
from ..ops import Ops, TorchOps
from .streamed import MeasureError

MULTIPLE, LEAST = 16, 128  # pixels of a side; below, the coarsest of the maps compared would have one place
SCALE = 8  # pixels for each place of the maps that are compared
FEATURES = 84
CHANNELS = (20, 32, 44, 56)  # of a picture at half its size, a quarter, ...
RADIUS, LEVELS = 3, 4  # of what is looked up around a place, and in how many sizes
LOOKED_UP = LEVELS * (2 * RADIUS + 1) ** 2
LAST = 20  # channels of a block that are convolved once more
FLOWS = 3  # of the last decoder, whose pictures are joined
LARGEST_PART, LARGEST_KEPT = 1 << 24, 1 << 26  # numbers of a comparison: made at a time, and kept
WANTED = "AMT-S, amt-s.pth."
AMT_FILE = Kind("an AMT, which guesses frames", (r"(module\.)?feat_encoder\.", r"(module\.)?comb_block\."))


def padded_side(side: int) -> int:
    return math.ceil(side / MULTIPLE) * MULTIPLE


def check_size(height: int, width: int) -> None:
    if padded_side(min(height, width)) < LEAST:
        raise MeasureError(
            f"Frames of {width}x{height} pixels are too small for AMT-S, which has no answer below {LEAST}. Each side "
            f"needs more than {LEAST - MULTIPLE} pixels: choose larger frames, or the linear smoothness."
        )


# ---- parts


class Slopes(nn.Module):
    """PReLU. A table, as no layer of hosts has it."""

    weight: Tensor

    def __init__(self, channels: int):
        super().__init__()
        self.register_buffer("weight", torch.empty(channels))

    def forward(self, x: Tensor) -> Tensor:
        return F.prelu(x, self.weight.to(x))


def sloped(taken: int, given: int, ops: Ops, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(ops.Conv2d(taken, given, 3, stride, 1), Slopes(given))


def leaky(x: Tensor) -> Tensor:
    return F.leaky_relu(x, 0.1)


def resized(x: Tensor, factor: float) -> Tensor:
    return x if factor == 1 else F.interpolate(x, scale_factor=factor, mode="bilinear", align_corners=False)


def warped(x: Tensor, flow: Tensor) -> Tensor:
    """x (n, c, height, width), each place as it is where the flow (n, 2, height, width), in pixels x, y, leads."""
    height, width = x.shape[2:]
    down, across = (torch.linspace(-1, 1, side, dtype=x.dtype, device=x.device) for side in (height, width))
    moved = across + flow[:, 0] / ((width - 1) / 2), down[:, None] + flow[:, 1] / ((height - 1) / 2)
    return read_at(x, torch.stack(moved, -1))


# ---- how places of two pictures are alike


class Bottleneck(nn.Module):
    def __init__(self, taken: int, given: int, stride: int, ops: Ops):
        super().__init__()
        inner = given // 4
        self.conv1 = ops.Conv2d(taken, inner, 1)
        self.conv2 = ops.Conv2d(inner, inner, 3, stride, 1)
        self.conv3 = ops.Conv2d(inner, given, 1)
        if stride > 1:
            self.downsample = nn.Sequential(ops.Conv2d(taken, given, 1, stride))
        self.strided = stride > 1

    def forward(self, x: Tensor) -> Tensor:
        y = x
        for layer in (self.conv1, self.conv2, self.conv3):
            y = F.instance_norm(layer(y)).relu()
        x = F.instance_norm(self.downsample(x)) if self.strided else x
        return (x + y).relu()


class FeatureEncoder(nn.Module):
    def __init__(self, ops: Ops):
        super().__init__()
        self.conv1 = ops.Conv2d(3, 32, 7, 2, 3)
        self.layer1 = nn.Sequential(Bottleneck(32, 32, 1, ops), Bottleneck(32, 32, 1, ops))
        self.layer2 = nn.Sequential(Bottleneck(32, 64, 2, ops), Bottleneck(64, 64, 1, ops))
        self.layer3 = nn.Sequential(Bottleneck(64, 96, 2, ops), Bottleneck(96, 96, 1, ops))
        self.conv2 = ops.Conv2d(96, FEATURES, 1)

    def forward(self, pictures: Tensor) -> Tensor:
        x = F.instance_norm(self.conv1(pictures)).relu()
        return self.conv2(self.layer3(self.layer2(self.layer1(x))))


class Comparison:
    """Each place of one map compared with all places of another, at several sizes of the latter.

    That takes the square of a map's size, so large ones are compared anew, part by part, each time they are looked up.
    """

    def __init__(self, one: Tensor, other: Tensor):
        """(channels, height, width) each"""
        self.size = one.shape[1:]
        self.one, self.other = one.flatten(1).T / math.sqrt(len(one)), other.flatten(1)
        places = len(self.one)
        self.step = max(1, LARGEST_PART // places)
        self.parts = [slice(start, start + self.step) for start in range(0, places, self.step)]
        self.kept = [self.compared(part) for part in self.parts] if places**2 <= LARGEST_KEPT else None

    def compared(self, part: slice) -> list[Tensor]:
        levels = [(self.one[part] @ self.other).unflatten(1, (1, *self.size))]
        while len(levels) < LEVELS:
            levels.append(F.avg_pool2d(levels[-1], 2))
        return levels

    def look_up(self, places: Tensor) -> Tensor:
        """places (2, height, width), x and y in the other map -> what is around them (LOOKED_UP, height, width)"""
        flat = places.flatten(1).T
        levels = self.kept or map(self.compared, self.parts)
        found = [around(some, flat[part]) for part, some in zip(self.parts, levels, strict=True)]
        return torch.cat(found).T.unflatten(1, self.size)


def around(levels: list[Tensor], places: Tensor) -> Tensor:
    """levels (n, 1, height, width) each, places (n, 2) in the first -> (n, LOOKED_UP), of which x changes slowly."""
    steps = torch.arange(-RADIUS, RADIUS + 1, dtype=places.dtype, device=places.device)
    offsets = torch.stack(torch.meshgrid(steps, steps, indexing="ij"), -1)
    found = []
    for number, level in enumerate(levels):
        last = places.new_tensor([level.shape[3] - 1, level.shape[2] - 1])
        looked_at = 2 * (places[:, None, None] / 2**number + offsets) / last - 1
        found.append(F.grid_sample(level, looked_at, align_corners=True).flatten(1))
    return torch.cat(found, 1)


class Both(NamedTuple):
    """Comparisons of a batch's pictures, from the first to the second and back."""

    there: list[Comparison]
    back: list[Comparison]

    @classmethod
    def of(cls, first: Tensor, second: Tensor) -> Both:
        return cls(list(map(Comparison, first, second)), list(map(Comparison, second, first)))

    def look_up(self, there: Tensor, back: Tensor) -> Tensor:
        """Where places moved to, (n, 2, height, width) -> (n, 2 * LOOKED_UP, height, width)"""
        rows, columns = (torch.arange(side, dtype=there.dtype, device=there.device) for side in there.shape[2:])
        grid = torch.stack(torch.meshgrid(columns, rows, indexing="xy"))
        found = [
            torch.stack([one.look_up(grid + flow) for one, flow in zip(comparisons, flows, strict=True)])
            for comparisons, flows in ((self.there, there), (self.back, back))
        ]
        return torch.cat(found, 1)


# ---- how they move


class Encoder(nn.Module):
    def __init__(self, ops: Ops):
        super().__init__()
        self.pyramid1, self.pyramid2, self.pyramid3, self.pyramid4 = (
            nn.Sequential(sloped(taken, given, ops, stride=2), sloped(given, given, ops))
            for taken, given in zip((3, *CHANNELS), CHANNELS, strict=False)
        )

    def forward(self, pictures: Tensor) -> list[Tensor]:
        """The finest first."""
        found = [self.pyramid1(pictures)]
        for stage in (self.pyramid2, self.pyramid3, self.pyramid4):
            found.append(stage(found[-1]))
        return found


class Residual(nn.Module):
    def __init__(self, channels: int, ops: Ops):
        super().__init__()
        self.conv1, self.conv2 = sloped(channels, channels, ops), sloped(LAST, LAST, ops)
        self.conv3, self.conv4 = sloped(channels, channels, ops), sloped(LAST, LAST, ops)
        self.conv5 = ops.Conv2d(channels, channels, 3, 1, 1)
        self.prelu = Slopes(channels)

    def forward(self, x: Tensor) -> Tensor:
        y = x
        for whole, part in (self.conv1, self.conv2), (self.conv3, self.conv4):
            y = whole(y)
            y = torch.cat([y[:, :-LAST], part(y[:, -LAST:])], 1)
        return self.prelu(x + self.conv5(y))


class Decoder(nn.Module):
    """Gives maps of twice the size."""

    def __init__(self, taken: int, inner: int, given: int, ops: Ops):
        super().__init__()
        self.convblock = nn.Sequential(
            sloped(taken, inner, ops), Residual(inner, ops), ops.ConvTranspose2d(inner, given, 4, 2, 1)
        )

    def forward(self, *maps: Tensor) -> Tensor:
        return self.convblock(torch.cat(maps, 1))


class Update(nn.Module):
    """Corrects both flows, and what is known beside them, by what is found where they lead."""

    def __init__(self, channels: int, scale: int, ops: Ops):
        """scale: how many times finer the flows are than the comparisons."""
        super().__init__()
        self.scale = scale
        self.convc1 = ops.Conv2d(2 * LOOKED_UP, 64, 1)
        self.convf1 = ops.Conv2d(4, 40, 7, padding=3)
        self.convf2 = ops.Conv2d(40, 20, 3, padding=1)
        self.conv = ops.Conv2d(84, 68, 3, padding=1)
        self.gru = _head(68 + 4 + channels, 76, ops)
        self.feat_head = _head(76, channels, ops)
        self.flow_head = _head(76, 4, ops)

    def forward(self, feature: Tensor, flows: Tensor, alike: Both, t: float) -> tuple[Tensor, Tensor]:
        coarse = resized(flows, 1 / self.scale) / self.scale
        back, there = coarse.chunk(2, 1)
        seen = leaky(self.convc1(alike.look_up(there / t, back / (1 - t))))
        moved = leaky(self.convf2(leaky(self.convf1(coarse))))
        known = leaky(self.conv(torch.cat([seen, moved], 1)))
        known = self.gru(torch.cat([known, coarse, resized(feature, 1 / self.scale)], 1))
        feature = feature + resized(self.feat_head(known), self.scale)
        return feature, flows + self.scale * resized(self.flow_head(known), self.scale)


def _head(taken: int, given: int, ops: Ops, inner: int = 76) -> nn.Sequential:
    return nn.Sequential(
        ops.Conv2d(taken, inner, 3, padding=1), nn.LeakyReLU(0.1), ops.Conv2d(inner, given, 3, padding=1)
    )


# ---- the whole


class Between(NamedTuple):
    picture: Tensor  # (n, 3, height, width) in 0..1
    flows: list[Tensor]  # the coarsest first: (n, 4, ...) to the first picture and to the second; of the last, three


class AMT(nn.Module):
    def __init__(self, ops: Ops = TorchOps):
        super().__init__()
        self.feat_encoder = FeatureEncoder(ops)
        self.encoder = Encoder(ops)
        self.decoder4, self.update4 = Decoder(2 * 56 + 1, 112, 48, ops), Update(44, 1, ops)
        self.decoder3, self.update3 = Decoder(3 * 44 + 4, 132, 36, ops), Update(32, 2, ops)
        self.decoder2, self.update2 = Decoder(3 * 32 + 4, 96, 24, ops), Update(20, 4, ops)
        self.decoder1 = Decoder(3 * 20 + 4, 60, 8 * FLOWS, ops)
        self.comb_block = nn.Sequential(
            ops.Conv2d(3 * FLOWS, 6 * FLOWS, 3, padding=1), Slopes(6 * FLOWS), ops.Conv2d(6 * FLOWS, 3, 3, padding=1)
        )

    def forward(self, first: Tensor, second: Tensor, t: float = 0.5) -> Between:
        """Pictures (n, 3, height, width) in 0..1, of sides that are multiples of 16. t: the moment, from 0 to 1."""
        height, width = first.shape[2:]
        check_size(height, width)
        if height % MULTIPLE or width % MULTIPLE:
            raise ValueError(f"{width}x{height} pixels: pad each side to a multiple of {MULTIPLE}.")
        count, mean = len(first), torch.cat([first, second], 2).mean((1, 2, 3), keepdim=True)
        both = torch.cat([first - mean, second - mean])
        alike = Both.of(*self.feat_encoder(both).split(count))
        pyramids = [level.split(count) for level in self.encoder(both)]
        flows = list(self._flows(pyramids, alike, t))
        *_, (feature, coarse) = flows
        finest = self._decoded(self.decoder1, pyramids[0], feature, coarse)
        moved, mask, residual = finest.split([4 * FLOWS, FLOWS, 3 * FLOWS], 1)
        moved = moved + 2 * torch.cat([resized(flow, 2).repeat(1, FLOWS, 1, 1) for flow in coarse.chunk(2, 1)], 1)
        picture = self._joined(both.split(count), mean, moved, mask.sigmoid(), residual)
        return Between(picture, [*(flow for _, flow in flows), moved])

    def _flows(self, pyramids: list[tuple[Tensor, ...]], alike: Both, t: float) -> Iterator[tuple[Tensor, Tensor]]:
        """From coarse to fine: a feature, and the flows (n, 4, height, width) to the first picture and the second."""
        one, other = pyramids[3]
        flows, feature = self.decoder4(one, other, torch.full_like(one[:, :1], t)).tensor_split([4], 1)
        feature, flows = self.update4(feature, flows, alike, t)
        yield feature, flows
        stages = (self.decoder3, self.update3, pyramids[2]), (self.decoder2, self.update2, pyramids[1])
        for decoder, update, maps in stages:
            more, feature = self._decoded(decoder, maps, feature, flows).tensor_split([4], 1)
            feature, flows = update(feature, more + 2 * resized(flows, 2), alike, t)
            yield feature, flows

    @staticmethod
    def _decoded(decoder: Decoder, maps: tuple[Tensor, ...], feature: Tensor, flows: Tensor) -> Tensor:
        brought = [warped(level, flow) for level, flow in zip(maps, flows.chunk(2, 1), strict=True)]
        return decoder(feature, *brought, flows)

    def _joined(
        self, pictures: tuple[Tensor, ...], mean: Tensor, flows: Tensor, mask: Tensor, residual: Tensor
    ) -> Tensor:
        made = []
        for number, moved in enumerate(zip(*(flow.split(2, 1) for flow in flows.chunk(2, 1)), strict=True)):
            one, other = (warped(picture, flow) for picture, flow in zip(pictures, moved, strict=True))
            share = mask[:, number : number + 1]
            made.append(share * one + (1 - share) * other + mean + residual[:, 3 * number : 3 * number + 3])
        return (torch.stack(made).mean(0) + self.comb_block(torch.cat(made, 1))).clamp(0, 1)


def open_amt(path: str | Path) -> Checkpoint[AMT]:
    """Open amt-s.pth, or raise a WeightsError that says what the file is instead."""
    path = Path(path)
    state = weights_of(path, WANTED, [AMT_FILE.words], (AMT_FILE, *KINDS))
    check(path, state, shapes(AMT), AMT_FILE.words)
    return Checkpoint(AMT, state)
