"""`Redubbing`: a redub that is planned, in whichever process makes it, or some chunks of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..faces.boxes import Size
from ..faces.find import FaceError
from ..faces.regions import Mask
from ..faces.track import Track
from ..film.batches import most
from ..film.lengths import in_order
from ..methods.chunks import Kept
from ..methods.plan import BLENDS, LONG, SHORT, SILENCES, Look, Plan, plan
from ..methods.redub import Redubbed, Redubber, Wishes, chunk_count, redub
from ..sound.audio import Recording
from .engines import RedubModel, load_redub_model
from .jobs import Job
from .media import Source, as_tensor, mask_of
from .shelf import PARTS


@dataclass(frozen=True)
class Setting:
    """What is known before the face is."""

    job: Job
    source: Source
    mask: Mask | None  # where alone something may change, if that was painted
    model: RedubModel
    method: Redubber

    @classmethod
    def of(cls, job: Job) -> Setting:
        source = Source.of(job.inputs["video"])
        mask, model = _painted(job, source.size), _loaded(job)
        return cls(job, source, mask, model, model.redubber(most(source.size), wishes_of(job.options)))

    def planned(self, track: Track, recording: Recording) -> Redubbing:
        mask, rate = None if self.mask is None else as_tensor(self.mask), self.source.rate
        with torch.inference_mode():
            made = plan(self.method, track, recording, rate, _look(self.job.options), mask)
        return Redubbing(self.source, self.model, made)


@dataclass(frozen=True)
class Redubbing:
    source: Source
    model: RedubModel
    plan: Plan

    @property
    def count(self) -> int:
        return chunk_count(self.plan.method, self.plan.script)

    def speaks(self, index: int) -> bool:
        """Whether something is made in a chunk."""
        together = self.plan.method.at_once
        return bool(self.plan.script.amounts[index * together :][:together].any())

    def chunks(self, kept: Kept | None, some: range | None = None) -> Iterator[Redubbed]:
        """All, or some; those that are kept need no network."""
        method, where = self.plan.method, self.plan.script.places
        if some is not None:
            where = where[some.start * method.at_once : some.stop * method.at_once]
        shown = in_order(self.source.read, where)
        crops, windows, script = self.plan.crops, self.plan.windows, self.plan.script
        return redub(method, shown, crops, windows, script, device=self.model.device, kept=kept, some=some)

    def pictures(self, kept: Kept | None) -> Iterator[Tensor]:
        for chunk in self.chunks(kept):
            yield from self.plan.placed(chunk)


def _loaded(job: Job) -> RedubModel:
    parts = {word: job.options[word] for word in PARTS if job.options[word] is not None}
    version = job.options["version"]
    return load_redub_model(job.inputs["model"], parts, job.compute, "" if version == "auto" else version)


def _painted(job: Job, size: Size) -> Mask | None:
    path = job.options["mask"]
    return None if path is None else _fitting(mask_of(path, "mask"), size)


def wishes_of(options: Mapping[str, Any]) -> Wishes:
    sides = ("top", "bottom", "left", "right")
    same = (
        "seed",
        "steps",
        "guidance",
        "strength",
        "sync_offset",
        "cover_tail",
        "smoothing",
        "shift",
        "reuse",
        "solver",
    )
    return Wishes(
        **{name: options[name] for name in same},
        pads=tuple(options[f"pad_{side}"] for side in sides),  # pyright: ignore[reportArgumentType]
        area="" if options["area"] == "auto" else options["area"],
        joints=options["long_sound"],
    )


def _look(options: Mapping[str, Any]) -> Look:
    return Look(
        SHORT[options["when_video_is_short"]],
        LONG[options["when_video_is_long"]],
        BLENDS[options["blend"]],
        SILENCES[options["silence"]],
        options["level_loudness"],
    )


def _fitting(mask: Mask, size: Size) -> Mask:
    found = mask.shape[1], mask.shape[0]
    if found != size:
        raise FaceError(
            f"The mask has {found[0]}x{found[1]} pixels, but the video {size[0]}x{size[1]}; paint it over a picture of "
            "this video."
        )
    return mask
