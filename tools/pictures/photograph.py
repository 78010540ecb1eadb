"""A photograph that speaks, for what people see first: scikit-image's astronaut, NASA's and free, as a puppet.

It carries the label of synthetic media, says the bundled sentence, and what is shown is what Puppet Portrait makes.
"""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from joyhallo.config import FPS
from joyhallo.evaluation.figures import Film
from joyhallo.evaluation.puppets import Model, astronaut, in_floats
from joyhallo.faces.boxes import Box
from joyhallo.faces.find import FaceMesh, outline_box
from joyhallo.film.label import ENGLISH, Label
from joyhallo.methods.puppet.hearing import listen, open_ear
from joyhallo.sound.audio import prepare, read

from ..demo_model.bundle import FOLDER

SEED = 4
ROOM = 1.05  # heights of the face to each side of its middle


def photograph(landmarker: Path, side: int) -> tuple[Film, Film]:
    """The photograph (1, side, side, 3) around its face, and the film of it. landmarker: MediaPipe's .task file"""
    with FaceMesh(landmarker).at_work() as finder:
        model = Model.of("astronaut", astronaut(), finder)
    recording = prepare(*read(FOLDER / "speech.wav"))
    frames = model.film(listen(open_ear(), recording), SEED)
    film = torch.stack([in_floats(model.picture), *frames]).permute(0, 3, 1, 2)
    part = _around(outline_box(model.mesh), film.shape[3], film.shape[2])
    film = film[:, :, int(part.top) : int(part.bottom), int(part.left) : int(part.right)]
    film = F.interpolate(film, (side, side), mode="bicubic", antialias=True).clamp(0, 1)
    return _bytes(film[:1]), _bytes(Label(ENGLISH, None).on(film[1:], 0, Fraction(FPS)))


def _bytes(film: Tensor) -> Film:
    return (film.permute(0, 2, 3, 1) * 255).round().byte().numpy()


def _around(face: Box, width: int, height: int) -> Box:
    (x, y), half = face.center, round(ROOM * face.longest)
    return Box(round(x) - half, round(y) - half, round(x) + half, round(y) + half).within(Box(0, 0, width, height))
