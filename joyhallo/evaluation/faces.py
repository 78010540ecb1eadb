"""Whose face it is: likeness to the portrait, by the recogniser that the user has."""

from __future__ import annotations

from ..faces.find import FaceError
from ..measures.resembling import Likeness, mean_and_low
from ..measures.table import LIKENESS
from .panel import Asked, Findings, Panel
from .showing import Showing, portrait, recogniser_of
from .watching import pieces


def _likeness(showing: Showing, asked: Asked, names: frozenset[str]) -> Findings:
    if not showing.finding.face_models:
        raise FaceError("it takes InsightFace's recogniser: give --face-models FOLDER")
    assert showing.clip.portrait is not None
    likeness = Likeness(recogniser_of(showing.finding.face_models), portrait(showing.clip.portrait))
    for frames in pieces(showing.film.pictures()):
        likeness.see(frames)
    mean, low = mean_and_low(likeness.series)
    return Findings({"likeness": mean, "likeness_low": low})


PANELS = (Panel("likeness", LIKENESS, _likeness),)
