"""Prepared clips for tests: smooth noise, so that nothing has to be found in them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from seeded import normals
from torch import Tensor

from joyhallo.data import dataset
from joyhallo.data.dataset import NAMES, SAMPLES, Record, Split
from joyhallo.diffusion.codec import LATENT_SCALE
from joyhallo.faces.boxes import Box
from joyhallo.faces.regions import drawn
from joyhallo.methods.hallo.masks import soft_masks

SIZE = 64
LAYERS, WIDTH, CHANNELS = 3, 16, 4


def pictures(name: str, length: int, size: int = SIZE) -> Tensor:
    """(length, 3, size, size) in 0..1"""
    coarse = torch.sigmoid(normals(name, (length, 3, 4, 4)))
    return torch.nn.functional.interpolate(coarse, (size, size), mode="bicubic").clamp(0, 1)


def add(root: Path, id: str, length: int, split: Split = "train", *, latents: bool = True, size: int = SIZE) -> Record:
    """Write the files of a clip, and its record."""
    folder = root / dataset.CLIPS / id
    dataset.write_film(folder / NAMES["video"], pictures(id, length, size).split(7))
    dataset.write_sound(folder / NAMES["sound"], 0.1 * normals(f"{id} sound", (length * SAMPLES,)))
    around, lips = Box(16, 12, 48, 56), Box(24, 40, 40, 50)
    face = drawn(around.scaled(size / 64), (size, size))
    dataset.write_masks(folder, face, soft_masks(face, drawn(lips.scaled(size / 64), (size, size))))
    dataset.write_tensors(folder / NAMES["identity"], identity=normals(f"{id} identity", (512,)))
    dataset.write_tensors(folder / NAMES["speech"], features=normals(f"{id} speech", (length, LAYERS, WIDTH)))
    if latents:
        shape = (length, CHANNELS, size // LATENT_SCALE, size // LATENT_SCALE)
        mean, logvar = normals(f"{id} mean", shape), normals(f"{id} logvar", shape) - 4
        dataset.write_tensors(folder / NAMES["latents"], mean=mean.half(), logvar=logvar.half())
    files = dataset.stored(root, id, NAMES)
    record = Record(id, f"{id}.mp4", "ok", split=split, speaker=id, length=length, size=size, files=files)
    dataset.write_record(root, record)
    return record


def write(root: Path, lengths: Sequence[int] = (30, 40, 25), others: Sequence[Record] = ()) -> Path:
    """A dataset; its last clip is for validation."""
    last = len(lengths) - 1
    records = [
        add(root, f"clip{index}", length, "validation" if index == last else "train")
        for index, length in enumerate(lengths)
    ]
    dataset.write_manifest(root, [*records, *others])
    dataset.write_facts(root, settings={"size": SIZE})
    return root
