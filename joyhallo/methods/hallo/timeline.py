"""`timeline` plots the loudness of a speech, its pauses, and how strongly each region follows it."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from ...config import FPS
from ...faces.boxes import Picture
from ...film.plot import Curve, plot
from ...sound.pauses import runs

QUIETEST = -70.0  # dB at the lower border; full scale is at the upper one
ROOM = 1.1  # times the strongest weight
COLUMNS = 600  # longer videos are averaged down to so many values

LOUDNESS = (196, 196, 196)
# Of Okabe and Ito's palette, the wider lines first, so that three that run together can all be seen
LINES = {"lips": (2, (0, 114, 178), 3.5), "expression": (1, (230, 159, 0), 2.0), "pose": (0, (204, 121, 167), 1.0)}


def timeline(levels: Tensor, pauses: Tensor, weights: Tensor) -> Picture:
    """Plot levels (frames) in dB, pauses (frames) and weights (frames, 3) of pose, expression and lips."""
    top = ROOM * max(1.0, weights.max().item())
    loudness = (1 - levels / QUIETEST).clamp(0, 1) * top
    lines = [Curve(name, _thinned(weights[:, at]), color, width) for name, (at, color, width) in LINES.items()]
    return plot(
        [Curve("loudness", _thinned(loudness), LOUDNESS, filled=True), *lines],
        seconds=len(levels) / FPS,
        shaded=[(start / FPS, stop / FPS) for start, stop in runs(pauses)],
        title="Shaded: pauses",
        limits=(0.0, top),
    )


def _thinned(values: Tensor) -> Tensor:
    return F.adaptive_avg_pool1d(values[None], min(len(values), COLUMNS))[0]
