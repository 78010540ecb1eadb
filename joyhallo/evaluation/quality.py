"""How good a film looks, by Q-Align, where the user has an interpreter that runs it."""

from __future__ import annotations

import atexit
from functools import lru_cache
from pathlib import Path

from ..measures.qalign import Glances, score
from ..measures.table import QUALITY
from .elsewhere import ElsewhereError
from .one_align import Interpreter, OneAlign, Shown
from .panel import Asked, Findings, Panel
from .showing import Showing
from .watching import pieces

SHOWN: dict[str, Shown] = {"iqa": "image", "vqa": "video"}


@lru_cache(maxsize=1)  # one model for all clips of this process
def _one_align(interpreter: Interpreter, folder: Path) -> OneAlign:
    model = OneAlign(interpreter, folder)
    atexit.register(model.end)
    return model


def _by_one_align(showing: Showing, asked: Asked, names: frozenset[str]) -> Findings:
    assert asked.interpreter is not None
    glances, found = Glances(float(showing.film.facts.rate)), Findings()
    for frames in pieces(showing.film.pictures()):
        glances.see(frames)
    model, pictures = _one_align(asked.interpreter, asked.weights["qalign"]), glances.pictures
    for name in sorted(names):
        try:
            told = model.look(pictures, SHOWN[name])
        except ElsewhereError as error:
            found.missing[name], found.again = str(error), True
        else:
            found.values[name] = float(score(told.logits).mean())
            found.notes += [told.note] if told.note else []
    return found


PANELS = (Panel("Q-Align", QUALITY, _by_one_align),)
