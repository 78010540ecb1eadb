"""Videos for tests: a green disc for a face, with lips, over noise; and stand-ins for the models that find it."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import mesh as true_mesh
import numpy as np
import seeded
import small
import torch
from drawn_faces import drawn_mesh
from numpy.typing import NDArray
from torch import Tensor, nn

from joyhallo.faces.boxes import Box, Picture, Points
from joyhallo.faces.find import Face, FaceError, Finders, outline_box
from joyhallo.film.write import write
from joyhallo.sound.wav2vec2 import Encoder

RATE = 16_000
GREEN, RED = (20, 230, 40), (220, 30, 30)

Way = Callable[[float], tuple[float, float] | None]  # seconds -> middle of the face, as shares; None: it is not there


def still(_: float) -> tuple[float, float]:
    return 0.5, 0.5


def film(
    path: Path,
    seconds: float = 1.4,
    fps: float = 25,
    size: tuple[int, int] = (128, 128),
    face: float = 0.4,  # its diameter, over the shorter side
    way: Way = still,
    darker: float = 0.0,  # by so much each second
    sound: float | None = 0.1,  # amplitude; None: no track
    voice: float = 200.0,  # Hz
) -> Path:
    count = round(seconds * fps)
    frames = np.stack([frame(way(at / fps), size, face) * (1 - darker * at / fps) for at in range(count)])
    times = torch.arange(round(seconds * RATE)) / RATE
    waveform = None if sound is None else (sound * torch.sin(2 * torch.pi * voice * times))[None]
    path.parent.mkdir(parents=True, exist_ok=True)
    batches = torch.from_numpy(frames).float().div(255).split(16)
    return write(path, batches, fps, None if waveform is None else (waveform, RATE), quality="best")


def frame(at: tuple[float, float] | None, size: tuple[int, int], face: float) -> NDArray[np.uint8]:
    width, height = size
    y, x = np.mgrid[:height, :width] + 0.5
    picture = np.random.default_rng(7).integers(90, 150, (height, width, 1)).repeat(3, 2).astype(np.uint8)
    if at is None:
        return picture
    across, down, radius = at[0] * width, at[1] * height, face * min(size) / 2
    picture[(x - across) ** 2 + (y - down) ** 2 < radius**2] = GREEN
    picture[((x - across) / 2) ** 2 + (y - down - radius / 2) ** 2 < (radius / 8) ** 2] = RED
    return picture


# ---- who finds it


def green_box(picture: Picture) -> Box | None:
    red, green, blue = picture.astype(int).transpose(2, 0, 1)
    rows, columns = np.nonzero(green - np.maximum(red, blue) > 60)
    if len(rows) < 9:
        return None
    return Box(float(columns.min()), float(rows.min()), float(columns.max() + 1), float(rows.max() + 1))


@dataclass
class GreenLandmarker:
    looks: int = 0

    def anywhere(self, picture: Picture) -> list[Points]:
        self.looks += 1
        box = green_box(picture)
        return [] if box is None else [drawn_mesh(*box.center, box.longest)]

    def mesh(self, picture: Picture, box: Box) -> Points:
        for mesh in self.anywhere(picture):
            if outline_box(mesh).overlap(box) > 0.2:
                return mesh
        raise FaceError("nothing is green")


class GreenDetector:
    """The identity says how bright the face is."""

    def faces(self, picture: Picture) -> list[Face]:
        box = green_box(picture)
        if box is None:
            return []
        brightness = picture[box.slices].mean()
        return [Face(box, identity=np.linspace(0, brightness, 512, dtype=np.float32))]


class TrueLandmarker(GreenLandmarker):
    def anywhere(self, picture: Picture) -> list[Points]:
        return [true_mesh.mesh(picture)]


LANDMARKER = GreenLandmarker()


def green() -> Finders:
    return Finders(GreenDetector(), LANDMARKER)  # pyright: ignore[reportArgumentType]


def true() -> Finders:
    return Finders(None, TrueLandmarker())  # pyright: ignore[reportArgumentType]


class Ear(nn.Module):
    """A speech encoder of one convolution and two layers, called as ComfyUI's is: transformers takes long to import."""

    def __init__(self):
        super().__init__()
        layer = nn.Module()
        layer.conv = nn.Conv1d(1, 8, 640, stride=320)
        layer.layer_norm = nn.Identity()
        self.feature_extractor = Extractor(layer)
        self.feature_projection = nn.Linear(8, 8)
        self.encoder = nn.Module()
        self.encoder.layers = nn.ModuleList([nn.Linear(8, 8), nn.Linear(8, 8)])

    def forward(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        states = [self.feature_projection(self.feature_extractor(x[0]))]
        for layer in self.encoder.layers:
            states.append(layer(states[-1]))
        return states[-1], states


class Extractor(nn.Module):
    def __init__(self, layer: nn.Module):
        super().__init__()
        self.conv_layers = nn.ModuleList([layer])

    def forward(self, x: Tensor) -> Tensor:
        return self.conv_layers[0].conv(x[:, None]).transpose(1, 2)


def ear() -> Encoder:
    return Encoder(seeded.fill(Ear()), "ear", normalize=False)


def deaf_ear() -> Encoder:
    return Encoder(seeded.fill(Ear(), salt="deaf"), "deaf ear", normalize=False)


class BlockPosterior(small.BlockCodec):
    """A codec without weights, and as sure of each latent as of the next."""

    def posterior(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        mean = self.encode(pixels)
        return mean, torch.full_like(mean, -6.0)


class Deadly(GreenLandmarker):
    """Kills its process where there is no face, as a fault in a library would."""

    def anywhere(self, picture: Picture) -> list[Points]:
        found = super().anywhere(picture)
        if not found:
            os._exit(11)
        return found


def deadly() -> Finders:
    return Finders(GreenDetector(), Deadly())  # pyright: ignore[reportArgumentType]
