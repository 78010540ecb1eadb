"""NetConfig and ModelConfig: every size of the method, once; derived sizes are computed."""

from __future__ import annotations

from dataclasses import dataclass, field

from ...config import check_count
from ...diffusion.codec import LATENT_SCALE, CodecConfig
from ...diffusion.schedule import ScheduleConfig
from ...sound.wav2vec2 import FILLED, WINDOW

CHUNK_FRAMES = FILLED
MOTION_FRAMES = 2
REGIONS = ("pose", "expression", "lip")

SAMPLING_STEPS = 40
GUIDANCE = 3.5
SHALLOW_LAYERS = 2  # run at every step, even if deep features are reused: a quarter of the work at 512 pixels

MOST_LEVELS = 10
WIDEST = 1 << 16
MOST = {
    "channels": WIDEST,
    "layers": 20,
    "heads": WIDEST,
    "norm_groups": WIDEST,
    "latent_channels": 1 << 10,
    "face_dim": WIDEST,
    "face_tokens": 1 << 10,
    "face_width": WIDEST,
    "audio_window": 1 << 10,
    "audio_layers": 1 << 10,
    "audio_channels": WIDEST,
    "audio_hidden": WIDEST,
    "audio_tokens": 1 << 10,
    "audio_width": WIDEST,
    "locator_channels": WIDEST,
    "positions": 1 << 16,
}


@dataclass(frozen=True)
class NetConfig:
    """The sizes of the five networks. The defaults are the published ones (Stable Diffusion 1.5 and wav2vec2-base)."""

    channels: tuple[int, ...] = (320, 640, 1280, 1280)
    layers: int = 2
    heads: int = 8
    norm_groups: int = 32
    latent_channels: int = 4

    face_dim: int = 512
    face_tokens: int = 4
    face_width: int = 768

    audio_window: int = WINDOW
    audio_layers: int = 12
    audio_channels: int = 768
    audio_hidden: int = 512
    audio_tokens: int = 32
    audio_width: int = 768

    locator_channels: tuple[int, ...] = (16, 32, 64, 128)
    positions: int = 32  # length of the motion modules' table: motion frames and video frames together
    regional_audio: bool = (
        False  # Hallo has one audio attention each for pose, expression and lips; JoyHallo has one for all
    )

    def __post_init__(self) -> None:
        for name, most in MOST.items():
            value = getattr(self, name)
            for number in value if isinstance(value, tuple) else (value,):
                check_count(f"net.{name}", number, most)
        for name in ("channels", "locator_channels"):
            check_count(f"the number of net.{name}", len(getattr(self, name)), MOST_LEVELS)
        for width in self.channels:
            if width % self.norm_groups or width % self.heads:
                raise ValueError(
                    f"A block of {width} channels cannot be split into {self.norm_groups} norm groups and "
                    f"{self.heads} heads; choose widths divisible by both."
                )

    @property
    def audio_inputs(self) -> int:
        return self.audio_window * self.audio_layers * self.audio_channels

    @property
    def levels(self) -> int:
        return len(self.channels)

    @property
    def size_multiple(self) -> int:
        """Picture sides must be multiples of this many pixels, so that every level halves evenly."""
        return LATENT_SCALE * 2 ** (self.levels - 1)

    @property
    def attention_levels(self) -> tuple[int, ...]:
        """The level of every attention site, in the order in which the UNets meet them."""
        deepest = self.levels - 1
        down = [level for level in range(deepest) for _ in range(self.layers)]
        up = [level for level in reversed(range(deepest)) for _ in range(self.layers + 1)]
        return (*down, deepest, *up)


@dataclass(frozen=True)
class ModelConfig:
    """Everything one checkpoint file says about itself."""

    net: NetConfig = field(default_factory=NetConfig)
    schedule: ScheduleConfig = field(default_factory=ScheduleConfig)
    codec: CodecConfig = field(default_factory=CodecConfig)
    note: str = ""  # a remark for the user
