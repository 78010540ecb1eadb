"""SyncNet, which papers measure lip sync with: what a mouth does in five frames, and 0.2 s of sound, as features.

`open_syncnet` opens `syncnet_v2.model`; its names are kept, except those of the norms, which are folded into the layers
before them. Pictures enter as B, G, R in 0..255, and the sound as cepstra of 16-bit numbers, see `sound.mfcc`.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..files.checkpoint import Checkpoint, State, channels_last, check, shapes, weights_of
from ..files.contents import KINDS
from ..files.norms import NORM, folded
from ..ops import Ops, TorchOps
from ..sound.mfcc import mfcc
from .kinds import SYNCNET
from .lipsync import FRAMES
from .streamed import Ready, as_it_is

SIDE = 224  # pixels of a picture
COLUMNS, STEP = 20, 4  # of cepstra: of a window, and from one window to the next
FEATURES = 1024
WANTED = "SyncNet, syncnet_v2.model."
AT_ONCE = 32  # windows of pictures: more take more memory and no less time
AT_ONCE_HEARD = 512  # windows of sound

# ---- the network


@dataclass(frozen=True)
class Layer:
    """A convolution and ReLU, at the places where the original has them; then, perhaps, the largest of some pixels."""

    place: int
    taken: int  # channels
    given: int
    kernel: int | tuple[int, int] = 3
    stride: int = 1
    padding: int = 1
    pool: tuple[Any, ...] = ()  # kernel, stride and padding


LIP_LAYERS = (  # (15, 224, 224) -> (512, 1, 1)
    Layer(0, 3 * FRAMES, 96, 7, 2, 0, (3, 2)),
    Layer(4, 96, 256, 5, 2, 1, (3, 2, 1)),
    Layer(8, 256, 256),
    Layer(11, 256, 256),
    Layer(14, 256, 256, pool=(3, 2)),
    Layer(18, 256, 512, 6, padding=0),
)
SOUND_LAYERS = (  # (1, 13, 20) -> (512, 1, 1)
    Layer(0, 1, 64),
    Layer(4, 64, 192, pool=(3, (1, 2))),
    Layer(8, 192, 384),
    Layer(11, 384, 256),
    Layer(14, 256, 256, pool=(3, 2)),
    Layer(18, 256, 512, (5, 4), padding=0),
)


def _chain(layers: tuple[Layer, ...], ops: Ops) -> nn.Sequential:
    parts = OrderedDict[str, nn.Module]()
    for layer in layers:
        convolution = ops.Conv2d(layer.taken, layer.given, layer.kernel, layer.stride, layer.padding)
        parts |= {f"{layer.place}": convolution, f"{layer.place + 2}": nn.ReLU(inplace=True)}
        if layer.pool:
            parts[f"{layer.place + 3}"] = nn.MaxPool2d(*layer.pool)
    return nn.Sequential(parts)


def _head(ops: Ops) -> nn.Sequential:
    layers = {"0": ops.Linear(512, 512), "2": nn.ReLU(inplace=True), "3": ops.Linear(512, FEATURES)}
    return nn.Sequential(OrderedDict(layers))


class SyncNet(nn.Module):
    def __init__(self, ops: Ops = TorchOps):
        super().__init__()
        self.netcnnlip, self.netcnnaud = _chain(LIP_LAYERS, ops), _chain(SOUND_LAYERS, ops)
        self.netfclip, self.netfcaud = _head(ops), _head(ops)

    def see(self, windows: Tensor) -> Tensor:
        """windows (n, 15, 224, 224) in 0..255, B, G, R of each frame in turn -> (n, 1024)"""
        return self.netfclip(self.netcnnlip(windows).flatten(1))

    def hear(self, windows: Tensor) -> Tensor:
        """windows of cepstra (n, 1, 13, 20) -> (n, 1024)"""
        return self.netfcaud(self.netcnnaud(windows).flatten(1))


# ---- the file


def open_syncnet(path: str | Path) -> Checkpoint[SyncNet]:
    """Open syncnet_v2.model, or raise a WeightsError that says what the file is instead."""
    path = Path(path)
    state = weights_of(path, WANTED, [SYNCNET.words], (SYNCNET, *KINDS))
    check(path, state, published(), SYNCNET.words)
    return Checkpoint(SyncNet, state, without_norms)


def published() -> dict[str, tuple[int, ...]]:
    """The names and shapes of the file, without its counters."""
    found = dict[str, tuple[int, ...]]()
    for key, shape in shapes(SyncNet).items():
        if key.startswith("netcnnlip.") and len(shape) == 4:  # of three dimensions, of which the first is time
            frames = FRAMES if key == "netcnnlip.0.weight" else 1
            shape = (shape[0], shape[1] // frames, frames, *shape[2:])
        found[key] = shape
        layer, _, part = key.rpartition(".")
        if part == "bias" and not layer.endswith(("netfclip.3", "netfcaud.3")):
            found |= dict.fromkeys((f"{_moved(layer, 1)}.{part}" for part in NORM), shape)
    return found


def _moved(layer: str, by: int) -> str:
    """The name of the layer some places further on."""
    branch, _, place = layer.partition(".")
    return f"{branch}.{int(place) + by}"


def without_norms(state: State) -> dict[str, Tensor]:
    """Of a file's weights, those of the network here. The frames of a window become channels."""
    whole = folded(state, lambda norm: _moved(norm, -1))
    flat = {key: tensor.transpose(1, 2).flatten(1, 2) for key, tensor in whole.items() if tensor.ndim == 5}
    return channels_last(whole | flat)


