"""`Boxed`: the crops of a method that sees a box of each frame, and replaces it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..faces.blend import Patch
from ..faces.boxes import Box, Size
from ..faces.rescale import rescale

LEAST = 2  # pixels of a box: of fewer there would be nothing to see

Resize = Callable[[Tensor, Size], Tensor]  # of bytes (n, height, width, 3) -> (n, size[1], size[0], 3)


@dataclass(frozen=True)
class Boxed:
    """As Crops, see redub.py; crops are bytes. The boxes of a film differ in size, so each is cut by itself."""

    boxes: Tensor  # (frames, 4), whole numbers within the picture: left, top, right, bottom; all 0 without a face
    size: int
    resize: Resize  # as the method's authors make crops of boxes, whose aspect ratio is ignored

    @property
    def usable(self) -> NDArray[np.bool_]:
        left, top, right, bottom = self.boxes.unbind(1)
        return ((right - left >= LEAST) & (bottom - top >= LEAST)).numpy()

    def box(self, frame: int) -> Box:
        return Box(*self.boxes[frame].tolist())

    def cut(self, pictures: Tensor, frames: Sequence[int]) -> Tensor:
        boxes = [Box(*box).slices for box in self.boxes[list(frames)].tolist()]
        crops = [
            self.resize(picture[rows, columns][None], (self.size, self.size))
            for picture, (rows, columns) in zip(pictures, boxes, strict=True)
        ]
        return torch.cat(crops).permute(0, 3, 1, 2) if crops else pictures.new_zeros(0, 3, self.size, self.size)

    def patch(self, crop: Tensor, frame: int) -> Patch | None:
        """All of a crop, its rim included."""
        box = self.box(frame)
        if not box.area:
            return None
        pixels = rescale(crop.byte().permute(1, 2, 0)[None], (int(box.width), int(box.height)))
        return Patch(box, pixels[0])
