"""Lips and sound: what judges of lip sync say of a clip, and of its controls."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import torch

from ..measures.lip_judges import Told, Watched, by_lip_reader, by_syncnet
from ..measures.lip_reader import LipReader, open_lip_reader
from ..measures.lipsync import COMPARABLE
from ..measures.sync import delayed
from ..measures.syncnet import SyncNet, open_syncnet
from ..measures.table import LIP_READER, SHIFT, SHIFTED, SHUFFLED, STILL, SYNCNET
from .panel import Asked, Findings, Panel
from .showing import Showing, shuffled
from .watching import pieces

WHOLE = "wav2lip"  # the protocol that shows whole frames


@lru_cache(maxsize=1)
def _syncnet(path: Path, device: str) -> SyncNet:
    return open_syncnet(path).build(dtype=torch.float32).to(device)


@lru_cache(maxsize=1)
def _reader(device: str) -> LipReader:
    return open_lip_reader().build(dtype=torch.float32).to(device)


def _by_syncnet(showing: Showing, asked: Asked, names: frozenset[str]) -> Findings:
    network, film = _syncnet(asked.weights["syncnet"], asked.device), pieces(showing.pictures())
    if asked.protocol == WHOLE:
        watched = by_syncnet(network, film, None, device=asked.device)
    else:
        track = showing.track
        watched = by_syncnet(network, film, track.boxes, track.cuts, device=asked.device)
    found, own = _told(showing, watched, "SyncNet")
    if own.windows < COMPARABLE:
        found.notes.append(f"Sync-C is taken of {own.windows} windows only, too few to be compared with others")
    if watched.stretch is not None and not watched.stretch.counts:
        found.notes.append("SyncNet's own pipeline leaves such a clip out: its face is too small, or seen too briefly")
    return found


def _by_lip_reader(showing: Showing, asked: Asked, names: frozenset[str]) -> Findings:
    track, film = showing.track, pieces(showing.pictures())
    return _told(showing, by_lip_reader(_reader(asked.device), film, track.boxes, track.cuts, device=asked.device),
                 "Our lip reader")[0]  # fmt: skip


def _told(showing: Showing, watched: Watched, title: str) -> tuple[Findings, Told]:
    own, other = showing.recording.samples, showing.other
    told = watched.score(own)
    found = Findings(dict(told.values))
    found.control(STILL, watched.still(own).values)
    found.control(SHUFFLED, watched.score(shuffled(own, None if other is None else other.samples)).values)
    found.control(SHIFTED, watched.score(delayed(own, SHIFT)).values)
    found.curves[f"{title}: distance, if the sound is early by -15 to 15 frames"] = told.curve.tolist()
    return found, told


PANELS = (Panel("lip reader", LIP_READER, _by_lip_reader), Panel("SyncNet", SYNCNET, _by_syncnet))
