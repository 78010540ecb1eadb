"""How well the lips of a finished film fit its own sound, by the lip reader that comes with the pack."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Any

import torch

from ..config import FPS, SAMPLE_RATE
from ..measures.lip_judges import by_lip_reader, compared, controls_of
from ..measures.lip_reader import LipReader, open_lip_reader
from ..measures.scores import Scores
from ..measures.streamed import pieces
from ..measures.sync import rotated
from ..sound.audio import prepare
from .faces import tracked
from .jobs import silent
from .media import Source, mask_of, sound_of

_one_at_a_time = threading.Lock()  # finders of faces are not made for several threads


def score(film: Path, finding: Mapping[str, Any]) -> dict[str, Any]:
    """Its figures, as Score Lip Sync tells them, and why they may say nothing. A film without any raises an error.

    finding: the options of TRACKING, and a box or a mask where one says where the face is
    """
    with _one_at_a_time, torch.inference_mode():
        return _score(Source.of(film, Fraction(FPS)), film, finding)


def _score(source: Source, film: Path, finding: Mapping[str, Any]) -> dict[str, Any]:
    path = finding.get("mask")
    mask = None if path is None else mask_of(path, "mask")
    track = tracked(source, finding, mask, silent, every=1).track
    watched = by_lip_reader(_reader(), pieces(source.read(0)), track.boxes, track.cuts)
    samples = prepare(*sound_of(film)).samples[: len(track) * SAMPLE_RATE // FPS]
    own, controls = watched.score(samples), controls_of(compared(watched, samples, rotated(samples)))
    scores = Scores(film.name, values=own.values, controls=controls)
    doubt = scores.silent("lip_sync") or scores.silent("lip_offset")
    return {"lip_sync": round(own.confidence, 4), "lip_offset": own.offset} | ({"doubt": doubt} if doubt else {})


@cache
def _reader() -> LipReader:
    return open_lip_reader().build(dtype=torch.float32)
