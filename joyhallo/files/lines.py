"""JSON lines that are added while work goes on: `append` and `read`. A line that a kill tore off counts for nothing."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any


def append(path: Path, entry: Mapping[str, Any], sync: bool = True) -> None:
    """On a line of its own whatever was torn before. sync: on the disk when this returns, safe from a power cut"""
    line = json.dumps(entry, ensure_ascii=False, allow_nan=False).encode() + b"\n"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab+") as file:
        if file.seek(0, os.SEEK_END):
            file.seek(-1, os.SEEK_END)
            line = line if file.read(1) == b"\n" else b"\n" + line
        file.write(line)
        file.flush()
        if sync:
            os.fsync(file.fileno())


def read(path: Path) -> Iterator[dict[str, Any]]:
    try:
        lines = path.read_bytes().split(b"\n")  # names may hold what Python takes for the end of a line
    except FileNotFoundError:
        return
    for line in lines:
        try:
            entry = json.loads(line)
        except ValueError:  # torn, or empty
            continue
        if isinstance(entry, dict):
            yield entry
