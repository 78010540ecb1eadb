"""FID's Inception, under the names of the published file, and how it sees pictures.

It was trained by TensorFlow and differs from torchvision's in its weights and pools. The network here has no norms:
each BatchNorm is folded into the convolution before it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..files.checkpoint import Checkpoint, State, channels_last, check, shapes, weights_of
from ..files.contents import KINDS, Kind
from ..files.norms import NORM, folded
from ..ops import Ops, TorchOps

SIDE, WIDTH, CLASSES = 299, 2048, 1008
EPSILON = 1e-3  # of its BatchNorms
AT_ONCE = 16  # pictures
KIND = Kind("FID's Inception", (r"Mixed_7c\.branch_pool\.conv\.", r"fc\."), sides=((r"fc\.weight$", 0, CLASSES),))
OTHER = Kind("torchvision's Inception, with which distances are not FID", (r"Mixed_7c\.branch_pool\.conv\.",))
WANTED = "the Inception that FID is told by: pt_inception-2015-12-05-6726825d.pth."


class Layer(NamedTuple):
    """A convolution, then ReLU."""

    given: int  # channels
    rows: int = 1
    columns: int = 1
    stride: int = 1
    padded: bool = True


def _square(given: int, side: int = 3, stride: int = 1, padded: bool = True) -> Layer:
    return Layer(given, side, side, stride, padded)


def _halving(given: int) -> Layer:
    return _square(given, stride=2, padded=False)


class Convolved(nn.Module):
    def __init__(self, taken: int, layer: Layer, ops: Ops):
        super().__init__()
        padding = (layer.rows // 2, layer.columns // 2) if layer.padded else 0
        self.conv = ops.Conv2d(taken, layer.given, (layer.rows, layer.columns), layer.stride, padding)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x).relu_()


Stage = Layer | tuple[Layer, Layer]  # two of them take the same, and what they give is joined
Pool = Callable[[Tensor], Tensor]


class Branch(NamedTuple):
    name: str
    stages: Sequence[Stage]
    pool: Pool | None = None  # what it takes is pooled before


class Block(nn.Module):
    """Branches side by side."""

    def __init__(self, taken: int, branches: Sequence[Branch], ops: Ops):
        super().__init__()
        self.paths = [(branch.pool, [tuple(names) for names in _names(branch)]) for branch in branches]
        self.given = 0
        for branch, (_, named) in zip(branches, self.paths, strict=True):
            width = taken
            for stage, names in zip(branch.stages, named, strict=True):
                layers = (stage,) if isinstance(stage, Layer) else stage
                for name, layer in zip(names, layers, strict=True):
                    self.add_module(name, Convolved(width, layer, ops))
                width = sum(layer.given for layer in layers)
            self.given += width

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self._along(x if pool is None else pool(x), named) for pool, named in self.paths], dim=1)

    def _along(self, x: Tensor, named: list[tuple[str, ...]]) -> Tensor:
        for names in named:
            x = torch.cat([self.get_submodule(name)(x) for name in names], dim=1)
        return x


def _names(branch: Branch) -> list[list[str]]:
    """Of each stage's convolutions: numbered where there are several, with a letter where two are side by side."""
    numbers = [""] if len(branch.stages) == 1 else [f"_{number}" for number, _ in enumerate(branch.stages, 1)]
    return [
        [f"{branch.name}{number}"] if isinstance(stage, Layer) else [f"{branch.name}{number}{side}" for side in "ab"]
        for stage, number in zip(branch.stages, numbers, strict=True)
    ]


# The averages leave out what is beyond the border, and the last block has no average at all, as in TensorFlow's graph.
AVERAGE: Pool = partial(F.avg_pool2d, kernel_size=3, stride=1, padding=1, count_include_pad=False)
GREATEST: Pool = partial(F.max_pool2d, kernel_size=3, stride=1, padding=1)
HALVED: Pool = partial(F.max_pool2d, kernel_size=3, stride=2)
ACROSS, DOWN = (1, 7), (7, 1)  # rows, columns


def _fine(pooled: int) -> list[Branch]:
    return [
        Branch("branch1x1", [Layer(64)]),
        Branch("branch5x5", [Layer(48), _square(64, 5)]),
        Branch("branch3x3dbl", [Layer(64), _square(96), _square(96)]),
        Branch("branch_pool", [Layer(pooled)], AVERAGE),
    ]


