"""Q-Align's scores of pictures and films, around its language model: what it is shown and asked, and what it answered.

The model itself (q-future/one-align, 16 GB) is not here: whoever has it shows it `prepared` pictures, asks `tokens` of
a `prompt`, and gives the last position's logits for the five `word_tokens` to `score`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor

from ..faces.antialiased import antialiased, weights

WORDS = ("excellent", "good", "fair", "poor", "bad")
SHARES = (1.0, 0.75, 0.5, 0.25, 0.0)
SIDE = 448
BEHIND = (122, 116, 104)  # the mean colour, on which pictures are made square
MEAN, SPREAD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
PLACEHOLDER, PICTURE = "<|image|>", -200  # in the text, and in its tokens

Tokenize = Callable[[str], list[int]]  # a text's tokens after one that tells its beginning


# ---- what it is shown


def seconds(count: int, fps: float) -> list[int]:
    """Which frames of a film are looked at, one a second; none where it is shorter than that."""
    rate = float(fps)
    return [int(rate * second) for second in range(int(count / rate))]


def padded(frames: Tensor) -> Tensor:
    """uint8 (n, height, width, 3) -> (n, side, side, 3), in the middle of the mean colour."""
    count, height, width, _ = frames.shape
    side = max(height, width)
    square = torch.tensor(BEHIND, dtype=torch.uint8, device=frames.device).repeat(count, side, side, 1)
    top, left = (side - height) // 2, (side - width) // 2
    square[:, top : top + height, left : left + width] = frames
    return square


def prepared(frames: Tensor) -> Tensor:
    """uint8 (n, height, width, 3) -> (n, 3, SIDE, SIDE), float32; the original rounds them to half precision."""
    planes = padded(frames).permute(0, 3, 1, 2)
    if (side := planes.shape[-1]) != SIDE:
        table = weights(side, SIDE, "bicubic", frames.device)
        planes = antialiased(planes, table, table)
    mean, spread = (torch.tensor(of, device=frames.device).view(3, 1, 1) for of in (MEAN, SPREAD))
    return (planes.float() / 255 - mean) / spread


class Glances:
    """Gathers what a film is looked at, piece after piece: `see(frames)`."""

    def __init__(self, fps: float):
        self.fps, self.count = fps, 0
        self._seen: list[Tensor] = []

    def see(self, frames: Tensor) -> None:
        """uint8 (n, height, width, 3)"""
        after = self.count + len(frames)
        wanted = seconds(after + int(self.fps) + 1, self.fps)  # as if it went on for another second
        here = [at - self.count for at in wanted if self.count <= at < after]
        self._seen += [prepared(frames[at : at + 1]).half() for at in here]
        self.count = after

    @property
    def pictures(self) -> Tensor:
        """float16 (seconds, 3, SIDE, SIDE)"""
        kept = self._seen[: len(seconds(self.count, self.fps))]
        if not kept:
            raise ValueError(
                f"The film has {self.count} frames at {float(self.fps):g} a second; it must last a second at least."
            )
        return torch.cat(kept)


# ---- what it is asked


def prompt(shown: Literal["image", "video"]) -> str:
    """All pictures of a video are in the one place for them."""
    asked = f"How would you rate the quality of this {shown}?"
    return f"USER: {asked}\n{PLACEHOLDER}\nASSISTANT: The quality of the {shown} is"


def tokens(text: str, tokenize: Tokenize) -> list[int]:
    """With PICTURE in the placeholder's place. Every part begins as a text of its own would; only the first may."""
    first, *others = (tokenize(part) for part in text.split(PLACEHOLDER))
    return first + [token for part in others for token in (PICTURE, *part[1:])]


def word_tokens(tokenize: Tokenize) -> list[int]:
    """Of the five words, whose logits are the answer."""
    return [tokenize(word)[1] for word in WORDS]


# ---- what it answered


def score(logits: Tensor) -> Tensor:
    """(n, 5), by WORDS -> (n) in 0..1, as in its repository and in most papers. The original's half precision moves it
    by up to 2e-4."""
    shares = torch.tensor(SHARES, dtype=torch.float64, device=logits.device)
    return logits.double().softmax(-1) @ shares


def as_stars(score: Tensor) -> Tensor:
    """0..1 -> 1..5, as the model of the hub tells them."""
    return 1 + 4 * score
