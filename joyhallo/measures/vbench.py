"""VBench's measures of a film: subject and background consistency, motion smoothness, temporal flickering.

Each is a class that sees a film piece by piece and then has a `series`, of which a plain function makes the score.
`SmoothLinear` is ours: smoothness without a network, not to be compared with others' figures.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from .amt import AMT, check_size, padded_side
from .streamed import Ready, Streamed, as_it_is, dtype_of
from .vit import ViT

SIDE = 224  # pixels of a picture's shorter side, as both networks know pictures
LEVELS = 255
AT_ONCE = 16  # pictures that a network is given together
SUBJECT_COLOURS = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # mean and deviation, of ImageNet
BACKGROUND_COLOURS = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)  # of CLIP's pictures


# ---- consistency


def subject_pictures(frames: Tensor) -> Tensor:
    """frames uint8 (n, height, width, 3) -> (n, 3, 224, 224 or more), or the other way round: nothing is cut off."""
    return _coloured(_resized(frames, "bilinear"), *SUBJECT_COLOURS)


def background_pictures(frames: Tensor) -> Tensor:
    """frames uint8 (n, height, width, 3) -> (n, 3, 224, 224), of the middle. Where colours overshoot they stay so."""
    pictures = _resized(frames, "bicubic")
    top, left = (round((side - SIDE) / 2) for side in pictures.shape[2:])  # halves to the even number, as there
    return _coloured(pictures[:, :, top : top + SIDE, left : left + SIDE], *BACKGROUND_COLOURS)


def _resized(frames: Tensor, mode: str) -> Tensor:
    """In 0..255 and, as in VBench, without smoothing what becomes smaller."""
    pictures = frames.permute(0, 3, 1, 2).float()
    sides = pictures.shape[2:]
    if min(sides) == SIDE:
        return pictures
    longer = int(SIDE * max(sides) / min(sides))
    size = (SIDE, longer) if sides[0] <= sides[1] else (longer, SIDE)
    return F.interpolate(pictures, size, mode=mode, align_corners=False)


def _coloured(pictures: Tensor, mean: Sequence[float], deviation: Sequence[float]) -> Tensor:
    means, deviations = (pictures.new_tensor(numbers)[:, None, None] for numbers in (mean, deviation))
    return (pictures / LEVELS - means) / deviations


class Consistency(Streamed):
    least = 2

    def __init__(self, network: ViT, *, device: torch.device | str = "cpu", ready: Ready = as_it_is):
        super().__init__(AT_ONCE)
        self._network, self._device, self._ready = network, device, ready

    @property
    def features(self) -> Tensor:
        """(frames, width), as the network gives them."""
        return self.found

    @property
    def series(self) -> Tensor:
        """(frames - 1), of every frame but the first"""
        return likeness(self.features)

    def _of(self, frames: Tensor) -> Tensor:
        network = self._ready(self._network)
        pictures = self._prepared(frames.to(self._device)).to(dtype_of(network))
        return network(pictures).float().cpu()

    @staticmethod
    @abstractmethod
    def _prepared(frames: Tensor) -> Tensor: ...


class Subject(Consistency):
    """With DINO's ViT."""

    name = "subject consistency"
    _prepared = staticmethod(subject_pictures)


class Background(Consistency):
    """With CLIP's ViT. It looks at all of the picture, for all that it is called."""

    name = "background consistency"
    _prepared = staticmethod(background_pictures)


def likeness(features: Tensor) -> Tensor:
    """features (frames, width) -> (frames - 1): how like the frame before and the first one each is, from 0 to 1."""
    features = F.normalize(features.double(), dim=1)
    before, first = (features[1:] * features[:-1]).sum(1), features[1:] @ features[0]
    return (before.clamp(min=0) + first.clamp(min=0)) / 2


def consistency(series: Tensor) -> float:
    return series.double().mean().item()


# ---- smoothness and flickering: differences in levels


