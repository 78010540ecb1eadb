"""Lips and sound: what judges of lip sync say of a clip, and of its controls."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ..measures.lip_judges import Told, Watched, by_lip_reader, by_syncnet, compared
from ..measures.lip_reader import LipReader, open_lip_reader
from ..measures.lipsync import COMPARABLE, SAMPLES, SyncError
from ..measures.speaking_crops import Stretch, longest, stretches
from ..measures.stable_syncnet import SIDE, Judging, StableSyncNet, open_stable_syncnet
from ..measures.syncnet import SyncNet, open_syncnet
from ..measures.table import LIP_READER, SHUFFLED, STABLE_SYNCNET, STILL, SYNCNET
from ..methods.latentsync.alignment import matrices
from ..methods.latentsync.crops import Faces
from .panel import Asked, Findings, Panel
from .showing import Showing
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
    own = showing.recording.samples
    told = watched.score(own)
    found = Findings(dict(told.values))
    for control, other in compared(watched, own, showing.shuffled).items():
        found.control(control, other.values)
    found.curves[f"{title}: distance, if the sound is early by -15 to 15 frames"] = told.curve.tolist()
    return found, told


# ---- LatentSync's judge


@lru_cache(maxsize=1)
def _stable_syncnet(path: Path, device: str) -> StableSyncNet:
    return open_stable_syncnet(path).build(dtype=torch.float32).to(device)


def _by_stable_syncnet(showing: Showing, asked: Asked, names: frozenset[str]) -> Findings:
    """Of faces aligned as for LatentSync's training; each sound is compared in the same reading of the film."""
    network, track = _stable_syncnet(asked.weights["stable_syncnet"], asked.device), showing.track
    aligned = Faces(matrices(track, SIDE, "original"), SIDE, track.size)
    stretch = longest(stretches(np.where(aligned.usable[:, None], track.boxes, np.nan), track.cuts))
    sounds = {"": showing.recording.samples, SHUFFLED: showing.shuffled}
    parts = {name: sound[SAMPLES * stretch.start : SAMPLES * stretch.stop] for name, sound in sounds.items()}
    judging = {name: Judging(network, part, asked.device) for name, part in parts.items()}
    judging[STILL], first = Judging(network, parts[""], asked.device), None
    for faces in _aligned(showing, aligned, stretch):
        first = faces[:1] if first is None else first
        for name, judge in judging.items():
            judge.see(first.expand_as(faces) if name == STILL else faces)
    told = {name: judge.cosines for name, judge in judging.items()}
    if not len(told[""]):
        raise SyncError("StableSyncNet takes 16 frames in a row that show the face, and their sound")
    found = Findings({"stable_sync": float(told.pop("").mean())})
    for name, cosines in told.items():
        found.control(name, {"stable_sync": float(cosines.mean())})
    return found


def _aligned(showing: Showing, aligned: Faces, stretch: Stretch) -> Iterator[Tensor]:
    seen = 0
    for frames in pieces(showing.pictures()):
        start, stop = max(seen, stretch.start), min(seen + len(frames), stretch.stop)
        if start < stop:
            yield aligned.cut(frames[start - seen : stop - seen], range(start, stop)).permute(0, 2, 3, 1)
        seen += len(frames)


PANELS = (
    Panel("StableSyncNet", STABLE_SYNCNET, _by_stable_syncnet),
    Panel("lip reader", LIP_READER, _by_lip_reader),
    Panel("SyncNet", SYNCNET, _by_syncnet),
)
