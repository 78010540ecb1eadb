"""Some frames of a film side by side, small, for the report."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from ..files.scratch import write_whole

FRAMES = 8
HEIGHT = 110  # pixels


class Strip:
    """Frames spread evenly over a film of about `count` frames."""

    def __init__(self, count: int):
        self._wanted = {round((at + 0.5) * max(count, 1) / FRAMES) for at in range(FRAMES)}
        self._seen, self._pictures = 0, list[Image.Image]()

    def see(self, frames: Tensor) -> None:
        for number, picture in enumerate(frames, self._seen):
            if number in self._wanted or not self._pictures:
                self._pictures.append(_small(picture))
        self._seen += len(frames)

    def save(self, path: Path) -> None:
        pictures = self._pictures[-FRAMES:]
        joined = Image.new("RGB", (sum(picture.width for picture in pictures), HEIGHT))
        left = 0
        for picture in pictures:
            joined.paste(picture, (left, 0))
            left += picture.width
        content = BytesIO()
        joined.save(content, "JPEG", quality=80)
        write_whole(path, content.getvalue())


def _small(picture: Tensor) -> Image.Image:
    image = Image.fromarray(picture.to(torch.uint8).numpy())
    width = max(1, round(image.width * HEIGHT / image.height))
    return image.resize((width, HEIGHT), Image.Resampling.BILINEAR, reducing_gap=2)
