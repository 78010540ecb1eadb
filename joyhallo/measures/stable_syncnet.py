"""LatentSync's own judge of lip sync: sixteen aligned faces and their 0.64 s of sound, as directions to compare.

Its cosine says how well a window fits its sound, 1 at best. LatentSync learns from it; papers measure with another
network, see `syncnet`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import count, takewhile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..config import FPS, check_count
from ..diffusion.networks.attention import Attention, FeedForward
from ..files.checkpoint import Checkpoint, check, shapes, weights_of
from ..files.contents import KINDS, WeightsError
from ..libraries import brief
from ..ops import Ops, TorchOps
from ..sound.mel import COLUMNS_PER_SECOND, mel
from .kinds import STABLE_SYNCNET
from .streamed import Ready, as_it_is

FRAMES = 16  # of a window
SIDE = 256  # pixels of an aligned face, whose lower half is shown
COLUMNS = 52  # of the mel spectrum
AT_ONCE = 4  # windows
HEADS, GROUPS, EPSILON = 8, 32, 1e-6
WANTED = "LatentSync's StableSyncNet: stable_syncnet.pt or latentsync_syncnet.pt."

Factor = tuple[int, int]  # by which rows and columns become fewer
ONE, TWO = (1, 1), (2, 2)
# Of the networks that are shown pixels, and of those that are shown latents; by the encoder and how many stages it has.
FACTORS: dict[tuple[str, int], tuple[Factor, ...]] = {
    ("audio_encoder", 7): ((2, 1), TWO, TWO, ONE, TWO, TWO, (2, 3)),
    ("audio_encoder", 6): ((2, 1), TWO, TWO, TWO, TWO, (2, 3)),
    ("visual_encoder", 8): ((1, 2), *[TWO] * 7),
    ("visual_encoder", 6): (TWO, TWO, TWO, ONE, TWO, TWO),
}
WIDEST = 1 << 14


# ---- the network


@dataclass(frozen=True)
class Stages:
    """Of one encoder."""

    inputs: int  # channels
    widths: tuple[int, ...]  # channels that each stage gives
    factors: tuple[Factor, ...]
    attention: tuple[bool, ...]  # whether it follows a stage


@dataclass(frozen=True)
class Sizes:
    sound: Stages
    picture: Stages

    @classmethod
    def of(cls, weights: Mapping[str, Any]) -> Sizes:
        """Told by the names and shapes of weights, and the factors, which leave no trace there, by the stages."""
        return cls(_stages(weights, "audio_encoder"), _stages(weights, "visual_encoder"))


def _stages(weights: Mapping[str, Any], encoder: str) -> Stages:
    block = f"{encoder}.down_blocks.{{}}.{{}}.weight"
    widths, attention = list[int](), list[bool]()
    for number in takewhile(lambda number: block.format(number, "norm1") in weights, count()):
        if (convolution := block.format(number, "conv1")) in weights:
            widths.append(weights[convolution].shape[0])
            attention.append(False)
            check_count("the number of channels", widths[-1], WIDEST)
        else:
            attention[-1] = True
    inputs = weights[f"{encoder}.conv_in.weight"].shape[1]
    return Stages(inputs, tuple(widths), FACTORS[encoder, len(widths)], tuple(attention))


def _norm(channels: int, ops: Ops) -> nn.Module:
    return ops.GroupNorm(GROUPS, channels, eps=EPSILON)


class Resnet(nn.Module):
    def __init__(self, taken: int, given: int, factor: Factor, ops: Ops):
        super().__init__()
        self.norm1, self.conv1 = _norm(taken, ops), ops.Conv2d(taken, given, 3, padding=1)
        self.norm2, self.conv2 = _norm(given, ops), ops.Conv2d(given, given, 3, padding=1)
        self.conv_shortcut = ops.Conv2d(taken, given, 1) if taken != given else None
        self.downsample_conv = ops.Conv2d(given, given, 3, stride=factor) if factor != ONE else None
        rows, columns = ((1, 1) if along == 1 else (0, 1) for along in factor)
        self.margins = [*columns, *rows]  # left, right, above, below

    def forward(self, x: Tensor) -> Tensor:
        h = self.conv1(F.silu(self.norm1(x)))
        h = self.conv2(F.silu(self.norm2(h)))
        x = h + (x if self.conv_shortcut is None else self.conv_shortcut(x))
        return x if self.downsample_conv is None else self.downsample_conv(F.pad(x, self.margins))


class AttentionBlock(nn.Module):
    def __init__(self, width: int, ops: Ops):
        super().__init__()
        self.norm1, self.norm2, self.norm3 = _norm(width, ops), ops.LayerNorm(width), ops.LayerNorm(width)
        self.attn, self.ff = Attention(width, HEADS, ops, bias=True), FeedForward(width, ops)
        self.conv_in, self.conv_out = ops.Conv2d(width, width, 1), ops.Conv2d(width, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.conv_in(self.norm1(x)).flatten(2).transpose(1, 2)
        tokens = self.ff.onto(self.attn(self.norm2(tokens)).add_(tokens), self.norm3)
        return x + self.conv_out(tokens.transpose(1, 2).unflatten(2, x.shape[2:]))


class Encoder(nn.Module):
    def __init__(self, stages: Stages, ops: Ops):
        super().__init__()
        before = stages.widths[0]
        self.conv_in = ops.Conv2d(stages.inputs, before, 3, padding=1)
        self.down_blocks = nn.ModuleList()
        for width, factor, attention in zip(stages.widths, stages.factors, stages.attention, strict=True):
            self.down_blocks.append(Resnet(before, width, factor, ops))
            if attention:
                self.down_blocks.append(AttentionBlock(width, ops))
            before = width
        self.norm_out = _norm(before, ops)

    def forward(self, x: Tensor) -> Tensor:
        """(n, channels, height, width) -> unit vectors (n, features) without negative numbers"""
        x = self.conv_in(x)
        for block in self.down_blocks:
            x = block(x)
        return F.normalize(F.relu(self.norm_out(x)).flatten(1))


class StableSyncNet(nn.Module):
    def __init__(self, sizes: Sizes, ops: Ops = TorchOps):
        super().__init__()
        self.audio_encoder, self.visual_encoder = Encoder(sizes.sound, ops), Encoder(sizes.picture, ops)

    def forward(self, windows: Tensor, spectra: Tensor) -> tuple[Tensor, Tensor]:
        """windows (n, 48, 128, 256) in -1..1, R, G, B of each frame in turn, spectra (n, 1, 80, 52) -> seen, heard"""
        return self.visual_encoder(windows), self.audio_encoder(spectra)


def agreement(seen: Tensor, heard: Tensor) -> Tensor:
    """The cosine (n): from 0 to 1, as no part of either vector is negative; 1 is in sync."""
    return F.cosine_similarity(seen, heard)


# ---- the file


def open_stable_syncnet(path: str | Path) -> Checkpoint[StableSyncNet]:
    """Open any published version, or raise a WeightsError that says what the file is instead."""
    path = Path(path)
    state = weights_of(path, WANTED, [STABLE_SYNCNET.words], (STABLE_SYNCNET, *KINDS))
    try:
        sizes = Sizes.of(state)
        expected = shapes(lambda: StableSyncNet(sizes))
    except (LookupError, ValueError) as error:
        raise WeightsError(
            f"{path.name} looks like {STABLE_SYNCNET.words}, but its sizes cannot be told ({brief(error)}). Expected "
            f"{WANTED}"
        ) from error
    check(path, state, expected, STABLE_SYNCNET.words)
    return Checkpoint(lambda ops: StableSyncNet(sizes, ops), state)


# ---- what it is given


def windows_shown(faces: Tensor) -> Tensor:
    """faces uint8 (16 n, 256, 256, 3) -> (n, 48, 128, 256) in -1..1: their lower halves"""
    lower = faces[:, SIDE // 2 :].permute(0, 3, 1, 2).float() / 127.5 - 1
    return lower.unflatten(0, (-1, FRAMES)).flatten(1, 2)


def windows_heard(spectrum: Tensor, windows: range) -> Tensor:
    """spectrum (80, columns) -> (n, 1, 80, 52): of these windows, each of which begins where the one before it ends."""
    starts = [int(COLUMNS_PER_SECOND * FRAMES * number / FPS) for number in windows]
    return torch.stack([spectrum[None, :, start : start + COLUMNS] for start in starts])


class Judging:
    """Cosines of a film's aligned faces, which come piece after piece, with its sound."""

    def __init__(
        self,
        network: StableSyncNet,
        samples: Tensor,
        device: torch.device | str = "cpu",
        ready: Ready = as_it_is,
    ):
        """samples (n) at 16 kHz in -1..1, from the first face on."""
        self._network, self._device, self._ready = network, device, ready
        self._spectrum = mel(samples.cpu(), "silent")
        self._rest = torch.empty(0, SIDE, SIDE, 3, dtype=torch.uint8)  # that the next window begins with
        self._found = [torch.empty(0)]
        self._windows = 0

    @property
    def most(self) -> int:
        """Windows that the sound is long enough for."""
        starts = self._spectrum.shape[1] - COLUMNS + 1  # columns with which a window may begin
        return max(0, math.ceil(starts * FPS / (COLUMNS_PER_SECOND * FRAMES)))

    @torch.no_grad()
    def see(self, faces: Tensor) -> None:
        """faces uint8 (n, 256, 256, 3), R, G, B, aligned as LatentSync aligns them: the next ones of the film."""
        if faces.shape[1:] != (SIDE, SIDE, 3) or faces.dtype != torch.uint8:
            raise ValueError(f"The faces are {tuple(faces.shape)}; expected bytes (n, {SIDE}, {SIDE}, 3).")
        faces = torch.cat([self._rest.to(faces.device), faces])
        whole = len(faces) // FRAMES
        self._rest = faces[whole * FRAMES :].clone()
        judged = min(whole, self.most - self._windows)
        for start in range(0, judged, AT_ONCE):
            self._judge(faces[start * FRAMES : min(start + AT_ONCE, judged) * FRAMES])

    def _judge(self, faces: Tensor) -> None:
        numbers = range(self._windows, self._windows + len(faces) // FRAMES)
        network = self._ready(self._network)
        dtype = next(network.parameters()).dtype
        shown, spectra = windows_shown(faces.to(self._device)), windows_heard(self._spectrum, numbers)
        self._found.append(agreement(*network(shown.to(dtype), spectra.to(self._device, dtype))).float().cpu())
        self._windows = numbers.stop

    @property
    def cosines(self) -> Tensor:
        """(windows), of every sixteen frames; their mean is the film's."""
        return torch.cat(self._found)
