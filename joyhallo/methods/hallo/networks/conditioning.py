"""ImageProj, AudioProj and FaceLocator: small networks that embed identity, speech and face position for the UNets."""

from __future__ import annotations

from itertools import pairwise

from torch import Tensor, nn
from torch.nn import functional as F

from ....ops import Ops, TorchOps
from ..config import NetConfig


class ImageProj(nn.Module):
    """Identity (rows, face_dim) -> face tokens (rows, face_tokens, face_width)."""

    def __init__(self, config: NetConfig, ops: Ops = TorchOps):
        super().__init__()
        self.tokens = config.face_tokens
        self.proj = ops.Linear(config.face_dim, config.face_tokens * config.face_width)
        self.norm = ops.LayerNorm(config.face_width)

    def forward(self, identity: Tensor) -> Tensor:
        return self.norm(self.proj(identity).unflatten(-1, (self.tokens, -1)))


class AudioProj(nn.Module):
    """Speech windows (frames, window, layers, channels) -> audio tokens (frames, audio_tokens, audio_width)."""

    def __init__(self, config: NetConfig, ops: Ops = TorchOps):
        super().__init__()
        self.tokens = config.audio_tokens
        self.proj1 = ops.Linear(config.audio_inputs, config.audio_hidden)
        self.proj2 = ops.Linear(config.audio_hidden, config.audio_hidden)
        self.proj3 = ops.Linear(config.audio_hidden, config.audio_tokens * config.audio_width)
        self.norm = ops.LayerNorm(config.audio_width)

    def forward(self, windows: Tensor) -> Tensor:
        hidden = F.relu(self.proj1(windows.flatten(1)))
        hidden = F.relu(self.proj2(hidden))
        return self.norm(self.proj3(hidden).unflatten(-1, (self.tokens, -1)))


class FaceLocator(nn.Module):
    """Picture of the face's rectangle (rows, 3, height, width) -> feature (rows, channels[0], height/8, width/8)."""

    def __init__(self, config: NetConfig, ops: Ops = TorchOps):
        super().__init__()
        widths = config.locator_channels
        self.conv_in = ops.Conv2d(3, widths[0], 3, padding=1)
        self.blocks = nn.ModuleList()
        for narrow, wide in pairwise(widths):
            self.blocks.append(ops.Conv2d(narrow, narrow, 3, padding=1))
            self.blocks.append(ops.Conv2d(narrow, wide, 3, padding=1, stride=2))
        self.conv_out = ops.Conv2d(widths[-1], config.channels[0], 3, padding=1)

    def forward(self, picture: Tensor) -> Tensor:
        x = F.silu(self.conv_in(picture))
        for block in self.blocks:
            x = F.silu(block(x))
        return self.conv_out(x)
