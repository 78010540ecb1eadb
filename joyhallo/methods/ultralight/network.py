"""The generator of Ultralight-Digital-Human, for faces of 160 pixels, under the names of the published code.

The network here has no norms: `checkpoint.without_norms` puts each BatchNorm into the convolution before it.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ...ops import Ops, TorchOps

SEEN = 6  # channels: a face as it is, and with a black mouth


@dataclass(frozen=True)
class Ear:
    """How a kind of sound becomes 10 x 10 pixels. Channels are multiples of the network's width."""

    shape: tuple[int, int, int]  # of what is heard at a frame
    early: tuple[int, int]  # channels of the first two layers
    stride: tuple[int, int]  # of the first convolution that makes it smaller


HUBERT = Ear((16, 32, 32), (2, 4), (2, 2))
WENET = Ear((128, 16, 32), (8, 8), (1, 2))
EARS = {ear.shape[0]: ear for ear in (HUBERT, WENET)}  # by the channels that the first layer takes


@dataclass(frozen=True)
class Sizes:
    ear: Ear = field(default=HUBERT)
    width: int = 32  # channels at full size, doubled by each of four halvings

    @classmethod
    def of(cls, state: Mapping[str, Tensor]) -> Sizes:
        """As the weights say. A LookupError or a ValueError if they say nothing that is known."""
        heard = state["audio_model.conv1.conv.0.weight"].shape[1]
        if heard not in EARS:
            raise ValueError(f"it hears {heard} channels, where HuBERT has {HUBERT.shape[0]}, WeNet {WENET.shape[0]}")
        return cls(EARS[heard], state["inc.inconv.conv.6.weight"].shape[0])


class Inverted(nn.Module):
    """Channels are doubled, each is filtered by itself, and they are mixed again."""

    def __init__(self, taken: int, given: int, ops: Ops, stride: int = 1, residual: bool = False):
        super().__init__()
        inner = 2 * taken
        layers = {
            "0": ops.Conv2d(taken, inner, 1),
            "3": ops.Conv2d(inner, inner, 3, stride, 1, groups=inner),
            "6": ops.Conv2d(inner, given, 1),
        }
        self.conv = nn.Sequential(OrderedDict(layers))
        self.residual = residual

    def forward(self, x: Tensor) -> Tensor:
        doubled, filtered, mixed = self.conv
        made = mixed(filtered(doubled(x).relu_()).relu_())
        return made.add_(x) if self.residual else made


class Doubled(nn.Module):
    """Two of them, of which the second only adds to the first."""

    def __init__(self, taken: int, given: int, ops: Ops, stride: int = 1):
        super().__init__()
        self.double_conv = nn.Sequential(
            Inverted(taken, given, ops, stride), Inverted(given, given, ops, residual=True)
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.double_conv(x)


class Sound(nn.Module):
    def __init__(self, sizes: Sizes, ops: Ops):
        super().__init__()
        first, second = (times * sizes.width for times in sizes.ear.early)
        middle, last = 8 * sizes.width, 16 * sizes.width
        self.conv1 = Inverted(sizes.ear.shape[0], first, ops)
        self.conv2 = Inverted(first, second, ops, residual=first == second)
        self.conv3 = ops.Conv2d(second, middle, 3, sizes.ear.stride, 1)
        self.conv4 = Inverted(middle, middle, ops, residual=True)
        self.conv5 = ops.Conv2d(middle, last, 3, 2, 3)
        self.conv6 = Inverted(last, last, ops, residual=True)
        self.conv7 = Inverted(last, last, ops, residual=True)

    def forward(self, heard: Tensor) -> Tensor:
        x = self.conv3(self.conv2(self.conv1(heard))).relu_()
        x = self.conv5(self.conv4(x)).relu_()
        return self.conv7(self.conv6(x))


class Generator(nn.Module):
    def __init__(self, sizes: Sizes | None = None, ops: Ops = TorchOps):
        super().__init__()
        self.sizes = sizes = sizes or Sizes()
        full, half, quarter, eighth, least = (sizes.width << times for times in range(5))
        self.audio_model = Sound(sizes, ops)
        self.fuse_conv = nn.Sequential(Doubled(2 * least, least, ops), Doubled(least, eighth, ops))
        self.inc = _named(inconv=Inverted(SEEN, full, ops))
        self.down1 = _named(maxpool_conv=Doubled(full, half, ops, 2))
        self.down2 = _named(maxpool_conv=Doubled(half, quarter, ops, 2))
        self.down3 = _named(maxpool_conv=Doubled(quarter, eighth, ops, 2))
        self.down4 = _named(maxpool_conv=Doubled(eighth, least, ops, 2))
        self.up1 = _named(conv=Doubled(least, quarter, ops))
        self.up2 = _named(conv=Doubled(eighth, half, ops))
        self.up3 = _named(conv=Doubled(quarter, full, ops))
        self.up4 = _named(conv=Doubled(half, full, ops))
        self.outc = _named(conv=ops.Conv2d(full, 3, 1))

    def forward(self, heard: Tensor, faces: Tensor, strength: float = 1.0) -> Tensor:
        """heard (n, *ear.shape), faces (n, 6, 160, 160), see `pixels.inputs` -> (n, 3, 160, 160) in 0..1: B, G, R.

        strength: of the sound; below 1 the mouth moves less.
        """
        seen = [self.inc(faces)]
        for down in (self.down1, self.down2, self.down3, self.down4):
            seen.append(down(seen[-1]))
        sound = self.audio_model(heard)
        if strength != 1:
            sound = sound * strength
        x = self.fuse_conv(torch.cat([seen.pop(), sound], dim=1))
        for up in (self.up1, self.up2, self.up3, self.up4):
            larger = F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=True)
            x = up(torch.cat([larger, seen.pop()], dim=1))
        return self.outc(x).sigmoid_()


def _named(**layers: nn.Module) -> nn.Sequential:
    return nn.Sequential(OrderedDict(layers))
