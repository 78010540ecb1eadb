"""How far apart two sets of features are: Fréchet's distance of the normal distributions they could come from.

It is called FID for an Inception's features of pictures (`inception`), and FVD for a video network's. It falls as sets
grow, so only distances of sets of the same sizes compare; with fewer features than these have numbers, covariances are
not even of full rank.
"""

from __future__ import annotations

import torch
from torch import Tensor


class Moments:
    """Gathers features (n, width), however many there are: `see(features)`. Those of parts of a set can be added."""

    def __init__(self, width: int):
        self.count = 0
        self.total = torch.zeros(width, dtype=torch.float64)
        self.products = torch.zeros(width, width, dtype=torch.float64)

    def see(self, features: Tensor) -> None:
        if features.ndim != 2 or features.shape[1] != len(self.total):
            raise ValueError(f"Features are {tuple(features.shape)}; expected (n, {len(self.total)}).")
        x = features.detach().to("cpu", torch.float64)
        self.count += len(x)
        self.total += x.sum(0)
        self.products.addmm_(x.T, x)

    def __add__(self, other: Moments) -> Moments:
        both = Moments(len(self.total))
        both.count, both.total = self.count + other.count, self.total + other.total
        both.products = self.products + other.products
        return both

    @property
    def mean(self) -> Tensor:
        return self.total / self.count

    @property
    def covariance(self) -> Tensor:
        """Of the sample: numpy's default."""
        if self.count < 2:
            raise ValueError(f"{self.count} features have no covariance; 2 are the least, and a film has more.")
        return (self.products - self.count * torch.outer(self.mean, self.mean)) / (self.count - 1)


def distance(a: Moments, b: Moments) -> float:
    return frechet(a.mean, a.covariance, b.mean, b.covariance)


def frechet(mean_a: Tensor, covariance_a: Tensor, mean_b: Tensor, covariance_b: Tensor) -> float:
    """In float64. The trace of the root of both covariances' product is the sum of the roots of its eigenvalues, which
    are those of a symmetric matrix, too, and found there in a thirtieth of the time."""
    root = _root(covariance_a)
    values = torch.linalg.eigvalsh(root.T @ covariance_b @ root)
    apart = (mean_a - mean_b).square().sum()
    return float(apart + covariance_a.trace() + covariance_b.trace() - 2 * values.clamp(min=0).sqrt().sum())


def _root(covariance: Tensor) -> Tensor:
    """A matrix whose product with its own transpose is the covariance."""
    triangle, failed = torch.linalg.cholesky_ex(covariance)
    if not failed:
        return triangle
    values, vectors = torch.linalg.eigh(covariance)  # slower, but knows covariances that are not of full rank
    return vectors * values.clamp(min=0).sqrt()
