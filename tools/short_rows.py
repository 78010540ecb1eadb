"""A table of rows that are quickly done: a drawn person of 128 pixels, with masks, says a fifth of a second."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import soundfile
from PIL import Image, ImageDraw

from joyhallo.drawn.drawing import Look, Sitter
from joyhallo.faces.regions import LIPS, OUTLINE

SIDE, RATE, SECONDS = 128, 16_000, 0.2
SOUNDS = {"hello": 180, "你好": 240}  # Hz
HEAD = "picture,sound,output,seed,lip_mask,face_mask\n"


def draw(folder: Path, seconds: float = SECONDS) -> Sitter:
    """Write anna.png, masks of her lips and face, and two sounds."""
    sitter = Sitter(Look(), SIDE)
    Image.fromarray(sitter.picture()).save(folder / "anna.png")
    for name, points in (("lips", LIPS), ("face", OUTLINE)):
        mask = Image.new("L", (SIDE, SIDE))
        ImageDraw.Draw(mask).polygon([tuple(point) for point in sitter.mesh()[list(points)].tolist()], fill=255)
        mask.save(folder / f"{name}.png")
    time = np.arange(round(seconds * RATE)) / RATE
    for name, pitch in SOUNDS.items():
        soundfile.write(folder / f"{name}.wav", 0.4 * np.sin(2 * np.pi * pitch * time), RATE)
    return sitter


def write_table(folder: Path, rows: int) -> Path:
    """Each film differs from all others by its seed."""
    sounds = list(SOUNDS)
    lines = (f"anna.png,{sounds[n % 2]}.wav,{film_of(n)},{n},lips.png,face.png\n" for n in range(rows))
    table = folder / "table.csv"
    table.write_text(HEAD + "".join(lines), encoding="utf-8")
    return table


def film_of(row: int) -> str:
    return f"film_{row:05}.mp4"
