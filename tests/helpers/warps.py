"""Faces cut out upright at one size, by a similarity for each frame, and put back softly: crops of a tests' method."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from joyhallo.faces.blend import Patch
from joyhallo.faces.boxes import Points, Size
from joyhallo.faces.warp import inverse, reached, sampled_at


def similarity(source: Points, target: Points) -> NDArray[np.float64]:
    """The turn, scale and shift (2, 3) that bring source points nearest to target points, by least squares.

    Umeyama, "Least-squares estimation of transformation parameters between two point patterns", 1991; never mirrored.
    """
    middle, goal = source.mean(0), target.mean(0)
    from_middle, from_goal = source - middle, target - goal
    u, strengths, v = np.linalg.svd(from_goal.T @ from_middle)
    upright = np.array([1.0, np.sign(np.linalg.det(u) * np.linalg.det(v))])
    turn = u @ np.diag(upright) @ v
    turn = turn * (strengths * upright).sum() / (from_middle**2).sum()
    return np.concatenate([turn, (goal - turn @ middle)[:, None]], axis=1).astype(np.float64)


@dataclass(frozen=True)
class Warps:
    """Upright squares, one for each frame.

    matrices (frames, 2, 3): pixels of a picture -> pixels of its square, both counted from the middle of the first.
    mask (size, size) in 0..1: how much of what is put back counts; 0 at the rim, beyond which a square knows nothing.
    picture: width and height of the pictures.
    """

    matrices: NDArray[np.float64]
    size: int
    mask: Tensor
    picture: Size

    @classmethod
    def of(cls, points: Sequence[Points], template: Points, size: int, mask: Tensor, picture: Size) -> Warps:
        """template: where the points lie in the square, in its pixels. Unknown points give an unknown square."""
        unknown = np.full((2, 3), np.nan)
        each = [similarity(some, template) if np.isfinite(some).all() else unknown for some in points]
        return cls(np.stack(each), size, mask, picture)

    @property
    def usable(self) -> NDArray[np.bool_]:
        return np.asarray(np.isfinite(self.matrices).all((1, 2)))

    def cut(self, pictures: Tensor, frames: Sequence[int]) -> Tensor:
        """(n, height, width, 3) of bytes -> (n, 3, size, size) in 0..1; borders are repeated"""
        shown = pictures.movedim(3, 1).float() / 255
        back = inverse(self.matrices[list(frames)])
        grid = sampled_at(back, (self.size, self.size), shown.shape[2:]).to(shown)
        return F.grid_sample(shown, grid, padding_mode="border", align_corners=False)

    def patch(self, crop: Tensor, frame: int) -> Patch | None:
        """crop (3, size, size) in 0..1; where the mask gives nothing the picture stays as it was."""
        box = reached(self.matrices[frame], (self.size, self.size), self.picture, 0.5)
        if not box.area:
            return None
        shift = np.eye(3)
        shift[:2, 2] = box.left, box.top
        grid = sampled_at((self.matrices[frame] @ shift)[None], box.shape, (self.size, self.size)).to(crop)
        warped = F.grid_sample(crop[None], grid, padding_mode="border", align_corners=False)[0]
        weights = F.grid_sample(self.mask[None, None].to(crop), grid, padding_mode="zeros", align_corners=False)[0, 0]
        return Patch(box, 255 * warped.movedim(0, 2), weights)
