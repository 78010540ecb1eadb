"""A video, or a picture, gets the lips of another recording. Memory does not grow with its length."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from ..faces.boxes import Size
from ..faces.find import FaceError
from ..faces.regions import Mask
from ..faces.track import gaps
from ..film.ahead import read_ahead
from ..film.lengths import in_order
from ..methods.plan import BLENDS, LONG, SHORT, SILENCES, Look, Plan, plan
from ..methods.redub import Wishes, redub
from ..sound.audio import prepare
from .engines import RedubModel, load_redub_model
from .faces import tracked
from .jobs import Job, Made, Progress
from .media import Source, as_tensor, film, mask_of, sound_of
from .options import REDUB, by_name
from .shelf import PARTS

TOGETHER = 48 << 20  # pixels of whole pictures that are worked on at a time
WAITING = 16 << 20  # pixels of whole pictures that are read ahead


def make(job: Job, progress: Progress) -> Made:
    options = job.options
    source, sound = Source.of(job.inputs["video"]), sound_of(job.inputs["sound"])
    mask = None if options["mask"] is None else _fitting(mask_of(options["mask"], "mask"), source.size)
    recording = prepare(*sound)
    model = _model(job)
    width, height = source.size
    method = model.redubber(max(1, TOGETHER // (width * height)), wishes_of(options))
    found = tracked(source, options, mask, progress)
    with torch.inference_mode():
        planned = plan(
            method, found.track, recording, source.rate, _look(options), None if mask is None else as_tensor(mask)
        )
    count = len(planned.script)
    done = film(job, _frames(planned, source, model), count, source.rate, sound, source.marks, progress)
    usual = by_name(REDUB)
    ignored = [
        name
        for name in wishes_of(options).ignored(method.known)
        if name not in usual or options[name] != usual[name].default
    ]
    notices = tuple(map(str, recording.notices))
    facts = {
        "model": f"{model.title}, {method.size} pixels",
        "licence": model.method.licence,
        "not_used": ", ".join(ignored),
        "face": list(found.report),
        "without_a_face": [[gap.start, gap.stop] for gap in gaps(planned.crops.usable)],
        "size": [width, height],
        "rate": float(source.rate),
        "seed": options["seed"],
        "labels": str(done.marks),
    }
    return Made(done.file, count, float(count / source.rate), done.took, facts, notices)


def _model(job: Job) -> RedubModel:
    parts = {word: job.options[word] for word in PARTS if job.options[word] is not None}
    version = job.options["version"]
    return load_redub_model(job.inputs["model"], parts, job.compute, "" if version == "auto" else version)


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


def _frames(planned: Plan, source: Source, model: RedubModel) -> Iterator[Tensor]:
    script, (width, height) = planned.script, source.size
    shown = read_ahead(in_order(source.read, script.places), max(2, WAITING // (width * height)))
    chunks = redub(planned.method, shown, planned.crops, planned.windows, script, device=model.device)
    for chunk in chunks:
        yield from planned.placed(chunk)


def _fitting(mask: Mask, size: Size) -> Mask:
    found = mask.shape[1], mask.shape[0]
    if found != size:
        raise FaceError(
            f"The mask has {found[0]}x{found[1]} pixels, but the video {size[0]}x{size[1]}; paint it over a picture of "
            "this video."
        )
    return mask
