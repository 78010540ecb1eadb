"""A run of JoyHallo in ComfyUI: its clip, its networks, and the film that shows what is behind it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any

import torch

from ..joyhallo.config import FPS
from ..joyhallo.files.fingerprint import of_module
from ..joyhallo.files.journal import Journal
from ..joyhallo.film.marks import Marks
from ..joyhallo.film.read import Reel
from ..joyhallo.film.write import frame_rate
from ..joyhallo.methods.hallo.clip import Clip, Engine
from ..joyhallo.methods.hallo.portrait import Prepared
from ..joyhallo.methods.hallo.sampling import Settings
from ..joyhallo.methods.hallo.steadiness import DriftMeter, Steadiness
from ..joyhallo.sound.wav2vec2 import Speech
from .autoencoder import ComfyCodec
from .comfy_adapter import JoyHalloModel, arithmetic
from .places import journal_folder
from .preview import Preview
from .run import HELD, Job, Made, make
from .video import Footage, marks_of, reel_of


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

    @cached_property
    def clip(self) -> Clip:
        return Clip(self.face, self.speech, self.settings, self.steadiness, self.whole)

    def shoot(self, preview: Preview) -> tuple[Made, DriftMeter]:
        """The video, and how far it drifted."""
        if self.background is not None:
            self._check_background(self.background)
        meter = self.clip.meter()
        return make(self.job(meter), preview), meter

    def job(self, meter: DriftMeter) -> Job:
        @cache
        def backdrop() -> Reel | None:
            """Opened when the first frames are placed, after all checks."""
            return None if self.background is None else reel_of(self.background, FPS)

        return Job(
            chunks=lambda on_step: self.clip.chunks(self._engine, on_step, self.journal),
            placed=lambda chunk: self.clip.placed(chunk, meter, backdrop()),
            count=len(self.clip.starts),
            length=self.speech.length,
            rate=FPS,
            sound=self.speech.sound,
            size=self.clip.size,
            moving=self.clip.moving,
            device=self.model.device,
            memory=self.clip.memory(self.model.config.net, self.model.precision.compute),
            held=self.clip.held(HELD),
            journal=self.journal,
            marks=self.marks,
        )

    # ---- beforehand

    @cached_property
    def marks(self) -> Marks:
        return Marks() if self.background is None else marks_of(self.background)

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

    # ---- the networks

    @cached_property
    def _engine(self) -> Engine:
        return Engine(
            self.model.net,
            self.model.config,
            ComfyCodec(self.vae, self.model.config),
            self.model.device,
            self.model.precision.compute,
            self.model.loader(self.settings, self.face.crop.size[0]),
            self.model.run,
        )

    @cached_property
    def journal(self) -> Journal | None:
        if not self.resume:
            return None
        depends = {
            "model": (self.model.fingerprint, self.model.config, self.model.precision, self.model.device.type),
            "vae": (of_module(self.vae.first_stage_model), self.vae.vae_dtype),
            "torch": (torch.__version__, arithmetic()),  # else one begins a clip that another finishes
        }
        if self.model.compiled is not None:
            depends["compiled"] = self.model.compiled.backend  # it rounds otherwise
        return self.clip.journal(journal_folder(), self.model.config.net.latent_channels, depends)
