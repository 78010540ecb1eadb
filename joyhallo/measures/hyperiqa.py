"""HyperIQA, which scores pictures by rules that it makes for each of them, under the names of koniq_pretrained.pkl.

The network here has no norms: each BatchNorm is folded into the convolution before it. Good pictures score towards 100;
LatentSync leaves films below 40 out of its data.
"""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..files.checkpoint import Checkpoint, State, channels_last, check, shapes, weights_of
from ..files.contents import KINDS, Kind
from ..files.norms import NORM, folded
from ..ops import Ops, TorchOps

SIDE, GRID = 224, 7  # of pictures, and of the maps that rules are made from
MEAN, SPREAD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
RULES = 112  # channels that rules are made from
WIDTHS = (224, 112, 56, 28, 14)  # of the small network that the rules make up
LOCAL = ((16, 256), (32, 512), (64, 1024))  # channels that each stage's local features keep, of how many
LOCAL_WIDTH = 16
STAGES = ((3, 64, 1), (4, 128, 2), (6, 256, 2), (3, 512, 2))  # blocks, channels, stride
KIND = Kind("HyperIQA", (r"res\.lda1_fc\.", r"fc1w_conv\."))
WANTED = "HyperIQA's network as trained on KonIQ-10k: koniq_pretrained.pkl."


class Bottleneck(nn.Module):
    def __init__(self, taken: int, inner: int, stride: int, ops: Ops):
        super().__init__()
        self.conv1 = ops.Conv2d(taken, inner, 1)
        self.conv2 = ops.Conv2d(inner, inner, 3, stride, padding=1)
        self.conv3 = ops.Conv2d(inner, 4 * inner, 1)
        self.downsample = None if taken == 4 * inner else nn.Sequential(ops.Conv2d(taken, 4 * inner, 1, stride))

    def forward(self, x: Tensor) -> Tensor:
        made = self.conv3(self.conv2(self.conv1(x).relu_()).relu_())
        return made.add_(x if self.downsample is None else self.downsample(x)).relu_()


