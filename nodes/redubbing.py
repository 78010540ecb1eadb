"""A run of a redub method: what each frame shows and hears, what it depends on, and where the lips go."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from ..joyhallo.diffusion.solvers import SOLVERS as METHODS_OF_SAMPLING
from ..joyhallo.faces.track import Track, gaps
from ..joyhallo.files.journal import Journal, key_of
from ..joyhallo.film.batches import most, read_need
from ..joyhallo.film.lengths import in_order
from ..joyhallo.methods.plan import Look, Plan, plan
from ..joyhallo.methods.redub import Redubbed, Wishes, chunk_count, redub
from ..joyhallo.methods.room import Memory
from ..joyhallo.sound.audio import Recording, Sound
from . import report
from .comfy_adapter import AUTO, RedubModel, arithmetic
from .places import journal_folder
from .placing import checked_track, fitting, mask_video
from .run import HELD, Job, OnStep
from .track_face import tracked
from .video import MadeWhenNeeded, Pictures

SMOOTHINGS = {"original": "original", "centred": "centred", "none": "none"}
AREAS = {AUTO: ""} | {area: area for area in ("mask", "mask2", "mask3", "mask4", "jaw", "raw", "neck", "box")}
SOLVERS = {solver: solver for solver in METHODS_OF_SAMPLING}
JOINTS = {"blocks": "blocks", "overlapped": "overlapped"}


@dataclass(frozen=True)
class Redubbing:
    model: RedubModel
    plan: Plan
    pictures: Pictures
    sound: Sound
    wishes: Wishes
    look: Look
    resume: bool

    @classmethod
    def planned(
        cls,
        model: RedubModel,
        pictures: Pictures,
        recording: Recording,
        sound: Sound,
        wishes: Wishes,
        look: Look,
        track: Track | None,
        mask: Tensor | None,
        resume: bool,
    ) -> Redubbing:
        """All that can go wrong before the network is needed goes wrong here."""
        method = model.redubber(most(pictures.size), wishes)
        painted_over = None if mask is None else fitting(mask, pictures.size)
        track = checked_track(track, pictures) if track is not None else tracked(pictures, painted_over).track
        planned = plan(method, track, recording, pictures.rate, look, painted_over)
        return cls(model, planned, pictures, sound, wishes, look, resume)

    # ---- the work

    def job(self) -> Job:
        return Job(
            chunks=self._chunks,
            placed=self.plan.placed,
            count=chunk_count(self.plan.method, self.plan.script),
            length=len(self.plan.script),
            rate=self.pictures.rate,
            sound=self.sound,
            size=self.pictures.size,
            moving=self.pictures.size,
            device=self.model.device,
            memory=Memory("Redubbing", self._memory, self._memory, "use a smaller video"),
            held=read_need(self.pictures.size, self.plan.method.at_once, self.model.device),
            journal=self.journal,
            marks=self.pictures.marks,
        )

    def _chunks(self, on_step: OnStep) -> Iterator[Redubbed]:
        self.model.ready(self.model.network, self._memory)
        return redub(
            self.plan.method,
            in_order(self.pictures.read, self.plan.script.places),
            self.plan.crops,
            self.plan.windows,
            self.plan.script,
            device=self.model.device,
            on_progress=on_step,
            kept=self.journal,
        )

    @property
    def _memory(self) -> int:
        """On the device that computes, beside the weights."""
        (width, height), method = self.pictures.size, self.plan.method
        whole = method.at_once * 3 * width * height
        spoken = method.at_once * 3 * method.size**2 * torch.float32.itemsize
        return whole + method.memory + HELD * (whole + spoken)

    @cached_property
    def journal(self) -> Journal | None:
        if not self.resume:
            return None
        size = self.plan.method.size
        shape = self.plan.method.at_once, 3, size, size
        return Journal(journal_folder(), self._key(), shape, self.plan.method.stored)

    def _key(self) -> str:
        """Of all that the crops depend on, which is not how they are blended: that can be tried out quickly."""
        track = self.plan.track
        return key_of(
            model=(self.model.fingerprint, self.model.method.name, self.model.precision, self.model.device.type),
            parts=[(word, part.fingerprint) for word, part in sorted(self.model.parts.items())],
            version=self.model.version,
            film=(self.pictures.key(), self.pictures.size, self.pictures.rate),
            track=[torch.from_numpy(part) for name, part in sorted(track.numbers().items()) if name != "scores"],
            scheme=(track.scheme, track.cuts),
            sound=(self.sound[0], self.sound[1]),
            script=[torch.from_numpy(part) for part in (self.plan.script.places, self.plan.script.spoken)],
            wishes=[(name, getattr(self.wishes, name)) for name in sorted(self.plan.method.known)],
            heard=(self.look.silence == "hold", self.look.level),
            torch=(torch.__version__, arithmetic()),
        )

    def shown_track(self) -> Track:
        """Where the face is in what is made."""
        return self.plan.track.along(self.plan.script.places)

    def mask_video(self) -> MadeWhenNeeded:
        return mask_video(self.pictures, self.plan.crops, self.plan.method.size, self.plan.script, self.plan.blend)

    # ---- what there is to say

    def used(self) -> str:
        lines = {
            "Versions": report.versions(),
            "Device": report.device(self.model.device),
            "Redub model": f"{self.model.name}, {self.model.title} of {self.plan.method.size} pixels, weights "
            f"{self.model.fingerprint[: report.SHORT]}, in {self.model.precision}",
            "With it": ", ".join(
                f"{word} {part.fingerprint[: report.SHORT]}" for word, part in sorted(self.model.parts.items())
            )
            or "nothing else",
            "Licence": self.model.method.licence,
            "Video": f"{report.sized(self.pictures.size)}, {float(self.pictures.rate):.6g} frames a second, "
            f"{len(self.plan.track)} frames used",
            "Face": self._face(),
            "Wishes": self._wishes(),
            "Not used": self._ignored(),
            "Labels": f"{report.labels()}; of the video: {self.pictures.marks}",
        }
        return report.listed(lines)

    def _face(self) -> str:
        boxes = self.plan.track.boxes[self.plan.track.found]
        width, height = np.median(boxes[:, 2:] - boxes[:, :2], axis=0)
        return f"{width:.0f}x{height:.0f} pixels, points: {self.plan.track.scheme}"

    def _wishes(self) -> str:
        wishes, look = self.wishes, self.look
        offset = f"offset {wishes.sync_offset:g} ms, strength {wishes.strength:g}, smoothing {wishes.smoothing}"
        tail = "tail covered" if wishes.cover_tail else "tail as in the original"
        level = ", loudness levelled" if look.level else ""
        return f"{look.short} or {look.long}, {offset}, blend {look.blend}, silence {look.silence}, {tail}{level}"

    def _ignored(self) -> str:
        names = self.wishes.ignored(self.plan.method.known)
        return f"{', '.join(names)}, which {self.model.method.name} does not know" if names else "nothing"

    def found(self) -> list[str]:
        """Frames that come through as they were."""
        return report.faceless(gaps(self.plan.crops.usable), self.pictures.rate)