def _long(inner: int) -> list[Branch]:
    sides = (DOWN, ACROSS, DOWN)
    return [
        Branch("branch1x1", [Layer(192)]),
        Branch("branch7x7", [Layer(inner), Layer(inner, *ACROSS), Layer(192, *DOWN)]),
        Branch("branch7x7dbl", [Layer(inner), *(Layer(inner, *side) for side in sides), Layer(192, *ACROSS)]),
        Branch("branch_pool", [Layer(192)], AVERAGE),
    ]


def _wide(pool: Pool) -> list[Branch]:
    both = (Layer(384, 1, 3), Layer(384, 3, 1))
    return [
        Branch("branch1x1", [Layer(320)]),
        Branch("branch3x3", [Layer(384), both]),
        Branch("branch3x3dbl", [Layer(448), _square(384), both]),
        Branch("branch_pool", [Layer(192)], pool),
    ]


STEM: Mapping[str, Layer | None] = {  # None: a pool
    "Conv2d_1a_3x3": _halving(32),
    "Conv2d_2a_3x3": _square(32, padded=False),
    "Conv2d_2b_3x3": _square(64),
    "maxpool1": None,
    "Conv2d_3b_1x1": Layer(80),
    "Conv2d_4a_3x3": _square(192, padded=False),
    "maxpool2": None,
}
BLOCKS: Mapping[str, list[Branch]] = {
    "Mixed_5b": _fine(32),
    "Mixed_5c": _fine(64),
    "Mixed_5d": _fine(64),
    "Mixed_6a": [
        Branch("branch3x3", [_halving(384)]),
        Branch("branch3x3dbl", [Layer(64), _square(96), _halving(96)]),
        Branch("pool", [], HALVED),
    ],
    "Mixed_6b": _long(128),
    "Mixed_6c": _long(160),
    "Mixed_6d": _long(160),
    "Mixed_6e": _long(192),
    "Mixed_7a": [
        Branch("branch3x3", [Layer(192), _halving(320)]),
        Branch("branch7x7x3", [Layer(192), Layer(192, *ACROSS), Layer(192, *DOWN), _halving(192)]),
        Branch("pool", [], HALVED),
    ],
    "Mixed_7b": _wide(AVERAGE),
    "Mixed_7c": _wide(GREATEST),
}


class Inception(nn.Module):
    def __init__(self, ops: Ops = TorchOps):
        super().__init__()
        width = 3
        for name, layer in STEM.items():
            if layer is not None:
                self.add_module(name, Convolved(width, layer, ops))
                width = layer.given
        for name, branches in BLOCKS.items():
            block = Block(width, branches, ops)
            self.add_module(name, block)
            width = block.given

    def forward(self, x: Tensor) -> Tensor:
        """(n, 3, SIDE, SIDE) in -1..1 -> (n, WIDTH)"""
        for name, layer in STEM.items():
            x = HALVED(x) if layer is None else self.get_submodule(name)(x)
        for name in BLOCKS:
            x = self.get_submodule(name)(x)
        return x.mean((2, 3))


def seen(frames: Tensor) -> Tensor:
    """uint8 (n, height, width, 3) -> what the network takes; nothing is cropped, nor smoothed when shrinking."""
    x = frames.permute(0, 3, 1, 2).float() / 255
    return 2 * F.interpolate(x, (SIDE, SIDE), mode="bilinear", align_corners=False) - 1


@torch.no_grad()
def features(net: Inception, frames: Tensor) -> Tensor:
    """uint8 (n, height, width, 3), where the network is -> (n, WIDTH)"""
    return torch.cat([net(seen(part)) for part in frames.split(AT_ONCE)])


# ---- the file


def open_checkpoint(path: str | Path) -> Checkpoint[Inception]:
    """Open the published file, or raise a WeightsError that says what the file is instead."""
    path = Path(path)
    state = weights_of(path, WANTED, [KIND.words], (KIND, OTHER, *KINDS))
    check(path, state, published(), KIND.words)
    return Checkpoint(Inception, state, without_norms)


def published() -> dict[str, tuple[int, ...]]:
    """The names and shapes of the file: norms in place of biases, and a classifier, which FID does not ask."""
    found: dict[str, tuple[int, ...]] = {"fc.weight": (CLASSES, WIDTH), "fc.bias": (CLASSES,)}
    for key, shape in shapes(Inception).items():
        if key.endswith(".conv.bias"):
            found |= dict.fromkeys((key.replace("conv.bias", f"bn.{part}") for part in NORM), shape)
        else:
            found[key] = shape
    return found


def without_norms(state: State) -> dict[str, Tensor]:
    asked = {key: tensor for key, tensor in state.items() if not key.startswith("fc.")}
    return channels_last(folded(asked, lambda norm: f"{norm.removesuffix('bn')}conv", EPSILON))
