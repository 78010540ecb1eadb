"""The command models: what is there and what is missing, and fetching it."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Any

from ..files.contents import WeightsError
from ..files.space import amount
from ..methods import METHODS, method_of
from ..methods.published import OF_REDUB, PUBLISHED
from .shelf import FACES, LANDMARKER, PARTS, Shelf
from .terminal import Terminal

ENDINGS = (".pth", ".pt", ".bin", ".safetensors")
SHORT_NAMES = {"face_landmarker": LANDMARKER, "insightface": FACES, **PARTS}
PURPOSES = {
    LANDMARKER: "finds faces: talk, redub, track",
    FACES: "finds faces and tells people apart",
    PARTS["vae"]: "for MuseTalk, LatentSync, JoyHallo",
    PARTS["whisper"]: "hears for MuseTalk, LatentSync",
    PARTS["hubert"]: "hears for Ultralight",
    PARTS["parser"]: "for MuseTalk, optional",
    "audio_separator/Kim_Vocal_2.onnx": "parts voice and music, for JoyHallo",
    "chinese-wav2vec2-base": "hears for JoyHallo",
    "wav2vec/wav2vec2-base-960h": "hears for Hallo",
    "joyhallo/net.pth": "JoyHallo, in ComfyUI and Python",
    "hallo/net.pth": "Hallo, in ComfyUI and Python",
}
OPEN = {LANDMARKER: "Apache-2.0", PARTS["whisper"]: "Apache-2.0", PARTS["hubert"]: "Apache-2.0", PARTS["vae"]: "MIT"}


class UnknownModel(ValueError):
    """Nothing is published under a name."""


def run(chosen: Namespace, terminal: Terminal) -> int:
    shelf = Shelf.of(chosen.models)
    names = [_published(name) for name in chosen.fetch]
    fetched = shelf.fetch(dict.fromkeys(part for name in names for part in _with_parts(name)), terminal.progress)
    if names and not fetched:
        terminal.say("All of that is there already.")
    rows = [_row(shelf, name) for name in _in_order()] + list(_own(shelf))
    terminal.result("\n".join(_table(shelf, rows)), {"folder": str(shelf.folder.absolute()), "models": rows})
    return 0


def _published(name: str) -> str:
    name = SHORT_NAMES.get(name, name.replace("\\", "/").removesuffix("/"))
    if name not in PUBLISHED:
        short = ", ".join(SHORT_NAMES)
        raise UnknownModel(f"Nothing is published as {name}; expected one of {', '.join(_in_order())}, or {short}.")
    return name


def _with_parts(name: str) -> Iterator[str]:
    """With what a redub model works with, but for what is optional."""
    yield name
    method = next((method for method in METHODS if method.name == OF_REDUB.get(name)), None)
    for word in method.parts if method else ():
        if any(file.needed for file in PUBLISHED[PARTS[word]]):
            yield PARTS[word]


def _in_order() -> list[str]:
    first = [LANDMARKER, *OF_REDUB]
    return [*first, *(name for name in PUBLISHED if name not in first)]


def _row(shelf: Shelf, name: str) -> dict[str, Any]:
    files = [file for file in PUBLISHED[name] if file.needed] or list(PUBLISHED[name])
    path = shelf.path(name)
    licences = dict.fromkeys(file.licence for file in files if file.licence)
    method = next((method for method in METHODS if method.name == OF_REDUB.get(name)), None)
    return {
        "name": name,
        "there": path is not None,
        "path": None if path is None else str(path),
        "bytes": sum(file.size or 0 for file in files),
        "purpose": f"redub: {method.name}" if method else PURPOSES.get(name, ""),
        "licence": "; ".join(licences) or (method.licence if method else OPEN.get(name, "see its page")),
        "page": files[0].page,
    }


def _own(shelf: Shelf) -> Iterator[dict[str, Any]]:
    """Redub models that are nowhere published, or lie under other names."""
    known = {file.place for files in PUBLISHED.values() for file in files}
    for path in sorted(shelf.folder.rglob("*")) if shelf.folder.is_dir() else ():
        name = path.relative_to(shelf.folder).as_posix()
        if path.suffix not in ENDINGS or name.removeprefix("pretrained_models/") in known or not path.is_file():
            continue
        with suppress(WeightsError):
            method = method_of(path, "redub")
            yield {
                "name": name,
                "there": True,
                "path": str(path),
                "bytes": path.stat().st_size,
                "purpose": f"redub: {method.name}",
                "licence": method.licence,
                "page": None,
            }


def _table(shelf: Shelf, rows: Sequence[dict[str, Any]]) -> Iterator[str]:
    yield f"In {shelf.folder.absolute()}{'' if shelf.folder.is_dir() else ', which does not exist yet'}:"
    widest = max(len(row["name"]) for row in rows)
    for row in rows:
        state = "there  " if row["there"] else "missing"
        about = f"{row['purpose']}; licence: {row['licence']}"
        yield f"{state}  {row['name']:<{widest}}  {amount(row['bytes']):>8}  {about}"
    yield "Fetch one with --fetch NAME, and what it works with. Published at:"
    yield from dict.fromkeys(f"  {row['page']}" for row in rows if row["page"])
