"""One run of the sampler: room looked for, chunks kept as they are finished, frames into a file as they come."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import comfy.model_management
import folder_paths
import torch
from torch import Tensor

from ..joyhallo.config import FPS, LATENT_SCALE
from ..joyhallo.diffusion.schedule import Schedule
from ..joyhallo.faces.boxes import Box
from ..joyhallo.faces.crops import paste
from ..joyhallo.files.download import amount
from ..joyhallo.files.fingerprint import of_module
from ..joyhallo.files.journal import Journal, key_of, tidy
from ..joyhallo.files.space import Need, check_disks, check_memory, free
from ..joyhallo.film.read import Reel
from ..joyhallo.film.write import COPY, write
from ..joyhallo.methods.hallo.memory import working_memory
from ..joyhallo.methods.hallo.portrait import Prepared
from ..joyhallo.methods.hallo.sampling import Chunk, Settings, animate, chunk_starts
from ..joyhallo.methods.hallo.steadiness import DriftMeter, Steadiness, face_outside_lips, outside_lips
from ..joyhallo.sound.wav2vec2 import Speech
from .autoencoder import ComfyCodec
from .comfy_adapter import JoyHalloModel
from .preview import Preview, lasting, temporary_folder
from .video import WorkingCopy, reel_of, size_of

PASTED = 4 << 20  # pixels of whole pictures that are made at a time
COMPRESSED = 0.6  # of the bytes of what moves, at most: 0.4 were measured with noise in it


@dataclass(frozen=True)
class Made:
    video: WorkingCopy
    plan: str
    seconds: float
    drift: DriftMeter

    def pace(self) -> str:
        each = self.seconds / (self.video.count / FPS)
        return f"Made in {lasting(self.seconds)}, {each:.2g} s for a second of video."

    def report(self) -> str:
        return "\n".join([self.plan, self.pace(), self.drift.summary()])


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

    def shoot(self, preview: Preview) -> Made:
        """When this returns the frames are in a file, and nowhere else."""
        self.check()
        if self.journal is not None:
            tidy(self.journal.path.parent, spare=self.journal.path)
        begun, plan, portrait = time.monotonic(), self.plan(), self.face.portrait
        preview.tell(plan)
        meter = DriftMeter(outside_lips(portrait), face_outside_lips(portrait))
        path = temporary_folder() / f"JoyHallo_{uuid.uuid4().hex}.mkv"
        write(path, self._batches(preview, meter), FPS, self.speech.sound, COPY)
        made = Made(WorkingCopy(path, self.speech.length), plan, time.monotonic() - begun, meter)
        preview.tell(made.pace())
        return made

    # ---- beforehand

    def check(self) -> None:
        """Raise a ValueError for what would come to nothing, before time is spent on it."""
        if self.background is not None:
            self._check_background(self.background)
        size, needed = self.face.frame.size[0], self._memory(replace(self.settings, rows_together=False))
        there = comfy.model_management.get_total_memory(self.model.device)
        check_memory(f"Denoising at {size}x{size}", needed, there, "choose a smaller size")
        check_disks(self.needs())

    def _memory(self, settings: Settings) -> int:
        """Bytes, beside the weights, on the device that computes."""
        size, dtype = self.face.frame.size[0], self.model.precision.compute
        return max(working_memory(self.model.config.net, settings, size, dtype).values())

    def _check_background(self, video: Any) -> None:
        if not self.whole:
            raise ValueError(
                "A background is connected, but the square alone is asked for, which shows nothing of it; choose the "
                "whole picture, or disconnect the background."
            )
        found, expected = size_of(video), self.face.frame.picture
        if found != expected:
            raise ValueError(
                f"The background is {found[0]}x{found[1]} pixels, but the picture is {expected[0]}x{expected[1]}; "
                "connect a video that was made from the same picture."
            )

    def plan(self) -> str:
        known = min(self.chunks, 0 if self.journal is None else len(self.journal))
        earlier = f", {known} of them finished earlier" if known else ""
        disk, memory = sum(need.size for need in self.needs()), self._memory(self.settings)
        there = comfy.model_management.get_total_memory(self.model.device)
        return (
            f"{self.speech.length} frames in {_counted(self.chunks, 'chunk')}{earlier}; up to {amount(disk)} on disk, "
            f"where {amount(free(temporary_folder()))} are free; {amount(memory)} of memory beside the weights, of "
            f"{amount(there)}."
        )

    def needs(self) -> list[Need]:
        """Of disks."""
        width, height = self.face.frame.seen if self.whole else self.face.frame.size
        still = 3 * self.face.picture.shape[0] * self.face.picture.shape[1]
        moving = int(COMPRESSED * self.speech.length * 3 * width * height)
        copy = Need("the frames", temporary_folder(), still + moving)
        if self.journal is None:
            return [copy]
        missing = self.chunks - min(self.chunks, len(self.journal))
        return [copy, Need("finished chunks", self.journal.path.parent, missing * self.journal.record)]

    @cached_property
    def starts(self) -> range:
        return chunk_starts(self.speech.length, self.settings)

    @property
    def chunks(self) -> int:
        return len(self.starts)

    @cached_property
    def journal(self) -> Journal | None:
        if not self.resume:
            return None
        width, height = (side // LATENT_SCALE for side in self.face.frame.size)
        shape = self.settings.clip_frames, self.model.config.net.latent_channels, height, width
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
            torch=torch.__version__,
        )

    # ---- the work itself

    def _batches(self, preview: Preview, meter: DriftMeter) -> Iterator[Tensor]:
        """(n, height, width, 3)"""
        backdrop = None if self.background is None else reel_of(self.background, FPS)
        for chunk in self._chunks(preview):
            comfy.model_management.throw_exception_if_processing_interrupted()
            meter(chunk.frames)
            preview.after_chunk(chunk)
            if not self.whole:
                yield chunk.frames.movedim(1, -1)
                continue
            for frames in chunk.frames.split(self._at_once):
                yield self._pasted(frames, backdrop).movedim(1, -1)

    def _chunks(self, preview: Preview) -> Iterator[Chunk]:
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
            ready=self.model.loader(self.settings, self.face.frame.size[0]),
            on_step=preview.after_step,
            steady=self.steadiness.steady(self.face.portrait),
            anchors=self.steadiness.anchors(self.speech.levels, self.starts),
            kept=self.journal,
        )

    @property
    def _at_once(self) -> int:
        width, height = self.face.frame.picture
        return max(1, PASTED // (width * height))

    def _pasted(self, frames: Tensor, backdrop: Reel | None) -> Tensor:
        if backdrop is None:
            return paste(frames, self.face.picture, self.face.frame)
        onto = backdrop.take(len(frames)).movedim(-1, 1).to(frames)
        own = None if self.face.face is None else self.face.face.box
        return paste(frames, self.face.picture, self.face.frame, onto=onto, clear_of=self._others, face=own)

    @cached_property
    def _others(self) -> list[Box]:
        """Faces that are somebody else's."""
        found = self.face.found
        return [] if found is None else [box for number, box in enumerate(found.boxes) if number != found.number]


def journal_folder() -> Path:
    """Beside ComfyUI's own users, where nobody is served files from."""
    return Path(folder_paths.get_system_user_directory("joyhallo"), "journal")


def _counted(count: int, thing: str) -> str:
    return f"{count} {thing}{'' if count == 1 else 's'}"
