"""Measures of all clips together: what each clip adds is kept in a file, by its contents, and joined in the end."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from ..files.journal import key_of
from ..measures import inception
from ..measures.frechet import Moments, distance
from ..measures.table import MEASURES
from .panel import Asked, Findings, Panel
from .pixels import network_of
from .records import Record
from .showing import Showing, saved
from .watching import pieces

FULL_RANK = inception.WIDTH  # frames, below which a distance is far from that of larger sets


def _features(showing: Showing, asked: Asked) -> None:
    path = _kept(showing.kept, showing.digest, asked)
    if path.exists():
        return
    network = network_of("inception", asked.weights["inception"], asked.device)
    with torch.no_grad():
        parts = [
            inception.features(network, frames.to(asked.device)).cpu() for frames in pieces(showing.film.pictures())
        ]
    saved(path, {"features": torch.cat(parts).numpy()})


def _kept(folder: Path, film: str, asked: Asked) -> Path:
    """Where the features of a film's frames are kept, 8 KB a frame."""
    return folder / f"{key_of(film=film, weights=asked.hashes['inception'])[:32]}.npz"


def _added(showing: Showing, asked: Asked, names: frozenset[str]) -> Findings:
    for one in (showing, showing.truth):
        _features(one, asked)
    return Findings()


@dataclass(frozen=True)
class OfSet:
    """A figure of all clips together."""

    value: float
    clips: int  # that it is of
    notes: tuple[str, ...]


def of_set(records: Iterable[Record], folder: Path, asked: Asked) -> dict[str, OfSet]:
    """By the names of measures; none where no clip has what they take."""
    if "fid" not in asked.names or "inception" not in asked.weights:
        return {}
    films = [(record.facts["film"], record.facts["truth"]) for record in records if record.facts.get("truth")]
    paths = [[_kept(folder, film, asked) for film in pair] for pair in films]
    there = [pair for pair in paths if all(path.exists() for path in pair)]
    if not there:
        return {}
    made, true = (_joined([pair[side] for pair in there]) for side in (0, 1))
    notes = [f"FID is of {made.count} frames against {true.count}; compare it with that of as many only"]
    if min(made.count, true.count) < FULL_RANK:
        notes.append(f"FID takes {FULL_RANK} frames of each to mean what others report; with fewer it is too large")
    return {"fid": OfSet(distance(made, true), len(there), tuple(notes))}


def _joined(paths: Sequence[Path]) -> Moments:
    whole = Moments(inception.WIDTH)
    for path in paths:
        with np.load(path, allow_pickle=False) as kept:
            whole.see(torch.from_numpy(kept["features"]))
    return whole


PANELS = (Panel("FID", (MEASURES["fid"],), _added),)
