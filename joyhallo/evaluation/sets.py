"""Measures of all clips together: what each clip adds is kept in a file, by its contents, and joined in the end."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import torch

from ..measures import inception
from ..measures.frechet import Moments, distance
from ..measures.table import MEASURES
from .panel import Asked, Findings, Panel
from .pixels import network_of
from .records import Record
from .showing import Showing, saved
from .watching import pieces

FULL_RANK = inception.WIDTH  # frames, below which a distance is far from that of larger sets


def _kept(folder: Path, digest: str) -> Path:
    return folder / f"{digest[:32]}-inception.npz"


def _moments(showing: Showing, asked: Asked) -> None:
    path = _kept(showing.kept, showing.digest)
    if path.exists():
        return
    network, moments = network_of("inception", asked.weights["inception"], asked.device), Moments(inception.WIDTH)
    with torch.no_grad():
        for frames in pieces(showing.film.pictures()):
            moments.see(inception.features(network, frames.to(asked.device)))
    saved(
        path, {"count": np.array(moments.count), "total": moments.total.numpy(), "products": moments.products.numpy()}
    )


def _added(showing: Showing, asked: Asked, names: frozenset[str]) -> Findings:
    for one in (showing, showing.beside("truth")):
        _moments(one, asked)
    return Findings()


def of_set(records: Iterable[Record], folder: Path) -> tuple[dict[str, float], list[str]]:
    """The figures of all clips that have what they take, and what is to be told of them."""
    both = [(record.facts.get("film", ""), record.facts.get("truth", "")) for record in records]
    paths = [[_kept(folder, digest) for digest in pair] for pair in both if all(pair)]
    there = [pair for pair in paths if all(path.exists() for path in pair)]
    if not there:
        return {}, []
    made, true = (_joined([pair[side] for pair in there]) for side in (0, 1))
    notes = [f"FID is of {made.count} frames against {true.count}; compare it with that of as many only"]
    if min(made.count, true.count) < FULL_RANK:
        notes.append(f"FID takes {FULL_RANK} frames of each to mean what others report; with fewer it is too large")
    return {"fid": distance(made, true)}, notes


def _joined(paths: Sequence[Path]) -> Moments:
    whole = Moments(inception.WIDTH)
    for path in paths:
        part = Moments(inception.WIDTH)
        with np.load(path, allow_pickle=False) as kept:
            part.count = int(kept["count"])
            part.total, part.products = (torch.from_numpy(kept[name]) for name in ("total", "products"))
        whole = whole + part
    return whole


PANELS = (Panel("FID", (MEASURES["fid"],), _added),)
