"""Pictures of faces, and meshes of faces that are where a test puts them."""

from __future__ import annotations

import numpy as np
import pytest

from joyhallo.faces.boxes import Box
from joyhallo.faces.find import MESH_MARKS, FaceMesh, outline_box
from joyhallo.faces.regions import LIPS, OUTLINE


def dots(*found, width=640, height=480):
    from face_models import picture_of

    return picture_of(list(found), width, height)


def astronaut() -> np.ndarray:
    return pytest.importorskip("skimage.data").astronaut()


def drawn_mesh(x: float, y: float, size: float) -> np.ndarray:
    """A mesh with its outline and lips in place."""
    points = np.tile([x, y], (478, 1)).astype(float)
    for indices, radius, down in ((OUTLINE, size / 2, 0.0), (LIPS, size / 8, size / 4)):
        angles = np.linspace(0, 2 * np.pi, len(indices), endpoint=False)
        points[list(indices)] = np.stack([x + radius * np.cos(angles), y + down + radius * np.sin(angles)], 1)
    for indices, dx in ((MESH_MARKS[0], -size / 5), (MESH_MARKS[1], size / 5)):
        points[list(indices)] = x + dx, y - size / 8
    return points


class DrawnMeshes(FaceMesh):
    """A landmarker that knows where the faces are; windows are honoured."""

    def __init__(self, *meshes: np.ndarray):
        self.known, self.windows = meshes, []

    def meshes(self, picture, window=None, most=4):
        self.windows.append(window)
        window = window or Box(0, 0, picture.shape[1], picture.shape[0])
        return [mesh for mesh in self.known if outline_box(mesh).within(window).area > 0][:most]
