"""Before a job: the files that its models are in, found on the shelf or fetched."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..methods import method_of
from .jobs import Job, Progress
from .places import checked_input
from .shelf import FACES, LANDMARKER, PARTS, Shelf

NAMES = {"landmarker": "face landmarker", "vae": "VAE", "whisper": "speech encoder", "hubert": "speech encoder",
         "parser": "face parser", "face_models": "face models"}  # fmt: skip


def provided(job: Job, shelf: Shelf, fetch: bool, progress: Progress) -> Job:
    """The same job with all of its files. A MissingError names what a redub lacks, or fetches it if that is wished."""
    options = dict(job.options)
    check_given(options)
    options |= finders(options, shelf, fetch, progress)
    if job.kind != "redub":
        return replace(job, options=options)
    given = {word: options[word] for word in PARTS}
    if fetch:
        shelf.fetch(shelf.wanted(job.inputs["model"], given), progress)
    model = shelf.model(job.inputs["model"])
    options |= shelf.parts(method_of(model, "redub"), given)
    return replace(job, inputs={**job.inputs, "model": model}, options=options)


def finders(options: Mapping[str, Any], shelf: Shelf, fetch: bool, progress: Progress) -> dict[str, Path | None]:
    """What faces are searched for with, where they are; whoever needs them says so if they are not."""
    by_hand = any(options.get(name) is not None for name in ("lip_mask", "box", "mask"))
    insightface = options.get("detector") == "InsightFace"
    if fetch and not by_hand and insightface and options["face_models"] is None:
        shelf.fetch([FACES], progress)
    if fetch and not by_hand and not insightface and options["landmarker"] is None:
        shelf.fetch([LANDMARKER], progress)
    found: dict[str, Path | None] = {"landmarker": options["landmarker"] or shelf.landmarker()}
    if "face_models" in options:
        found["face_models"] = options["face_models"] or (shelf.path(FACES) if insightface else None)
    return found


def check_given(options: Mapping[str, Any]) -> None:
    """Files that are named are there."""
    for name, value in options.items():
        if isinstance(value, Path) and not (value.is_dir() and name in ("vae", "face_models")):
            checked_input(value, NAMES.get(name, name.replace("_", " ")))
