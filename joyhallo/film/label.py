"""A visible label: words in a corner that say that a film was made by AI, in a size that the rules ask for.

GB 45438-2025 asks for words with "AI" and "generated" in them, at an edge or in a corner, on the first picture and for
two seconds, at least as high as 5 % of the shorter side. Here capitals are that high, and everything else is higher.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

CHINESE, ENGLISH = "AI生成", "AI-generated"
TEXTS = {CHINESE: "zh", ENGLISH: "en"}
CAPITAL = 128  # pixels that capitals are high in the masks
SHARE = Fraction(1, 20)  # of the shorter side, that capitals are high at least
SECONDS = 2

# In heights of a capital:
MARGIN = 0.6  # from the corner to the plate
PADDING = (0.55, 0.5)  # from the plate's edges to the ink: at its sides, above and below
ROUND = 0.45  # radius of the plate's corners
DARK = 0.55  # how much of the picture the plate takes away, so that white words are read on white


@dataclass(frozen=True)
class Label:
    text: str  # one of TEXTS
    seconds: int | None = SECONDS  # None: as long as the film

    def on(self, frames: Tensor, number: int, rate: Fraction) -> Tensor:
        """Frames (n, 3, height, width) in 0..1 with the label; what lies outside it stays as it is.

        number: that of the first frame in the film.
        """
        count = len(frames) if self.seconds is None else math.ceil(self.seconds * rate) - number
        if count <= 0:
            return frames
        height, width = frames.shape[2:]
        kept, added, top, left = _stamp(self.text, width, height)
        labelled = frames.clone()
        part = labelled[:count, :, top : top + kept.shape[0], left : left + kept.shape[1]]
        part.mul_(kept).add_(added)
        return labelled


def mask_path(text: str) -> Path:
    return Path(__file__).with_name(f"label_{TEXTS[text]}.png")


def capital(width: int, height: int) -> int:
    """How many pixels high capitals are in pictures of a size."""
    return math.ceil(min(width, height) * SHARE)


@lru_cache(maxsize=4)
def _stamp(text: str, width: int, height: int) -> tuple[Tensor, Tensor, int, int]:
    """What is kept of the picture and what is added to it, each (rows, columns), and where they lie."""
    high = capital(width, height)
    ink = _scaled(text, high)
    across, along = (round(high * side) for side in PADDING)
    words = torch.zeros(ink.shape[0] + 2 * along, ink.shape[1] + 2 * across)
    words[along : along + ink.shape[0], across : across + ink.shape[1]] = ink
    plate = _plate(words.shape[0], words.shape[1], ROUND * high) * DARK
    margin = round(high * MARGIN)
    rows, columns = max(0, height - margin), max(0, width - margin)
    kept = ((1 - plate) * (1 - words))[:rows, :columns]
    return kept, words[:rows, :columns], margin, margin


def _scaled(text: str, high: int) -> Tensor:
    """The words' ink, 0..1, with capitals that many pixels high."""
    with Image.open(mask_path(text)) as file:
        mask = file.convert("L")
    size = tuple(math.ceil(side * high / CAPITAL) for side in mask.size)
    return torch.from_numpy(np.array(mask.resize(size, Image.Resampling.LANCZOS), np.float32) / 255)


def _plate(height: int, width: int, radius: float) -> Tensor:
    """A rectangle with round corners, 0..1, its edges as smooth as its pixels are covered."""
    rows, columns = (torch.arange(side) + 0.5 - side / 2 for side in (height, width))
    beyond = [(at.abs() - side / 2 + radius).clamp(min=0) for at, side in ((rows, height), (columns, width))]
    return (radius + 0.5 - torch.hypot(beyond[0][:, None], beyond[1][None])).clamp(0, 1)
