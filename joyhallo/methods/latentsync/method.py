"""LatentSync as a redub method: sixteen frames at a time, from shared noise to faces that speak."""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction
from functools import cached_property

import torch
from torch import Tensor

from ...faces.track import Track
from ...sound.audio import Recording
from ...sound.heard import HeardWindows
from ...sound.whisper import LATENTSYNC
from ...sound.whisper_file import WIDEST
from ..redub import Codec, Engine, OnStep, Ready, RedubError, Wishes, as_it_is, check_numbers, in_parts
from ..whispered import Hear, heard_at_frames, hearing
from .alignment import matrices
from .crops import Faces
from .masks import AREAS, USUAL, in_latents, mask
from .memory import working_memory
from .network import FRAMES, UNet
from .sampling import GUIDANCE, STEPS, Settings, denoise, shared_noise

SIDES = {"1.6": 512, "1.5": 256}  # of faces, by version
KNOWN = frozenset(
    ("seed", "steps", "guidance", "reuse", "solver", "area", "smoothing", "sync_offset", "cover_tail", "joints")
)


@dataclass(frozen=True)
class LatentSync:
    network: UNet
    vae: Codec
    hear: Hear
    size: int
    device: torch.device | str = "cpu"
    dtype: torch.dtype = torch.float32
    wishes: Wishes = field(default_factory=Wishes)
    ready: Ready = as_it_is
    at_once: int = FRAMES  # fewer would be other faces, as all frames of a window are normed together
    known: frozenset[str] = KNOWN

    @property
    def stored(self) -> torch.dtype:
        """Networks that compute in halves give no more than halves hold."""
        return torch.float32 if self.dtype == torch.float32 else torch.float16

    @property
    def memory(self) -> int:
        return working_memory(self.network.sizes, self.size, self.settings, self.dtype, device=self.device)

    @cached_property
    def settings(self) -> Settings:
        wishes = self.wishes
        return Settings(wishes.steps or STEPS, wishes.guidance or GUIDANCE, max(1, wishes.reuse), wishes.solver)

    def crops(self, track: Track) -> Faces:
        return Faces(matrices(track, self.size, self.wishes.smoothing), self.size, track.size)

    def listen(self, recording: Recording, rate: Fraction) -> HeardWindows:
        return heard_at_frames(self.hear, LATENTSYNC, recording, rate, self.wishes)

    def speak(self, crops: Tensor, heard: Tensor, on_step: OnStep) -> Tensor:
        """What is kept of a face is that of the crop, to where the areas are softly joined."""
        pixels = (crops.to(self.device).contiguous(memory_format=torch.contiguous_format).float() / 255 - 0.5) / 0.5
        kept = mask(self.wishes.area or USUAL, self.size).to(self.device)
        given = self._given(pixels, kept)
        network = self.ready(self.network, self.memory)
        steps = self.settings.steps
        latents = denoise(
            network,
            shared_noise(self.wishes.seed, given.shape[-1]).to(self.device),
            given,
            heard.to(self.device, self.dtype),
            self.settings,
            lambda done, _, clean: on_step(done, steps, clean),
        )
        made = self._decoded(latents) * (1 - kept) + pixels * kept
        return made.to(self.stored)

    def _given(self, pixels: Tensor, kept: Tensor) -> Tensor:
        """What the network sees beside noise: (n, 9, height, width)."""
        masked, whole = (
            in_parts(self.vae.encode, some, self.size, self.device).to(self.dtype) for some in (pixels * kept, pixels)
        )
        area = in_latents(kept).to(self.dtype).expand(len(pixels), -1, -1, -1)
        return torch.cat([area, masked, whole], dim=1)

    def _decoded(self, latents: Tensor) -> Tensor:
        pictures = in_parts(self.vae.decode, latents, self.size, self.device).float()
        check_numbers(pictures, self.dtype)
        return pictures


def redubber(engine: Engine, most: int, wishes: Wishes) -> LatentSync:
    """most: frames at once, for which there is room; a window is never split."""
    if wishes.area and wishes.area not in AREAS:
        raise RedubError(f"LatentSync knows no area {wishes.area}; choose auto or one of {', '.join(AREAS)}.")
    _check_sound(engine.parts["whisper"].width, engine.network.sizes.sound)
    side = SIDES[engine.version or next(iter(SIDES))]
    return LatentSync(
        engine.network,
        engine.parts["vae"],
        hearing(engine, LATENTSYNC),
        side,
        engine.device,
        engine.dtype,
        wishes,
        engine.ready,
    )


def _check_sound(found: int, expected: int) -> None:
    if found != expected:
        raise RedubError(
            f"This LatentSync was trained with {_whisper(expected)}, but the speech encoder that was found is "
            f"{_whisper(found)}; put the right one into models/joyhallo, and the other elsewhere."
        )


def _whisper(width: int) -> str:
    return f"Whisper {WIDEST[width]}" if width in WIDEST else f"a Whisper {width} numbers wide"
