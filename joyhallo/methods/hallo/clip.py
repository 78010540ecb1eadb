"""A talking portrait from its parts: how its chunks are made, what they depend on, and where they go in the picture."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor, nn

from ...diffusion.codec import LATENT_SCALE
from ...diffusion.networks.blocks import Runner, at_once
from ...diffusion.schedule import Schedule
from ...faces.boxes import Box, Size
from ...faces.crops import paste
from ...files.journal import Journal, key_of
from ...film.read import Reel
from ...sound.wav2vec2 import Speech
from ..chunks import Kept, Progress
from ..room import Memory
from .config import ModelConfig, NetConfig
from .memory import working_memory
from .networks.net import Net
from .portrait import Prepared
from .sampling import Chunk, Codec, Settings, animate, as_it_is, chunk_starts
from .steadiness import DriftMeter, Steadiness, face_outside_lips, outside_lips

PASTED = 4 << 20  # pixels of whole pictures that are made at a time
PASTING = 72  # bytes for each of these: a fifth more than was counted


@dataclass(frozen=True)
class Engine:
    """The networks that make a clip, and how they compute."""

    net: Net
    config: ModelConfig
    codec: Codec
    device: torch.device
    dtype: torch.dtype  # of what is computed
    ready: Callable[[nn.Module], nn.Module] = as_it_is  # called with each network before it runs
    run: Runner = at_once  # called with each part of the denoiser


@dataclass(frozen=True)
class Clip:
    face: Prepared  # at the size of the frames
    speech: Speech
    settings: Settings
    steadiness: Steadiness
    whole: bool  # the square is put back into the picture

    @property
    def size(self) -> Size:
        return self.face.crop.picture if self.whole else self.face.crop.size

    @cached_property
    def starts(self) -> range:
        return chunk_starts(self.speech.length, self.settings)

    @property
    def moving(self) -> Size:
        """Of the part of the pictures that changes."""
        return self.face.crop.seen if self.whole else self.face.crop.size

    # ---- the room that it takes

    def memory(self, net: NetConfig, dtype: torch.dtype) -> Memory:
        size = self.face.crop.size[0]
        planned, least = (
            max(working_memory(net, settings, size, dtype).values())
            for settings in (self.settings, replace(self.settings, rows_together=False))
        )
        return Memory(f"Denoising at {size}x{size}", planned, least, "choose a smaller size")

    def held(self, chunks: int) -> int:
        """Bytes in which so many finished chunks wait, and one is placed."""
        (width, height), (columns, rows) = self.face.crop.picture, self.face.crop.size
        chunk = self.settings.chunk_frames * 3 * columns * rows * torch.float32.itemsize
        return chunks * chunk + (PASTING * max(PASTED, width * height) if self.whole else 0)

    # ---- making it

    def meter(self) -> DriftMeter:
        return DriftMeter(outside_lips(self.face.portrait), face_outside_lips(self.face.portrait))

    def chunks(
        self,
        engine: Engine,
        on_step: Callable[[Progress], None] | None = None,
        kept: Kept | None = None,
    ) -> Iterator[Chunk]:
        """See `animate`."""
        return animate(
            engine.net,
            engine.codec,
            Schedule(engine.config.schedule),
            self.face.portrait,
            self.speech,
            self.settings,
            length=self.speech.length,
            device=engine.device,
            dtype=engine.dtype,
            ready=engine.ready,
            run=engine.run,
            on_step=on_step,
            steady=self.steadiness.steady(self.face.portrait),
            anchors=self.steadiness.anchors(self.speech.levels, self.starts),
            kept=kept,
        )

    # ---- resuming it

    def journal(self, folder: Path, channels: int, depends: Mapping[str, object]) -> Journal:
        """channels: of the latents; depends: on what of the engine they depend, to the last digit"""
        width, height = (side // LATENT_SCALE for side in self.face.crop.size)
        return Journal(folder, self._key(depends), (self.settings.chunk_frames, channels, height, width))

    def _key(self, depends: Mapping[str, object]) -> str:
        portrait = self.face.portrait
        return key_of(
            **depends,
            portrait=(portrait.picture, portrait.identity, portrait.locator, list(portrait.masks)),
            speech=self.speech.key,
            settings=replace(self.settings, weights=()),
            weights=torch.as_tensor(self.settings.weights, dtype=torch.float32),
            steadiness=self.steadiness,
        )

    # ---- placing it

    def placed(self, chunk: Chunk, meter: DriftMeter, behind: Reel | None = None) -> Iterator[Tensor]:
        """A chunk's frames as they are shown, (n, height, width, 3), some at a time.

        meter: sees them, too; behind: a film of the same picture, to put the square into instead of the picture itself
        """
        meter(chunk.frames)
        if not self.whole:
            yield chunk.frames.movedim(1, -1)
            return
        width, height = self.face.crop.picture
        for frames in chunk.frames.split(max(1, PASTED // (width * height))):
            yield self._pasted(frames, behind).movedim(1, -1)

    def _pasted(self, frames: Tensor, behind: Reel | None) -> Tensor:
        if behind is None:
            return paste(frames, self.face.picture, self.face.crop)
        onto = behind.take(len(frames)).movedim(-1, 1).to(frames)
        own = None if self.face.face is None else self.face.face.box
        return paste(frames, self.face.picture, self.face.crop, onto=onto, clear_of=self._others, face=own)

    @cached_property
    def _others(self) -> list[Box]:
        """Faces that are somebody else's."""
        found = self.face.found
        return [] if found is None else [box for number, box in enumerate(found.boxes) if number != found.number]
