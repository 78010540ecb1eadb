"""Lips and sound: what judges of lip sync say of a clip, and of its controls."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

from torch import Tensor

from ..faces.boxes import Box
from ..measures import lip_reader, sync
from ..measures.lip_reader import Fit, LipReader, open_lip_reader
from ..measures.lipsync import LipSync
from ..measures.speaking_crops import Stretch, longest, stretches
from ..measures.sync import delayed
from ..measures.syncnet import SyncNet, open_syncnet
from ..measures.table import LIP_READER, SHIFT, SHIFTED, SHUFFLED, STILL, SYNCNET
from ..sound.audio import Recording
from .panel import Asked, Findings, Panel
from .showing import SAMPLES, Showing, shuffled
from .watching import pieces

Score = Callable[[Tensor], Mapping[str, float]]  # of samples in 16 kHz, from the film's first frame on
WHOLE = "wav2lip"  # the protocol that shows whole frames


def _controlled(found: Findings, showing: Showing, score: Score, still: Score) -> Findings:
    own = showing.recording.samples
    other = None if showing.other is None else showing.other.samples
    found.values |= score(own)
    found.control(STILL, **still(own))
    found.control(SHUFFLED, **score(shuffled(own, other)))
    found.control(SHIFTED, **score(delayed(own, SHIFT)))
    return found


# ---- SyncNet


@lru_cache(maxsize=1)
def _syncnet(path: Path, device: str) -> SyncNet:
    return open_syncnet(path).build().to(device)


def _by_syncnet(showing: Showing, asked: Asked, names: frozenset[str]) -> Findings:
    network, found = _syncnet(asked.weights["syncnet"], asked.device), Findings()
    boxes, cuts = (None, ()) if asked.protocol == WHOLE else (showing.track.boxes, showing.track.cuts)
    shown = sync.watch(pieces(showing.pictures()), boxes, network, cuts, device=asked.device)
    frozen = replace(shown, features=shown.features[:1].expand_as(shown.features))

    def told(samples: Tensor, film: sync.Shown = shown) -> LipSync:
        return sync.score(film, Recording(samples), network, device=asked.device)

    own = told(showing.recording.samples)
    found.curves["SyncNet's distance by lag, -15 to 15 frames"] = own.curve.tolist()
    found.curves["SyncNet's confidence along the clip"] = own.framewise.tolist()
    if not own.is_comparable:
        found.notes.append(f"Sync-C is taken of {own.windows} windows only, too few to be compared with others")
    if shown.stretch is not None and not shown.stretch.counts:
        found.notes.append(
            "SyncNet's own pipeline would leave this clip out: its face is too small or seen too briefly"
        )
    return _controlled(
        found, showing, lambda sound: _of_syncnet(told(sound)), lambda sound: _of_syncnet(told(sound, frozen))
    )


def _of_syncnet(told: LipSync) -> dict[str, float]:
    return {"sync_c": told.confidence, "sync_d": told.distance, "sync_offset": told.offset,
            "sync_c_overlap": told.overlap.confidence}  # fmt: skip


# ---- our own


@lru_cache(maxsize=1)
def _reader(device: str) -> LipReader:
    return open_lip_reader().build().to(device)


def _by_lip_reader(showing: Showing, asked: Asked, names: frozenset[str]) -> Findings:
    reader, found = _reader(asked.device), Findings()
    stretch = longest(stretches(showing.track.boxes, showing.track.cuts))
    lips = lip_reader.seen(reader, (mouths.to(asked.device) for mouths in _mouths(showing, stretch)))
    frozen = lips[:1].expand_as(lips)

    def told(samples: Tensor, seen: Tensor = lips) -> Fit:
        part = samples[SAMPLES * stretch.start : SAMPLES * stretch.stop]
        return lip_reader.fit(seen, lip_reader.heard(reader, Recording(part), asked.device))

    own = told(showing.recording.samples)
    found.curves["Our lip reader's likeness by lag, -15 to 15 frames"] = own.similarities.tolist()
    return _controlled(
        found, showing, lambda sound: _of_reader(told(sound)), lambda sound: _of_reader(told(sound, frozen))
    )


def _mouths(showing: Showing, stretch: Stretch) -> Iterator[Tensor]:
    faces = lip_reader.steady([Box(*sides) for sides in stretch.boxes.tolist()])
    seen = 0
    for frames in pieces(showing.pictures()):
        start, stop = max(seen, stretch.start), min(seen + len(frames), stretch.stop)
        if start < stop:
            yield lip_reader.crops(
                frames[start - seen : stop - seen], faces[start - stretch.start : stop - stretch.start]
            )
        seen += len(frames)


def _of_reader(told: Fit) -> dict[str, float]:
    return {"lip_sync": told.confidence, "lip_offset": told.offset}


PANELS = (Panel("lip reader", LIP_READER, _by_lip_reader), Panel("syncnet", SYNCNET, _by_syncnet))