class ResNet(nn.Module):
    """A ResNet-50; of each stage it also tells what single places look like."""

    def __init__(self, ops: Ops):
        super().__init__()
        self.conv1 = ops.Conv2d(3, 64, 7, 2, padding=3)
        taken = 64
        for number, (blocks, inner, stride) in enumerate(STAGES, 1):
            rest = [Bottleneck(4 * inner, inner, 1, ops) for _ in range(blocks - 1)]
            self.add_module(f"layer{number}", nn.Sequential(Bottleneck(taken, inner, stride, ops), *rest))
            taken = 4 * inner
        for number, (kept, channels) in enumerate(LOCAL, 1):
            places = (SIDE >> number + 1) // GRID
            self.add_module(f"lda{number}_pool", nn.Sequential(ops.Conv2d(channels, kept, 1, bias=False)))
            self.add_module(f"lda{number}_fc", ops.Linear(kept * places**2, LOCAL_WIDTH))
        self.lda4_fc = ops.Linear(taken, WIDTHS[0] - LOCAL_WIDTH * len(LOCAL))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(n, 3, SIDE, SIDE) -> maps (n, 2048, GRID, GRID), local features (n, WIDTHS[0])"""
        x, local = F.max_pool2d(self.conv1(x).relu_(), 3, 2, padding=1), list[Tensor]()
        for number, _ in enumerate(STAGES, 1):
            x = self.get_submodule(f"layer{number}")(x)
            kept = self.get_submodule(f"lda{number}_pool")(x) if number <= len(LOCAL) else x
            places = F.avg_pool2d(kept, GRID).flatten(1)
            local.append(self.get_submodule(f"lda{number}_fc")(places))
        return x, torch.cat(local, dim=1)


class HyperIQA(nn.Module):
    def __init__(self, ops: Ops = TorchOps):
        super().__init__()
        self.res = ResNet(ops)
        narrowing: list[Any] = []
        for taken, given in ((2048, 1024), (1024, 512), (512, RULES)):
            narrowing += [ops.Conv2d(taken, given, 1), nn.ReLU(inplace=True)]
        self.conv1 = nn.Sequential(*narrowing)
        for number, (taken, given) in enumerate(pairwise(WIDTHS), 1):
            self.add_module(f"fc{number}w_conv", ops.Conv2d(RULES, taken * given // GRID**2, 3, padding=1))
            self.add_module(f"fc{number}b_fc", ops.Linear(RULES, given))
        self.fc5w_fc = ops.Linear(RULES, WIDTHS[-1])
        self.fc5b_fc = ops.Linear(RULES, 1)

    def forward(self, x: Tensor) -> Tensor:
        """`seen` (n, 3, SIDE, SIDE) -> scores (n)"""
        maps, local = self.res(x)
        *hidden, (weight, bias) = self.rules(maps)
        answer = local[..., None]
        for rule, offset in hidden:
            answer = (rule @ answer + offset[..., None]).sigmoid_()
        return (weight @ answer + bias[..., None]).flatten()

    def rules(self, maps: Tensor) -> list[tuple[Tensor, Tensor]]:
        """For each picture the weights (n, given, taken) and offsets (n, given) of five linear layers."""
        source = self.conv1(maps)
        mean, made = source.mean((2, 3)), list[tuple[Tensor, Tensor]]()
        for number, (taken, given) in enumerate(pairwise(WIDTHS), 1):
            weight = self.get_submodule(f"fc{number}w_conv")(source).reshape(-1, given, taken)
            made.append((weight, self.get_submodule(f"fc{number}b_fc")(mean)))
        return [*made, (self.fc5w_fc(mean)[:, None], self.fc5b_fc(mean))]


def seen(frames: Tensor) -> Tensor:
    """uint8 (n, height, width, 3) -> what the network takes: the middle, at its own scale."""
    height, width = frames.shape[1:3]
    if min(height, width) < SIDE:
        raise ValueError(f"Frames of {width}x{height} are too small for HyperIQA: {SIDE} pixels each way at least.")
    top, left = round((height - SIDE) / 2), round((width - SIDE) / 2)
    x = frames[:, top : top + SIDE, left : left + SIDE].permute(0, 3, 1, 2).float() / 255
    mean, spread = (torch.tensor(of, device=x.device).view(3, 1, 1) for of in (MEAN, SPREAD))
    return (x - mean) / spread


def looked_at(count: int) -> tuple[int, int, int]:
    """Which of a film's frames count: its score is the mean of theirs."""
    return 0, count // 2, count - 1


# ---- the file


def open_checkpoint(path: str | Path) -> Checkpoint[HyperIQA]:
    """Open the published file, or raise a WeightsError that says what the file is instead."""
    path = Path(path)
    state = weights_of(path, WANTED, [KIND.words], (KIND, *KINDS))
    check(path, state, published(), KIND.words)
    return Checkpoint(HyperIQA, state, without_norms)


def published() -> dict[str, tuple[int, ...]]:
    """The names and shapes of the file: its ResNet has norms in place of biases."""
    found: dict[str, tuple[int, ...]] = {}
    for key, shape in shapes(HyperIQA).items():
        if key.startswith("res.") and key.endswith(".bias") and "_fc." not in key:
            found |= dict.fromkeys((f"{norm_after(key.removesuffix('.bias'))}.{part}" for part in NORM), shape)
        else:
            found[key] = shape
    return found


def norm_after(convolution: str) -> str:
    """`bn1` after `conv1`, 1 after 0."""
    path, _, name = convolution.rpartition(".")
    return f"{path}.{'1' if name == '0' else name.replace('conv', 'bn')}"


def convolution_before(norm: str) -> str:
    path, _, name = norm.rpartition(".")
    return f"{path}.{'0' if name == '1' else name.replace('bn', 'conv')}"


def without_norms(state: State) -> dict[str, Tensor]:
    return channels_last(folded(state, convolution_before))