class Smoothness(Streamed):
    """How far each second frame is from what AMT-S guesses of its neighbours. An even film's last frame is not used."""

    name, least = "smoothness", 3

    def __init__(self, network: AMT, *, device: torch.device | str = "cpu", ready: Ready = as_it_is):
        super().__init__(3, shared=1)
        self._network, self._device, self._ready = network, device, ready

    @property
    def series(self) -> Tensor:
        """((frames - 1) // 2): the mean difference in levels"""
        return self.found

    def _check(self, frames: Tensor) -> None:
        super()._check(frames)
        check_size(*frames.shape[1:3])

    def _of(self, frames: Tensor) -> Tensor:
        if len(frames) < self._part:
            return torch.empty(0, dtype=torch.float64)
        return _apart(self.guess(frames[:1], frames[2:]), frames[1:2])

    @torch.no_grad()
    def guess(self, before: Tensor, after: Tensor) -> Tensor:
        """frames uint8 (n, height, width, 3) -> those in the middle, in whole levels: VBench cuts fractions off."""
        network = self._ready(self._network)
        pictures = (padded(frames.to(self._device)).to(dtype_of(network)) for frames in (before, after))
        made = network(*pictures).picture
        top, left, height, width = *_added(before), *before.shape[1:3]
        made = made[:, :, top : top + height, left : left + width].permute(0, 2, 3, 1)
        return (made.float() * LEVELS).clamp(0, LEVELS).byte()


def padded(frames: Tensor) -> Tensor:
    """frames uint8 (n, height, width, 3) -> (n, 3, ...) in 0..1, whose edges go on to multiples of 16."""
    height, width = frames.shape[1:3]
    top, left = _added(frames)
    bottom, right = padded_side(height) - height - top, padded_side(width) - width - left
    return F.pad(frames.permute(0, 3, 1, 2).float() / LEVELS, (left, right, top, bottom), mode="replicate")


def _added(frames: Tensor) -> tuple[int, int]:
    """Rows above, columns on the left."""
    height, width = frames.shape[1:3]
    return (padded_side(height) - height) // 2, (padded_side(width) - width) // 2


class SmoothLinear(Streamed):
    """The same, with the mean of both neighbours as the guess: without a network, and hard on every motion."""

    name, least = "smoothness", 3

    def __init__(self) -> None:
        super().__init__(2 * AT_ONCE + 1, shared=1)

    @property
    def series(self) -> Tensor:
        return self.found

    def _of(self, frames: Tensor) -> Tensor:
        before, between, after = (frames[start : len(frames) - 2 + start : 2] for start in range(3))
        return _apart((before.short() + after.short()), 2 * between.short()) / 2


class Flicker(Streamed):
    """How far each frame is from the next."""

    name, least = "flickering", 2

    def __init__(self) -> None:
        super().__init__(AT_ONCE + 1, shared=1)

    @property
    def series(self) -> Tensor:
        """(frames - 1): the mean difference in levels"""
        return self.found

    def _of(self, frames: Tensor) -> Tensor:
        return _apart(frames[:-1], frames[1:])


def _apart(some: Tensor, others: Tensor) -> Tensor:
    """(n, height, width, 3) of whole numbers -> (n), exact"""
    total = (some.short() - others.to(some.device).short()).abs().sum((1, 2, 3))
    return (total.double() / some[0].numel() if len(some) else total.double()).cpu()


def steadiness(series: Tensor) -> float:
    """Differences in levels -> 1 where there are none: the score of smoothness and of flickering."""
    return (LEVELS - series.double().mean().item()) / LEVELS


# ---- of several films


def mean_of_set(scores: Sequence[float], counts: Sequence[int]) -> float:
    """counts: the lengths of their series, for consistency, as VBench lets long films count for more on one processor;
    1 for each in smoothness and flickering."""
    return sum(score * count for score, count in zip(scores, counts, strict=True)) / sum(counts)
