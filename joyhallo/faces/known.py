"""Pictures whose faces are known beforehand: those that come with a small model, which needs no other file then."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

from ..files.weights import open_weights
from .boxes import Box, Picture, Points
from .find import MOST_FACES, FaceError, FaceMesh, FaceModels, outline_box

Meshes = Mapping[str, np.ndarray]  # by picture: (faces, 478, 2), in its pixels


def write_faces(path: Path, faces: Sequence[tuple[Picture, Sequence[Points]]]) -> None:
    save_file({_name(picture): np.stack(meshes).astype(np.float32) for picture, meshes in faces}, path)


class KnownFaces(FaceModels):
    """The faces of a file that `write_faces` wrote. They have no identity: choose the neutral one."""

    def __init__(self, path: Path):
        super().__init__()
        self.path = path

    @cached_property
    def landmarker(self) -> KnownMeshes:
        tensors, _ = open_weights(self.path, "the faces of pictures that come with a small model.")
        return KnownMeshes({name: tensor.numpy() for name, tensor in tensors.items()})


class KnownMeshes(FaceMesh):
    def __init__(self, meshes: Meshes):
        self.known = meshes

    def knows(self, picture: Picture) -> bool:
        return _name(picture) in self.known

    def meshes(self, picture: Picture, window: Box | None = None, most: int = MOST_FACES) -> list[Points]:
        found = self.known.get(_name(picture))
        if found is None:
            raise FaceError(
                "demo knows only the faces of the pictures that come with the small model, and this is none of them; "
                "in Load JoyHallo Models choose face_analysis as face_models, or connect masks for face and lips."
            )
        meshes = [mesh.astype(np.float64) for mesh in found]
        return [mesh for mesh in meshes if window is None or outline_box(mesh).within(window).area > 0][:most]


def _name(picture: Picture) -> str:
    """By content: the file's name is the user's business."""
    height, width = picture.shape[:2]
    return hashlib.sha256(b"%dx%d" % (width, height) + np.ascontiguousarray(picture).tobytes()).hexdigest()
