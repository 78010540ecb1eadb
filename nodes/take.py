"""A run of JoyHallo: what its chunks are made of, what they depend on, and where they go in the picture."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cache, cached_property
from typing import Any

import torch
from torch import Tensor

from ..joyhallo.config import FPS
from ..joyhallo.diffusion.codec import LATENT_SCALE
from ..joyhallo.diffusion.schedule import Schedule
from ..joyhallo.faces.boxes import Box
from ..joyhallo.faces.crops import paste
from ..joyhallo.files.fingerprint import of_module
from ..joyhallo.files.journal import Journal, key_of
from ..joyhallo.film.marks import Marks
from ..joyhallo.film.read import Reel
from ..joyhallo.film.write import frame_rate
from ..joyhallo.methods.hallo.memory import working_memory
from ..joyhallo.methods.hallo.portrait import Prepared
from ..joyhallo.methods.hallo.sampling import Chunk, Settings, animate, chunk_starts
from ..joyhallo.methods.hallo.steadiness import DriftMeter, Steadiness, face_outside_lips, outside_lips
from ..joyhallo.sound.wav2vec2 import Speech
from .autoencoder import ComfyCodec
from .comfy_adapter import JoyHalloModel, arithmetic
from .places import journal_folder
from .preview import Preview
from .run import HELD, Job, Made, Memory, OnStep, make
from .video import Footage, marks_of, reel_of

PASTED = 4 << 20  # pixels of whole pictures that are made at a time
PASTING = 72  # bytes for each of these: a fifth more than was counted


@dataclass(frozen=True)
class Take:
    model: JoyHalloModel
    vae: Any
    face: Prepared
    speech: Speech
    settings: Settings
    steadiness: Steadiness
    whole: bool  # the square is put back into the picture
    background: Any = None  # a VIDEO that shows the same picture, to put the square into instead
    resume: bool = True

    def shoot(self, preview: Preview) -> tuple[Made, DriftMeter]:
        """The video, and how far it drifted."""
        if self.background is not None:
            self._check_background(self.background)
        portrait = self.face.portrait
        meter = DriftMeter(outside_lips(portrait), face_outside_lips(portrait))
        return make(self.job(meter), preview), meter

    def job(self, meter: DriftMeter) -> Job:
        crop = self.face.crop

        @cache
        def backdrop() -> Reel | None:
            """Opened when the first frames are placed, after all checks."""
            return None if self.background is None else reel_of(self.background, FPS)

        return Job(
            chunks=self._chunks,
            placed=lambda chunk: self._placed(chunk, meter, backdrop),
            count=len(self.starts),
            length=self.speech.length,
            rate=FPS,
            sound=self.speech.sound,
            size=crop.picture if self.whole else crop.size,
            moving=crop.seen if self.whole else crop.size,
            device=self.model.device,
            memory=Memory(
                f"Denoising at {crop.size[0]}x{crop.size[0]}",
                planned=self._memory(self.settings),
                least=self._memory(replace(self.settings, rows_together=False)),
                remedy="choose a smaller size",
            ),
            held=self._held,
            journal=self.journal,
            marks=self.marks,
        )

    # ---- beforehand

    @cached_property
    def marks(self) -> Marks:
        return Marks() if self.background is None else marks_of(self.background)

    def _memory(self, settings: Settings) -> int:
        size, dtype = self.face.crop.size[0], self.model.precision.compute
        return max(working_memory(self.model.config.net, settings, size, dtype).values())

    @property
    def _held(self) -> int:
        (width, height), (columns, rows) = self.face.crop.picture, self.face.crop.size
        chunk = self.settings.chunk_frames * 3 * columns * rows * torch.float32.itemsize
        return HELD * chunk + (PASTING * max(PASTED, width * height) if self.whole else 0)

    def _check_background(self, video: Any) -> None:
        if not self.whole:
            raise ValueError(
                "A background is connected, but `picture` is square, which hides it; choose the whole picture, or "
                "disconnect the background."
            )
        footage, expected = Footage.of(video), self.face.crop.picture
        frame_rate(footage.rate)  # raises unless it is one
        found = footage.size
        if found != expected:
            raise ValueError(
                f"The background is {found[0]}x{found[1]} pixels, but the picture is {expected[0]}x{expected[1]}; "
                "connect a video that was made from the same picture."
            )

    @cached_property
    def starts(self) -> range:
        return chunk_starts(self.speech.length, self.settings)

    @cached_property
    def journal(self) -> Journal | None:
        if not self.resume:
            return None
        width, height = (side // LATENT_SCALE for side in self.face.crop.size)
        shape = self.settings.chunk_frames, self.model.config.net.latent_channels, height, width
        return Journal(journal_folder(), self._key(), shape)

    def _key(self) -> str:
        """Of all that the latents depend on."""
        portrait, settings = self.face.portrait, replace(self.settings, weights=())
        return key_of(
            model=(self.model.fingerprint, self.model.config, self.model.precision, self.model.device.type),
            vae=(of_module(self.vae.first_stage_model), self.vae.vae_dtype),
            portrait=(portrait.picture, portrait.identity, portrait.locator, list(portrait.masks)),
            speech=self.speech.key,
            settings=settings,
            weights=torch.as_tensor(self.settings.weights, dtype=torch.float32),
            steadiness=self.steadiness,
            torch=(torch.__version__, arithmetic()),  # else a clip would be begun by one and finished by another
        )

    # ---- the work itself

    def _chunks(self, on_step: OnStep) -> Iterator[Chunk]:
        return animate(
            self.model.net,
            ComfyCodec(self.vae, self.model.config),
            Schedule(self.model.config.schedule),
            self.face.portrait,
            self.speech,
            self.settings,
            length=self.speech.length,
            device=self.model.device,
            dtype=self.model.precision.compute,
            ready=self.model.loader(self.settings, self.face.crop.size[0]),
            on_step=on_step,
            steady=self.steadiness.steady(self.face.portrait),
            anchors=self.steadiness.anchors(self.speech.levels, self.starts),
            kept=self.journal,
        )

    def _placed(self, chunk: Chunk, meter: DriftMeter, backdrop: Callable[[], Reel | None]) -> Iterator[Tensor]:
        """(n, height, width, 3)"""
        meter(chunk.frames)
        if not self.whole:
            yield chunk.frames.movedim(1, -1)
            return
        width, height = self.face.crop.picture
        for frames in chunk.frames.split(max(1, PASTED // (width * height))):
            yield self._pasted(frames, backdrop()).movedim(1, -1)

    def _pasted(self, frames: Tensor, backdrop: Reel | None) -> Tensor:
        if backdrop is None:
            return paste(frames, self.face.picture, self.face.crop)
        onto = backdrop.take(len(frames)).movedim(-1, 1).to(frames)
        own = None if self.face.face is None else self.face.face.box
        return paste(frames, self.face.picture, self.face.crop, onto=onto, clear_of=self._others, face=own)

    @cached_property
    def _others(self) -> list[Box]:
        """Faces that are somebody else's."""
        found = self.face.found
        return [] if found is None else [box for number, box in enumerate(found.boxes) if number != found.number]
