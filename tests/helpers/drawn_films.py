"""Pictures and features that the recorded cases of measures are drawn from, as their index tells it."""

from __future__ import annotations

import re
import zlib

import seeded
import torch
from cases import Case
from torch import Tensor


def films(case: Case) -> Tensor:
    """uint8 (n, height, width, 3): a pattern of squares that stays, and another one in each frame."""
    name, *numbers = re.search(
        r"frames\('([\w.]+)', (\d+), \((\d+), (\d+)\), (\d+), salt\)", case.facts["recipe"]
    ).groups()
    count, rows, columns, side = map(int, numbers)
    still = 128 + 40 * seeded.normals(f"{name}.still", (rows, columns, 3), case.salt)
    moving = [25 * seeded.normals(f"{name}.{frame}", (rows, columns, 3), case.salt) for frame in range(count)]
    squares = torch.stack([still + one for one in moving]).round().clamp(0, 255).byte()
    film = squares.repeat_interleave(side, 1).repeat_interleave(side, 2)
    assert zlib.crc32(film.numpy().tobytes()) == case.facts["frames"]["crc32"], "other frames than recorded"
    return film


def features(case: Case, name: str, count: int, shift: int) -> tuple[Tensor, Tensor]:
    """Of pictures and of sound (count, 1024): sound i holds what picture i + shift holds, and noise."""
    name = f"{case.name}.{name}"
    drawn = seeded.normals(name, (count + 64, 1024), case.salt) * 0.3
    noise = seeded.normals(f"{name}.noise", (count, 1024), case.salt) * 0.3
    return drawn[32 : 32 + count], drawn[32 + shift : 32 + shift + count] + noise * 0.5
