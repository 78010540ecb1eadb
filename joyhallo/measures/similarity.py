"""How alike the pictures of two films are, frame by frame: PSNR, and SSIM by each of the three conventions in use.

What is called SSIM differs by 0.001 to 0.01 from program to program, so each convention has its own name here:

gaussian   a Gaussian window of 11 pixels on whole windows only, covariance of the population; scikit-image's
           `gaussian_weights=True, sigma=1.5, use_sample_covariance=False`, and the paper's
reflected  the same window, with the picture mirrored at its borders: torchmetrics
uniform    the mean of 7x7 pixels, covariance of the sample: scikit-image's default
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

WHITE = 255
LUMINANCE, CONTRAST = (0.01 * WHITE) ** 2, (0.03 * WHITE) ** 2  # keep what is dark or flat from counting too much
AT_ONCE = 4  # frames
STRIP = 48  # rows of an SSIM map: what they take fits the cache of a processor
WHOLE, INSIDE, OUTSIDE = "whole", "inside", "outside"  # of the region that is told of


class Window(NamedTuple):
    weights: tuple[float, ...]  # along one side
    reflected: bool = False
    correction: float = 1.0  # of covariances


def _bell(reach: int, deviation: float) -> tuple[float, ...]:
    heights = [math.exp(-(at**2) / (2 * deviation**2)) for at in range(-reach, reach + 1)]
    return tuple(height / sum(heights) for height in heights)


WINDOWS = {
    "gaussian": Window(_bell(5, 1.5)),
    "reflected": Window(_bell(5, 1.5), reflected=True),
    "uniform": Window((1 / 7,) * 7, correction=49 / 48),
}


class Similarity:
    """Gathers the series of two films, which are shown to it piece after piece: `see(a, b)`."""

    def __init__(self, conventions: Sequence[str] = ("gaussian",)):
        """conventions: of SSIM, names of WINDOWS; none where PSNR is enough"""
        if unknown := [name for name in conventions if name not in WINDOWS]:
            raise ValueError(f"SSIM by {unknown[0]!r} is not known; choose from {', '.join(WINDOWS)}.")
        self.conventions = tuple(conventions)
        self._series: defaultdict[tuple[str, str], list[Tensor]] = defaultdict(list)

    def see(self, a: Tensor, b: Tensor, where: Tensor | None = None) -> None:
        """a, b: the same frames of both films, uint8 (n, height, width, 3); where: a region, such as the one that was
        repainted, bool (height, width) or (n, height, width)."""
        self._check(a, b)
        region = None if where is None else _over(where, a)
        for start in range(0, len(a), AT_ONCE):
            part = slice(start, start + AT_ONCE)
            x, y = (frames[part].permute(0, 3, 1, 2).contiguous().double() for frames in (a, b))
            inside = None if region is None else region[part]
            self._note("errors", (x - y).square().mean(1), inside)
            for name in self.conventions:
                self._note(name, ssim_map(x, y, WINDOWS[name]), inside)

    def errors(self, place: str = WHOLE) -> Tensor:
        """(frames): mean squared differences in levels; NaN where a frame has no pixel of the place."""
        return self._gathered("errors", place)

    def psnr(self, place: str = WHOLE) -> Tensor:
        """(frames) in dB; infinite where both are equal. Of a film as a whole: `decibels(errors.mean())`."""
        return decibels(self.errors(place))

    def ssim(self, convention: str, place: str = WHOLE) -> Tensor:
        """(frames)"""
        return self._gathered(convention, place)

    def _note(self, what: str, found: Tensor, inside: Tensor | None) -> None:
        """found (n, rows, columns): a map, which may lack the frames' borders."""
        self._series[what, WHOLE].append(found.mean((1, 2)))
        if inside is not None:
            seen = _trimmed(inside, found.shape[1:])
            for place, region in (INSIDE, seen), (OUTSIDE, ~seen):
                self._series[what, place].append((found * region).sum((1, 2)) / region.sum((1, 2)))

    def _check(self, a: Tensor, b: Tensor) -> None:
        if a.shape != b.shape:
            raise ValueError(
                f"Frames {tuple(a.shape)} are to be compared with frames {tuple(b.shape)}; bring both to one size, and "
                "give as many of one as of the other."
            )
        if any(frames.dtype != torch.uint8 or frames.ndim != 4 or frames.shape[3] != 3 for frames in (a, b)):
            raise ValueError(f"Found frames {tuple(a.shape)} of {a.dtype}; expected bytes (n, height, width, 3).")
        least = max((len(WINDOWS[name].weights) for name in self.conventions), default=1)
        if min(a.shape[1:3]) < least:
            raise ValueError(f"Frames of {a.shape[2]}x{a.shape[1]} are too small for SSIM: {least} pixels at least.")

    def _gathered(self, what: str, place: str) -> Tensor:
        return torch.cat(self._series.get((what, place)) or [torch.zeros(0, dtype=torch.float64)])


