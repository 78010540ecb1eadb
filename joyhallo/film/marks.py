"""What a film's file says of being made by AI: such marks are read, passed on and added, never taken away.

The record that GB 45438-2025 asks for (its annex E) is JSON under the key AIGC. A file has a single one, so another's
record that says "made by AI" stays the only one. One that says less ("maybe", "suspected") makes way, and is kept
under another key.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from html import unescape
from pathlib import Path
from typing import Any, BinaryIO

from ..libraries import library
from .label import Label

RECORD, EARLIER, SOURCE, SOFTWARE = "AIGC", "marked_before", "digitalSourceType", "software"  # keys in a file
MADE = "1"  # the record's Label: made by AI. 2 is maybe, by what a file says; 3 is suspected, by traces found in it
LABELS = {MADE: "made by AI", "2": "maybe made by AI", "3": "suspected to be made by AI"}

MANIFEST = bytes.fromhex("d8fec3d61b0e483c92975828877ec481")  # the kind of a C2PA manifest's box
LONGEST = 16 << 20  # bytes of a manifest that are looked through
KIND = re.compile(r"digital_?source_?type[/:=\"'>\s]+(?:https?://[^\s\"'<]*/)?([A-Za-z]+)", re.IGNORECASE)
IN_XMP = re.compile(r":AIGC(?:\s*=\s*\"([^\"]*)\"|>([^<]*)<)")
ARTIFICIAL = re.compile("algorithmic|synthetic", re.IGNORECASE)  # of IPTC's digital source types


@dataclass(frozen=True)
class Marks:
    record: str = ""  # JSON, as it was found
    source: str = ""  # IPTC's digital source type, if it is an artificial one
    software: str = ""
    earlier: str = ""  # records that made way
    manifest: Any = None  # the file, or its name, that has C2PA credentials of its own

    def with_ours(self, record: str, software: str) -> Marks:
        names = self.software if software in self.software else "; ".join(filter(None, (self.software, software)))
        if label_of(self.record) == MADE:
            return replace(self, software=names)
        earlier = " ".join(filter(None, (self.earlier, self.record)))
        return replace(self, record=record, software=names, earlier=earlier)

    def tags(self) -> dict[str, str]:
        """What a file holds of them: a manifest is for its own pictures alone."""
        kept = {RECORD: self.record, EARLIER: self.earlier, SOURCE: self.source, SOFTWARE: self.software}
        return {key: text for key, text in kept.items() if text}

    def __str__(self) -> str:
        return ", ".join(self._told()) or "none"

    def _told(self) -> Iterator[str]:
        if self.record:
            producer = _fields(self.record).get("ContentProducer")
            meaning = LABELS.get(label_of(self.record), "unreadable")
            yield f"AIGC record ({meaning}{f', by {producer}' if producer else ''})"
        if self.earlier:
            yield "an earlier AIGC record"
        if self.source:
            yield f"digital source type {self.source}"
        if self.manifest is not None:
            yield "C2PA credentials"
        if self.software:
            yield f"software {self.software}"


@dataclass(frozen=True)
class Labels:
    """What a film gets when it is written."""

    tags: Mapping[str, str] = field(default_factory=dict)  # texts, under their names
    visible: Label | None = None
    sign: Callable[[Path], None] | None = None  # the finished file, as the last step


def record(producer: str, number: str) -> str:
    """A record that says "made by AI". Who spreads a film fills in what is empty."""
    fields = {
        "Label": MADE,
        "ContentProducer": producer,
        "ProduceID": number,
        "ReservedCode1": "",
        "ContentPropagator": "",
        "PropagateID": "",
        "ReservedCode2": "",
    }
    text = json.dumps(fields, separators=(",", ":"))
    inner = text[1:-1].replace("{", "\\u007b").replace("}", "\\u007d")  # ComfyUI's readers count braces within quotes
    return f"{{{inner}}}"


def label_of(text: str) -> str:
    return str(_fields(text).get("Label", ""))


def read_marks(source: Any) -> Marks:
    """Of a path, or of a file in memory. What cannot be read has none: whoever needs its pictures says so."""
    with suppress(OSError, ValueError):
        return _of_tags(_tags(source), _manifest(source), source)
    return Marks()


def _of_tags(tags: Mapping[str, str], manifest: bytes, source: Any) -> Marks:
    xmp = tags.get("xmp", "")
    kinds = [tags.get(SOURCE.lower(), ""), *KIND.findall(xmp), *KIND.findall(manifest.decode("latin-1"))]
    return Marks(
        record=next(_records(tags), ""),
        source=next((kind.rpartition("/")[2] for kind in kinds if ARTIFICIAL.search(kind)), ""),
        software=tags.get(SOFTWARE, ""),
        earlier=tags.get(EARLIER, ""),
        manifest=source if manifest else None,
    )


def _records(tags: Mapping[str, str]) -> Iterator[str]:
    """First from its own key, then from XMP, then from any key that holds one within."""
    yield from (text for key, text in tags.items() if key == RECORD.lower() and text)
    yield from (unescape("".join(found)) for found in IN_XMP.findall(tags.get("xmp", "")) if any(found))
    for text in tags.values():
        if f'"{RECORD}"' in text and (within := _parsed(text).get(RECORD)) and isinstance(within, dict):
            yield json.dumps(within, separators=(",", ":"))


def _fields(text: str) -> Mapping[str, Any]:
    """A record's fields; some tools write it within another pair of braces."""
    found = _parsed(text)
    within = found.get(RECORD)
    return within if isinstance(within, dict) else found


def _parsed(text: str) -> Mapping[str, Any]:
    with suppress(ValueError, RecursionError):
        found = json.loads(text)
        return found if isinstance(found, dict) else {}
    return {}


# ---- the file


def _tags(source: Any) -> dict[str, str]:
    """Names in small letters: Matroska has capitals alone."""
    av = library("av", "Reading videos")
    _rewind(source)
    try:
        with av.open(source if hasattr(source, "read") else str(source), options={"export_xmp": "1"}) as file:
            return {key.lower(): text for key, text in file.metadata.items()}
    except av.error.FFmpegError:
        return {}


def _manifest(source: Any) -> bytes:
    """The C2PA manifest of an mp4 or mov."""
    _rewind(source)
    if hasattr(source, "read"):
        return _manifest_in(source)
    with open(source, "rb") as file:
        return _manifest_in(file)


def _manifest_in(file: BinaryIO) -> bytes:
    first = True
    while len(head := file.read(8)) == 8:
        size, kind, extra = int.from_bytes(head[:4], "big"), head[4:], 8
        if first and kind not in (b"ftyp", b"wide", b"moov", b"mdat"):
            return b""
        if size == 1:
            size, extra = int.from_bytes(file.read(8), "big"), 16
        if kind == b"uuid" and file.read(16) == MANIFEST:
            return MANIFEST + file.read(min(LONGEST, max(0, size - extra - 16)))
        if size < extra:  # the last one, up to the end
            return b""
        file.seek(size - extra - (16 if kind == b"uuid" else 0), 1)
        first = False
    return b""


def _rewind(source: Any) -> None:
    if hasattr(source, "seek"):
        source.seek(0)
