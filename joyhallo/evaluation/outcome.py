"""The files of an evaluation's folder: `results.json`, `clips.csv`, `set.csv` and `report.html`."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..files.scratch import write_whole
from ..measures.table import MEASURES
from .clips import Clip
from .page import page
from .panel import Asked
from .records import Record
from .report import as_results, clips_csv, set_csv, terminal
from .running import KEPT
from .sets import of_set
from .summary import summarised


def write_outcome(
    records: Sequence[Record], asked: Asked, clips: Sequence[Clip], folder: Path, command: list[str]
) -> str:
    """What is to be read on the terminal."""
    kept = folder / KEPT
    of_all = of_set(records, kept, asked)
    notes = [note for whole in of_all.values() for note in whole.notes]
    rows = summarised([measure for name, measure in MEASURES.items() if name in asked.names], records, of_all)
    strips = {record.name: kept / f"{record.facts.get('film', '')[:32]}.jpg" for record in records}
    strips = {name: path for name, path in strips.items() if path.exists()}
    why = asked.why()
    judged = {judge: {"file": Path(path).name, "sha256": asked.hashes[judge]} for judge, path in asked.weights.items()}
    about: dict[str, Any] = {
        "command": command,
        "faces": asked.finding.backend,
        "protocol": asked.protocol,
        "weights": judged,
        "notes": notes,
    }
    head = {
        "command": " ".join(command),
        "when": time.strftime("%Y-%m-%d %H:%M"),
        "faces": asked.finding.backend or "nobody finds them",
        **({"to be known": "; ".join(notes)} if notes else {}),
        **{judge: f"{facts['file']}, sha256 {facts['sha256']}" for judge, facts in judged.items()},
    }
    write_whole(folder / "results.json", as_results(rows, records, why, about).encode())
    write_whole(folder / "clips.csv", clips_csv(rows, records).encode())
    write_whole(folder / "set.csv", set_csv(rows).encode())
    write_whole(folder / "report.html", page(rows, records, why, head, strips).encode())
    told = "\n".join([terminal(rows, records, why), *notes])
    return f"{told}\n{folder / 'report.html'} shows it all."