def decibels(errors: Tensor) -> Tensor:
    """PSNR of mean squared differences."""
    return 10 * (WHITE**2 / errors).log10()


def ssim_map(x: Tensor, y: Tensor, window: Window) -> Tensor:
    """float64 (n, 3, height, width) in 0..255 -> (n, rows, columns), the channels' mean.

    Without `reflected`, of those pixels alone that have a whole window.
    """
    around = len(window.weights) - 1
    if window.reflected:
        x, y = (F.pad(maps, (around // 2,) * 4, mode="reflect") for maps in (x, y))
    rows = x.shape[2] - around
    strips = [slice(start, min(start + STRIP, rows) + around) for start in range(0, rows, STRIP)]
    return torch.stack([
        torch.cat([_strip(one[:, strip], other[:, strip], window) for strip in strips])
        for one, other in zip(x, y, strict=True)
    ])  # fmt: skip


def _strip(x: Tensor, y: Tensor, window: Window) -> Tensor:
    """(3, height, width) -> (rows, columns) of those pixels that have a whole window."""

    def local(maps: Tensor) -> Tensor:
        return _along(_along(maps, 2, window.weights), 1, window.weights)

    mean_x, mean_y = local(x), local(y)
    product, power = mean_x * mean_y, mean_x.square() + mean_y.square()
    together = window.correction * (local(x * y) - product)
    apart = window.correction * (local(x.square() + y.square()) - power)
    alike = (2 * product + LUMINANCE) * (2 * together + CONTRAST)
    return (alike / ((power + LUMINANCE) * (apart + CONTRAST))).mean(0)


def _along(maps: Tensor, side: int, weights: Sequence[float]) -> Tensor:
    count = maps.shape[side] - len(weights) + 1
    made = weights[0] * maps.narrow(side, 0, count)
    for at, weight in enumerate(weights[1:], 1):
        made.add_(maps.narrow(side, at, count), alpha=weight)
    return made


def _trimmed(region: Tensor, size: Sequence[int]) -> Tensor:
    top, left = ((whole - kept) // 2 for whole, kept in zip(region.shape[1:], size, strict=True))
    return region[:, top : top + size[0], left : left + size[1]]


def _over(where: Tensor, frames: Tensor) -> Tensor:
    if where.dtype != torch.bool or where.shape not in (frames.shape[:3], frames.shape[1:3]):
        raise ValueError(
            f"The region is {tuple(where.shape)} of {where.dtype}; expected bool {tuple(frames.shape[1:3])}, or one "
            f"such mask for each of the {len(frames)} frames."
        )
    return where.expand(frames.shape[:3])


def together(first: Iterable[Tensor], second: Iterable[Tensor]) -> Iterator[tuple[Tensor, Tensor]]:
    """Pieces of two films, of any lengths -> pairs of pieces of one length, of the frames that both films have."""
    ones, others = iter(first), iter(second)
    one, other = next(ones, None), next(others, None)
    while one is not None and other is not None:
        if count := min(len(one), len(other)):
            yield one[:count], other[:count]
        one = one[count:] if len(one) > count else next(ones, None)
        other = other[count:] if len(other) > count else next(others, None)
