"""The command track: where a face is in a video."""

from __future__ import annotations

import io
import json
from argparse import Namespace
from typing import Any

from PIL import Image

from ..faces.tracking import Tracked
from ..files.scratch import write_whole
from .faces import tracked
from .media import Source
from .options import TRACKING
from .places import PlaceError
from .provision import check_given, finders
from .shelf import Shelf
from .terminal import Terminal


def run(chosen: Namespace, terminal: Terminal) -> int:
    for path in filter(None, (chosen.boxes, chosen.sheet)):
        if path.exists() and not chosen.force:
            raise PlaceError(f"{path} already exists; choose another name, or replace it with --force.")
    options: dict[str, Any] = {option.name: getattr(chosen, option.name) for option in TRACKING}
    check_given(options)
    source = Source.of(chosen.video)
    options |= finders(options, Shelf.of(chosen.models), chosen.fetch, terminal.progress)
    found = tracked(source, options, None, terminal.progress)
    facts = {"video": str(chosen.video), **boxes_of(found)}
    if chosen.boxes is not None:
        write_whole(chosen.boxes, json.dumps(facts, ensure_ascii=False).encode())
    if chosen.sheet is not None:
        sheet = io.BytesIO()
        Image.fromarray(found.sheet).save(sheet, "PNG")
        write_whole(chosen.sheet, sheet.getvalue())
    terminal.result("\n".join(found.report), facts)
    return 0


def boxes_of(found: Tracked) -> dict[str, Any]:
    track = found.track
    rows = [
        [round(side, 1) for side in box] if there else None
        for box, there in zip(track.boxes.tolist(), track.found.tolist(), strict=True)
    ]
    return {
        "size": list(track.size),
        "rate": float(track.rate),
        "frames": len(track),
        "cuts": list(track.cuts),
        "report": list(found.report),
        "boxes": rows,
    }
