"""Before a job: the files that its models are in, found on the shelf or fetched."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..methods import method_of
from ..methods.published import OF_PORTRAIT
from .jobs import Job, Progress
from .places import checked_input
from .shelf import (
    FACES,
    LANDMARKER,
    OWN_PARTS,
    PARTS,
    SEPARATOR,
    MissingError,
    Shelf,
    described,
    method_named,
    own_parts,
    parts_of,
)

NAMES = {"landmarker": "face landmarker", "vae": "VAE", "whisper": "speech encoder", "hubert": "speech encoder",
         "parser": "face parser", "face_models": "face models", "audio_encoder": "speech encoder"}  # fmt: skip
FOLDERS = ("vae", "face_models", "audio_encoder")  # which may be one


def provided(job: Job, shelf: Shelf, fetch: bool, progress: Progress) -> Job:
    """The same job with all of its files. A MissingError names what it lacks and nobody fetches."""
    options = dict(job.options)
    check_given(options)
    if options.get("model") is not None:
        return replace(job, options=options | portrait(options, shelf, fetch, progress))
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


def portrait(options: Mapping[str, Any], shelf: Shelf, fetch: bool, progress: Progress) -> dict[str, Path | None]:
    """What JoyHallo or Hallo works with, by option: given, lying beside a small model, on the shelf, or fetched."""
    name = options["model"].as_posix()
    absent = not options["model"].is_file() and name in OF_PORTRAIT and shelf.path(name) is None
    model = None if absent else shelf.model(options["model"], "portrait")
    method = method_named(OF_PORTRAIT[name]) if model is None else method_of(model, "portrait")
    assert method is not None
    has = {} if model is None else {"model": model, **own_parts(model)}
    has |= {word: options[word] for word in (*OWN_PARTS, "face_models", "separator") if options[word] is not None}
    needs = {"model": name, **parts_of(method)}
    needs |= {"face_models": FACES} if options["identity"] != "neutral" else {}
    needs |= {"separator": SEPARATOR} if options["separate_vocals"] == "on" else {}
    needs = {word: published for word, published in needs.items() if word not in has}
    if fetch:
        shelf.fetch(needs.values(), progress)
    found = {word: shelf.path(published) for word, published in needs.items()}
    if lacking := [needs[word] for word, path in found.items() if path is None]:
        raise MissingError(_lacking(method.name, lacking, shelf))
    if options["separate_vocals"] == "auto" and "separator" not in has:
        found["separator"] = shelf.path(SEPARATOR)
    masked = options["lip_mask"] is not None and options["face_mask"] is not None
    return {**has, **found, "landmarker": options["landmarker"] or _landmarker(shelf, fetch and not masked, progress)}


def _landmarker(shelf: Shelf, fetch: bool, progress: Progress) -> Path | None:
    """Whoever needs it says so if it is missing: a picture whose face is known does without."""
    if fetch:
        shelf.fetch([LANDMARKER], progress)
    return shelf.landmarker()


def _lacking(method: str, names: Sequence[str], shelf: Shelf) -> str:
    lines = "\n".join(f"- {described(name)}" for name in names)
    neutral = "; --identity neutral does without InsightFace's models" if FACES in names else ""
    return (
        f"{method} needs what is not in {shelf.folder}:\n{lines}\nFetch it with --fetch, or give what you have with "
        f"--model, --vae, --audio-encoder, --face-models{neutral}."
    )


def check_given(options: Mapping[str, Any]) -> None:
    """Files that are named are there."""
    for name, value in options.items():
        if isinstance(value, Path) and name != "model" and not (value.is_dir() and name in FOLDERS):
            checked_input(value, NAMES.get(name, name.replace("_", " ")))
