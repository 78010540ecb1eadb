"""Faces cut out upright at one size, by a similarity for each frame, and put back softly."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from .boxes import Points


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
    """

    matrices: NDArray[np.float64]
    size: int
    mask: Tensor

    @classmethod
    def of(cls, points: Sequence[Points], template: Points, size: int, mask: Tensor) -> Warps:
        """template: where the points lie in the square, in its pixels."""
        return cls(np.stack([similarity(some, template) for some in points]), size, mask)

    def cut(self, pictures: Tensor, start: int) -> Tensor:
        """(n, 3, height, width), the first of them number `start` -> (n, 3, size, size); borders are repeated"""
        height, width = pictures.shape[2:]
        back = _inverse(self.matrices[start : start + len(pictures)])
        grid = _sampled_at(back, (self.size, self.size), (height, width)).to(pictures)
        return F.grid_sample(pictures, grid, padding_mode="border", align_corners=False)

    def place(self, crops: Tensor, pictures: Tensor, start: int) -> Tensor:
        """Whole pictures with the squares in them; where the mask gives nothing they stay as they were."""
        made = pictures.clone()
        for number, crop in enumerate(crops):
            matrix = self.matrices[start + number]
            top, bottom, left, right = self._reach(matrix, pictures.shape[2:])
            if top >= bottom or left >= right:
                continue
            shift = np.eye(3)
            shift[:2, 2] = left, top
            window = (matrix @ shift)[None]
            grid = _sampled_at(window, (bottom - top, right - left), (self.size, self.size)).to(pictures)
            warped = F.grid_sample(crop[None].to(pictures), grid, padding_mode="border", align_corners=False)
            weight = F.grid_sample(self.mask[None, None].to(pictures), grid, padding_mode="zeros", align_corners=False)
            there = made[number : number + 1, :, top:bottom, left:right]
            there.copy_(torch.where(weight > 0, torch.lerp(there, warped, weight), there))
        return made

    def _reach(self, matrix: NDArray[np.float64], shape: torch.Size) -> tuple[int, int, int, int]:
        """Rows and columns of a picture that a square may touch."""
        last = self.size - 0.5
        corners = np.array([[-0.5, -0.5], [last, -0.5], [-0.5, last], [last, last]])
        (back,) = _inverse(matrix[None])
        found = corners @ back[:, :2].T + back[:, 2]
        (left, top), (right, bottom) = np.floor(found.min(0)), np.ceil(found.max(0)) + 1
        height, width = shape
        rows, columns = np.clip([top, bottom], 0, height).astype(int), np.clip([left, right], 0, width).astype(int)
        return int(rows[0]), int(rows[1]), int(columns[0]), int(columns[1])


def _inverse(matrices: NDArray[np.float64]) -> NDArray[np.float64]:
    turns = np.linalg.inv(matrices[:, :, :2])
    return np.concatenate([turns, -turns @ matrices[:, :, 2:]], axis=2).astype(np.float64)


def _sampled_at(matrices: NDArray[np.float64], shape: tuple[int, int], source: tuple[int, int]) -> Tensor:
    """For each pixel of `shape` the place in `source` that a matrix leads to, as grid_sample wants it."""
    height, width = source
    y, x = torch.meshgrid(*(torch.arange(side, dtype=torch.float64) for side in shape), indexing="ij")
    places = torch.stack([x, y, torch.ones_like(x)], dim=-1) @ torch.from_numpy(matrices).mT[:, None]
    return (places * 2 + 1) / torch.tensor([width, height], dtype=torch.float64) - 1
