"""The sizes at which all is measured: the published ones, or as small as can be, so that a processor can follow."""

from __future__ import annotations

from dataclasses import dataclass, field

from joyhallo.methods.hallo.config import NetConfig
from joyhallo.methods.latentsync.network import Sizes as LatentSyncSizes
from joyhallo.methods.musetalk.network import Sizes as MuseTalkSizes
from joyhallo.methods.ultralight.network import Sizes as UltralightSizes
from joyhallo.sound.hubert import Sizes as HubertSizes


@dataclass(frozen=True)
class Scale:
    config: NetConfig = field(default_factory=NetConfig)
    sides: tuple[int, ...] = (512, 256)  # of pictures, in pixels
    levels: tuple[int, ...] = (0, 2)  # whose parts are measured by themselves
    frames: int = 16
    chunks: int = 2
    steps: int = 6  # of a clip that is measured as a whole

    side: int = 8192  # of large matrices
    rows: int = 131_072  # of tokens of the finest level at 512 pixels, both guidance rows
    copied: int = 1 << 30  # bytes
    moved: int = 1 << 28  # bytes, between the machine's memory and the device's
    keys: int = 8192  # of large attention
    elements: tuple[int, ...] = (1 << 22, 1 << 24, 1 << 25, 1 << 26, 1 << 27, 1 << 29)  # of slices of a feed-forward
    workspaces: tuple[int, ...] = (8192, 16_384, 32_768, 65_536, 131_072)  # keys

    vae: tuple[int, ...] = (128, 256, 512, 512)
    vae_layers: int = 2

    film: int = 720  # side, in pixels
    film_frames: int = 96
    few: bool = False  # only the smallest of everything that has one size
    latentsync: LatentSyncSizes = field(default_factory=LatentSyncSizes)
    latentsync_sides: tuple[int, ...] = (256, 512)
    musetalk: MuseTalkSizes = field(default_factory=MuseTalkSizes)
    ultralight: UltralightSizes = field(default_factory=UltralightSizes)
    hubert: HubertSizes = field(default_factory=HubertSizes)
    whisper_blocks: int = 4

    rows_trained: tuple[int, ...] = (1, 4)  # samples of a batch


FULL = Scale()
TINY = Scale(
    config=NetConfig(
        channels=(32, 64),
        layers=1,
        heads=4,
        norm_groups=8,
        face_width=32,
        audio_layers=3,
        audio_channels=16,
        audio_hidden=32,
        audio_tokens=4,
        audio_width=32,
        locator_channels=(8, 16, 16, 32),
    ),
    sides=(32,),
    levels=(0,),
    frames=2,
    chunks=2,
    steps=2,
    side=128,
    rows=256,
    copied=1 << 20,
    moved=1 << 16,
    keys=64,
    elements=(1 << 12,),
    workspaces=(64,),
    vae=(32, 32, 32, 32),
    vae_layers=1,
    film=96,
    film_frames=3,
    few=True,
    latentsync=LatentSyncSizes((32, 32), 1),
    latentsync_sides=(256,),
    musetalk=MuseTalkSizes((32, 32), 1),
    ultralight=UltralightSizes(width=8),
    hubert=HubertSizes(1024, layers=1, inner=16, channels=(8,) * 7, positions=16),
    whisper_blocks=1,
    rows_trained=(1,),
)
