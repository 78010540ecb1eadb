"""BiSeNet, which tells skin, lips, hair and more apart, under the names of the published file.

The network here has no norms: `checkpoint.folded` puts each BatchNorm into the convolution before it.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ...ops import Ops, TorchOps

LABELS = 19
SIDE = 512  # of the pictures that it sees
MEAN, SPREAD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of the colours that it was trained with


def pooled(x: Tensor) -> Tensor:
    return x.mean((2, 3), keepdim=True)


class Convolved(nn.Module):
    def __init__(self, taken: int, given: int, kernel: int, ops: Ops):
        super().__init__()
        self.conv = ops.Conv2d(taken, given, kernel, padding=kernel // 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x).relu_()


class Residual(nn.Module):
    def __init__(self, taken: int, given: int, stride: int, ops: Ops):
        super().__init__()
        self.conv1 = ops.Conv2d(taken, given, 3, stride, padding=1)
        self.conv2 = ops.Conv2d(given, given, 3, padding=1)
        self.downsample = None if stride == 1 else nn.Sequential(ops.Conv2d(taken, given, 1, stride))

    def forward(self, x: Tensor) -> Tensor:
        made = self.conv2(self.conv1(x).relu_())
        return made.add_(x if self.downsample is None else self.downsample(x)).relu_()


class ResNet(nn.Module):
    def __init__(self, ops: Ops):
        super().__init__()
        self.conv1 = ops.Conv2d(3, 64, 7, 2, padding=3)
        self.layer1, self.layer2, self.layer3, self.layer4 = (
            nn.Sequential(Residual(taken, given, stride, ops), Residual(given, given, 1, ops))
            for taken, given, stride in ((64, 64, 1), (64, 128, 2), (128, 256, 2), (256, 512, 2))
        )

    def forward(self, x: Tensor) -> list[Tensor]:
        """Maps of an eighth, a sixteenth and a 32nd of the picture's size."""
        x = self.layer2(self.layer1(F.max_pool2d(self.conv1(x).relu_(), 3, 2, padding=1)))
        y = self.layer3(x)
        return [x, y, self.layer4(y)]


class Refinement(nn.Module):
    def __init__(self, taken: int, given: int, ops: Ops):
        super().__init__()
        self.conv = Convolved(taken, given, 3, ops)
        self.conv_atten = ops.Conv2d(given, given, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        return x * self.conv_atten(pooled(x)).sigmoid()


class Context(nn.Module):
    def __init__(self, ops: Ops):
        super().__init__()
        self.resnet = ResNet(ops)
        self.arm16, self.arm32 = Refinement(256, 128, ops), Refinement(512, 128, ops)
        self.conv_head32, self.conv_head16 = Convolved(128, 128, 3, ops), Convolved(128, 128, 3, ops)
        self.conv_avg = Convolved(512, 128, 1, ops)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Two maps of an eighth of the picture's size: what is there, and what it belongs to."""
        eighth, sixteenth, last = self.resnet(x)
        coarse = self.arm32(last) + self.conv_avg(pooled(last))
        coarse = self.conv_head32(F.interpolate(coarse, sixteenth.shape[2:]))
        fine = self.arm16(sixteenth) + coarse
        return eighth, self.conv_head16(F.interpolate(fine, eighth.shape[2:]))


class Fusion(nn.Module):
    def __init__(self, ops: Ops):
        super().__init__()
        self.convblk = Convolved(256, 256, 1, ops)
        self.conv1 = ops.Conv2d(256, 64, 1, bias=False)
        self.conv2 = ops.Conv2d(64, 256, 1, bias=False)

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        x = self.convblk(torch.cat([*maps], dim=1))
        return x + x * self.conv2(self.conv1(pooled(x)).relu_()).sigmoid()


class Head(nn.Module):
    def __init__(self, taken: int, width: int, ops: Ops):
        super().__init__()
        self.conv = Convolved(taken, width, 3, ops)
        self.conv_out = ops.Conv2d(width, LABELS, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv_out(self.conv(x))


class Parser(nn.Module):
    def __init__(self, ops: Ops = TorchOps):
        super().__init__()
        self.cp, self.ffm = Context(ops), Fusion(ops)
        self.conv_out = Head(256, 256, ops)
        self.conv_out16, self.conv_out32 = Head(128, 64, ops), Head(128, 64, ops)  # which only training asks

    def forward(self, pictures: Tensor) -> Tensor:
        """(n, 3, height, width), see `normalised` -> how likely each label is (n, 19, height, width)"""
        pictures = pictures.contiguous(memory_format=torch.channels_last)
        found = self.conv_out(self.ffm(self.cp(pictures)))
        return F.interpolate(found, pictures.shape[2:], mode="bilinear", align_corners=True)


def normalised(pictures: Tensor) -> Tensor:
    """(n, 3, height, width) in 0..255 -> as the network takes them."""
    mean, spread = (pictures.new_tensor(colours)[:, None, None] for colours in (MEAN, SPREAD))
    return (pictures / 255 - mean) / spread
