"""An identity from the face's colours, for small models, without a recogniser: `by_colours`.

It cannot stand in for InsightFace's: a model understands only the kind of identity that it was trained with.
"""

from __future__ import annotations

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ...faces.boxes import Box, Picture
from .config import NetConfig

CELLS = 13  # along each side: 13 * 13 * 3 numbers, and then zeros
AROUND = 1.4  # times the face's outline, to include the hair


def by_colours(picture: Picture, face: Box) -> Tensor:
    """A coarse picture of the face and its surroundings, (512) in -1..1; the picture's border is repeated."""
    (x, y), half = face.center, face.longest * AROUND / 2
    rows = np.arange(round(y - half), round(y + half)).clip(0, picture.shape[0] - 1)
    columns = np.arange(round(x - half), round(x + half)).clip(0, picture.shape[1] - 1)
    seen = Image.fromarray(picture[rows[:, None], columns])
    cells = np.asarray(seen.resize((CELLS, CELLS), Image.Resampling.BOX), np.float32) / 127.5 - 1
    return torch.nn.functional.pad(torch.from_numpy(cells).flatten(), (0, NetConfig.face_dim - cells.size))
