"""The command models: what is there and what is missing, and fetching it."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Any

from ..files.contents import WeightsError
from ..files.space import amount
from ..methods import Method, method_of
from ..methods.published import OF_PORTRAIT, OF_REDUB, PUBLISHED
from .places import DEMO, DEMO_LICENCE, DEMO_MODEL
from .shelf import FACES, LANDMARKER, OWN_MODEL, PARTS, SEPARATOR, Shelf, method_named, parts_of
from .terminal import Terminal

ENDINGS = (".pth", ".pt", ".bin", ".safetensors")
SHORT_NAMES = {"face_landmarker": LANDMARKER, "insightface": FACES, **PARTS}
PURPOSES = {
    LANDMARKER: "finds faces: talk, redub, track",
    FACES: "finds faces and tells people apart: talk --model, redub, track",
    PARTS["vae"]: "for MuseTalk, LatentSync, JoyHallo",
    PARTS["whisper"]: "hears for MuseTalk, LatentSync",
    PARTS["hubert"]: "hears for Ultralight",
    PARTS["parser"]: "for MuseTalk, optional",
    SEPARATOR: "parts voice and music, for JoyHallo, optional",
    "chinese-wav2vec2-base": "hears for JoyHallo",
    "wav2vec/wav2vec2-base-960h": "hears for Hallo",
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
    rows = [_row(shelf, name) for name in _in_order()] + [_demo(), *_own(shelf)]
    terminal.result("\n".join(_table(shelf, rows)), {"folder": str(shelf.folder.absolute()), "models": rows})
    return 0


def _published(name: str) -> str:
    name = SHORT_NAMES.get(name, name.replace("\\", "/").removesuffix("/"))
    if name not in PUBLISHED:
        short = ", ".join(SHORT_NAMES)
        raise UnknownModel(f"Nothing is published as {name}; expected one of {', '.join(_in_order())}, or {short}.")
    return name


def _with_parts(name: str) -> Iterator[str]:
    """With what a network works with, but for what is optional."""
    yield name
    method = _method(name)
    for part in parts_of(method).values() if method else ():
        if any(file.needed for file in PUBLISHED[part]):
            yield part


def _method(name: str) -> Method | None:
    return method_named({**OF_PORTRAIT, **OF_REDUB}.get(name))


def _in_order() -> list[str]:
    first = [LANDMARKER, *OF_PORTRAIT, *OF_REDUB]
    return [*first, *(name for name in PUBLISHED if name not in first)]


def _row(shelf: Shelf, name: str) -> dict[str, Any]:
    files = [file for file in PUBLISHED[name] if file.needed] or list(PUBLISHED[name])
    path = shelf.path(name)
    licences = dict.fromkeys(file.licence for file in files if file.licence)
    method = _method(name)
    return {
        "name": name,
        "there": path is not None,
        "path": None if path is None else str(path),
        "bytes": sum(file.size or 0 for file in files),
        "purpose": _purpose(method) if method else PURPOSES.get(name, ""),
        "licence": "; ".join(licences) or (method.licence if method else OPEN.get(name, "see its page")),
        "page": files[0].page,
    }


def _purpose(method: Method) -> str:
    return f"{'talk --model' if method.task == 'portrait' else 'redub'}: {method.name}"


def _demo() -> dict[str, Any]:
    path = DEMO_MODEL / OWN_MODEL
    return {
        "name": DEMO,
        "there": path.is_file(),
        "path": str(path),
        "bytes": path.stat().st_size if path.is_file() else 0,
        "purpose": "talk --model: a small one of drawn faces, which comes along",
        "licence": DEMO_LICENCE,
        "page": None,
    }


def _own(shelf: Shelf) -> Iterator[dict[str, Any]]:
    """Models that are nowhere published, or lie under other names."""
    known = {file.place for files in PUBLISHED.values() for file in files}
    for path in sorted(shelf.folder.rglob("*")) if shelf.folder.is_dir() else ():
        name = path.relative_to(shelf.folder).as_posix()
        if path.suffix not in ENDINGS or name.removeprefix("pretrained_models/") in known or not path.is_file():
            continue
        with suppress(WeightsError):
            method = method_of(path)
            yield {
                "name": name,
                "there": True,
                "path": str(path),
                "bytes": path.stat().st_size,
                "purpose": _purpose(method),
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
