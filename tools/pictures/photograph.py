"""docs/photograph.webp: scikit-image's photograph of an astronaut, which is NASA's and free, as a puppet that speaks.

    python -m tools.pictures.photograph face_landmarker.task

It carries the label of synthetic media, says the bundled sentence, and what is shown is what the node makes.
"""

from __future__ import annotations

import sys
from fractions import Fraction

import numpy as np
import torch
from PIL import Image, ImageDraw

from joyhallo.config import FPS
from joyhallo.evaluation.puppets import Model, astronaut, in_floats
from joyhallo.faces.boxes import Box
from joyhallo.faces.find import FaceMesh, outline_box
from joyhallo.film.label import ENGLISH, Label
from joyhallo.methods.puppet.hearing import listen, open_ear
from joyhallo.sound.audio import prepare, read

from ..comfyui.server import ROOT
from ..demo_model.bundle import FOLDER
from .shop import DEEP, NIGHT, PICTURE, SPACE, WAVE, ramp, rounded_corners, sound, spoken

SHOWN = ROOT / "docs" / "photograph.webp"
SEED = 4
ROOM = 1.05  # heights of the face to each side of its middle


def main() -> None:
    with FaceMesh(sys.argv[1]).at_work() as finder:
        model = Model.of("astronaut", astronaut(), finder)
    recording = prepare(*read(FOLDER / "speech.wav"))
    frames = model.film(listen(open_ear(), recording), SEED)
    film = torch.stack([in_floats(model.picture), *frames]).permute(0, 3, 1, 2)
    part = _around(outline_box(model.mesh), film.shape[3], film.shape[2])
    film = film[:, :, int(part.top) : int(part.bottom), int(part.left) : int(part.right)]
    size = (PICTURE, PICTURE)
    film = torch.nn.functional.interpolate(film, size, mode="bicubic", antialias=True).clamp(0, 1)
    labelled = Label(ENGLISH, None).on(film[1:], 0, Fraction(FPS))
    first, *others = (_framed(frame, film[0], number) for number, frame in enumerate(labelled))
    first.save(SHOWN, save_all=True, append_images=others, duration=1000 // FPS, loop=0, quality=70, method=6)


def _around(face: Box, width: int, height: int) -> Box:
    (x, y), half = face.center, round(ROOM * face.longest)
    return Box(round(x) - half, round(y) - half, round(x) + half, round(y) + half).within(Box(0, 0, width, height))


def _framed(frame: torch.Tensor, still: torch.Tensor, number: int) -> Image.Image:
    """The photograph beside the film, and the sound below."""
    width, top, loud = 2 * PICTURE + 3 * SPACE, PICTURE + 2 * SPACE, spoken()
    ground = ramp(DEEP, NIGHT, (width, top + WAVE + SPACE))
    corners = rounded_corners((PICTURE, PICTURE), 14)
    for place, picture in enumerate((still, frame)):
        pixels = (picture.permute(1, 2, 0) * 255).round().byte().numpy()
        ground.paste(Image.fromarray(np.ascontiguousarray(pixels)), (SPACE + place * (PICTURE + SPACE), SPACE), corners)
    sound(ImageDraw.Draw(ground), (SPACE, top, width - SPACE, top + WAVE), loud, number)
    return ground


if __name__ == "__main__":
    main()