# ---- what it is given


def windows_shown(crops: Tensor) -> Tensor:
    """crops uint8 (n + 4, 224, 224, 3), R, G, B -> windows (n, 15, 224, 224): views of the same numbers."""
    pictures = crops.flip(3).permute(0, 3, 1, 2).contiguous().float()
    return pictures.unfold(0, FRAMES, 1).movedim(-1, 1).flatten(1, 2)


def windows_heard(cepstra: Tensor, windows: int) -> Tensor:
    """cepstra (columns, 13) -> the first windows (n, 1, 13, 20)"""
    return cepstra.float().unfold(0, COLUMNS, STEP)[:windows, None]


class Watching:
    """Features of the mouth in a film whose crops come piece after piece."""

    def __init__(self, network: SyncNet, device: torch.device | str = "cpu", ready: Ready = as_it_is):
        self._network, self._device, self._ready = network, device, ready
        self._rest = torch.empty(0, SIDE, SIDE, 3, dtype=torch.uint8)  # that the next windows begin with
        self._found = [torch.empty(0, FEATURES)]

    @torch.no_grad()
    def see(self, crops: Tensor) -> None:
        """crops uint8 (n, 224, 224, 3), R, G, B: the next ones of the film."""
        if crops.shape[1:] != (SIDE, SIDE, 3) or crops.dtype != torch.uint8:
            raise ValueError(f"The crops are {tuple(crops.shape)}; expected bytes (n, {SIDE}, {SIDE}, 3).")
        crops = torch.cat([self._rest.to(crops.device), crops])
        for start in range(0, len(crops) - FRAMES + 1, AT_ONCE):
            windows = windows_shown(crops[start : start + AT_ONCE + FRAMES - 1].to(self._device))
            network = self._ready(self._network)
            self._found.append(network.see(windows.to(_dtype(network))).float().cpu())
        self._rest = crops[-(FRAMES - 1) :].clone()

    @property
    def features(self) -> Tensor:
        """(windows, 1024), of every five frames in a row."""
        return torch.cat(self._found)


@torch.no_grad()
def heard(
    network: SyncNet, samples: Tensor, windows: int, device: torch.device | str = "cpu", ready: Ready = as_it_is
) -> Tensor:
    """samples int16 (n) at 16 kHz -> features (windows, 1024): of 0.2 s from each frame's beginning."""
    found = [torch.empty(0, FEATURES)]
    for part in windows_heard(mfcc(samples.cpu()), windows).split(AT_ONCE_HEARD):
        network = ready(network)
        found.append(network.hear(part.to(device, _dtype(network))).float().cpu())
    return torch.cat(found)


def _dtype(network: SyncNet) -> torch.dtype:
    return next(network.parameters()).dtype
