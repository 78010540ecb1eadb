"""Wav2Lip's generator, for faces of 96 pixels and of 256, under the names of the published files.

The networks here have no norms: `checkpoint.folded` puts each BatchNorm into the convolution before it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ...ops import Ops, TorchOps


@dataclass(frozen=True)
class Layer:
    """A convolution, and what the original calls its block: the input is added if it has a residual, then ReLU."""

    taken: int  # channels
    given: int
    kernel: int = 3
    stride: int | tuple[int, int] = 1
    padding: int = 1
    residual: bool = False
    transposed: bool = False
    extra: int = 0  # rows and columns that a transposed one adds


class Block(nn.Module):
    def __init__(self, layer: Layer, ops: Ops):
        super().__init__()
        sizes: dict[str, Any] = {"kernel_size": layer.kernel, "stride": layer.stride, "padding": layer.padding}
        if layer.transposed:
            convolution = ops.ConvTranspose2d(layer.taken, layer.given, **sizes, output_padding=layer.extra)
        else:
            convolution = ops.Conv2d(layer.taken, layer.given, **sizes)
        self.conv_block = nn.Sequential(convolution)
        self.residual = layer.residual

    def forward(self, x: Tensor) -> Tensor:
        made = self.conv_block(x)
        if self.residual:
            made += x
        return made.relu_()


def chain(layers: list[Layer], ops: Ops) -> nn.Sequential:
    return nn.Sequential(*(Block(layer, ops) for layer in layers))


def deepened(layer: Layer, residuals: int) -> list[Layer]:
    return [layer, *[Layer(layer.given, layer.given, residual=True)] * residuals]


def _up(taken: int, given: int) -> list[Layer]:
    return deepened(Layer(taken, given, stride=2, transposed=True, extra=1), 2)


def audio_layers(deeper: int) -> list[Layer]:
    """The window's spectrum (1, 80, 16) -> (512, 1, 1). deeper: residuals in the fourth stage."""
    return [
        *deepened(Layer(1, 32), 2),
        *deepened(Layer(32, 64, stride=(3, 1)), 2),
        *deepened(Layer(64, 128, stride=3), 2),
        *deepened(Layer(128, 256, stride=(3, 2)), deeper),
        *_to_a_point(3, 256),
    ]


def _to_a_point(side: int, taken: int = 512) -> list[Layer]:
    return [Layer(taken, 512, side, padding=0), Layer(512, 512, 1, padding=0)]


HALVED = [  # 96 -> 3 pixels, 256 -> 8
    [Layer(6, 16, 7, padding=3)],
    deepened(Layer(16, 32, stride=2), 2),
    deepened(Layer(32, 64, stride=2), 3),
    deepened(Layer(64, 128, stride=2), 2),
    deepened(Layer(128, 256, stride=2), 2),
    deepened(Layer(256, 512, stride=2), 1),
]
DOUBLED = [_up(1024, 512), _up(768, 384), _up(512, 256), _up(320, 128), _up(160, 64)]  # 3 -> 96, 8 -> 256
ENCODERS = {
    96: [*HALVED, _to_a_point(3)],
    256: [*HALVED, deepened(Layer(512, 512, stride=2), 1), _to_a_point(4)],
}
FIRST = [Layer(512, 512, 1, padding=0)]
DECODERS = {
    96: [FIRST, deepened(Layer(1024, 512, 3, padding=0, transposed=True), 1), *DOUBLED],
    256: [
        FIRST,
        deepened(Layer(1024, 512, 4, padding=0, transposed=True), 1),
        deepened(Layer(1024, 512, stride=2, transposed=True, extra=1), 1),
        *DOUBLED,
    ],
}


class Generator(nn.Module):
    def __init__(self, size: int = 96, ops: Ops = TorchOps):
        super().__init__()
        self.size = size
        self.face_encoder_blocks = nn.ModuleList(chain(layers, ops) for layers in ENCODERS[size])
        self.audio_encoder = chain(audio_layers(1), ops)
        self.face_decoder_blocks = nn.ModuleList(chain(layers, ops) for layers in DECODERS[size])
        self.output_block = nn.Sequential(Block(Layer(80, 32), ops), ops.Conv2d(32, 3, 1))

    def forward(self, mel: Tensor, faces: Tensor, strength: float = 1.0) -> Tensor:
        """mel (n, 1, 80, 16), faces (n, 6, size, size), see `pixels.inputs` -> (n, 3, size, size) in 0..1: B, G, R.

        strength: of the sound; below 1 the mouth moves less.
        """
        x, seen = faces, list[Tensor]()
        for block in self.face_encoder_blocks:
            x = block(x)
            seen.append(x)
        x = self.audio_encoder(mel)
        if strength != 1:
            x = x * strength
        for block in self.face_decoder_blocks:
            x = torch.cat([block(x), seen.pop()], dim=1)
        return self.output_block(x).sigmoid_()
