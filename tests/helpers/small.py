"""A small network with seeded weights, and what it takes to sample with it."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace
from functools import cache

import seeded
import torch
from torch import Tensor

from joyhallo.diffusion.codec import LATENT_SCALE
from joyhallo.methods.hallo.config import NetConfig
from joyhallo.methods.hallo.networks.net import Net
from joyhallo.methods.hallo.sampling import Portrait
from joyhallo.sound.hubert import Hubert
from joyhallo.sound.hubert import Sizes as HubertSizes
from joyhallo.sound.whisper import Whisper

SMALL = NetConfig(
    channels=(32, 32, 64, 64),
    layers=1,
    heads=4,
    norm_groups=8,  # with 32 the coarsest level would normalise two numbers, which is hardly more than their sign
    latent_channels=4,
    face_width=32,
    audio_layers=3,
    audio_channels=16,
    audio_hidden=32,
    audio_tokens=4,
    audio_width=32,
    locator_channels=(8, 16, 16, 32),
)

SHALLOW = replace(SMALL, channels=(32, 64))  # two levels instead of four: half as many layers, of the same kinds


def net(config: NetConfig = SMALL, **changes) -> Net:
    return deepcopy(_made(replace(config, **changes)))  # tests may change theirs; to draw one takes three times as long


@cache
def _made(config: NetConfig) -> Net:
    with torch.device("meta"):
        made = Net(config)
    seeded.fill(made)
    return made


def portrait(width: int = 64, height: int = 64, config: NetConfig = SMALL) -> Portrait:
    cells = (height // LATENT_SCALE, width // LATENT_SCALE)
    masks = [
        torch.sigmoid(seeded.normals(f"mask {level}", (3, (cells[0] >> level) * (cells[1] >> level))))
        for level in range(config.levels)
    ]
    picture = (0.5 * seeded.normals("picture", (3, height, width))).clamp(-1, 1)
    locator = (seeded.normals("locator", (3, height, width)) > 0).float()
    return Portrait(picture, seeded.normals("identity", (config.face_dim,)), locator, masks)


def windows(frames: int, config: NetConfig = SMALL) -> Tensor:
    return seeded.normals("speech", (frames, config.audio_window, config.audio_layers, config.audio_channels))


class BlockCodec:
    """Pixels <-> latents without weights: each latent is the mean of a block of pixels; the fourth channel is grey."""

    def encode(self, pixels: Tensor) -> Tensor:
        means = torch.nn.functional.avg_pool2d(pixels, LATENT_SCALE)
        return torch.cat([means, means.mean(1, keepdim=True)], dim=1)

    def decode(self, latents: Tensor) -> Tensor:
        pixels = latents[:, :3].repeat_interleave(LATENT_SCALE, 2).repeat_interleave(LATENT_SCALE, 3)
        return (torch.tanh(pixels) + 1) / 2


def small_whisper(width: int = 16, blocks: int = 4, seed: int = 0) -> Whisper:
    """An encoder as narrow as can be, which hears half minutes as the published ones do."""
    torch.manual_seed(seed)
    net = Whisper(width, blocks, heads=2)
    for tensor in net.state_dict().values():
        tensor.normal_(0, max(1, tensor[0].numel()) ** -0.5)
    return net.requires_grad_(False).eval()


def small_hubert(width: int = 1024, seed: int = 0) -> Hubert:
    """An encoder as wide as large's, as methods want it, and as small as can be otherwise."""
    sizes = HubertSizes(width, layers=1, inner=16, channels=(8,) * 7, positions=16)
    with torch.device("meta"):
        net = Hubert(sizes)
    return seeded.fill(net, salt=str(seed)).eval()
