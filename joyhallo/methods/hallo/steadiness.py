"""Consistency of long clips: `Steadiness` holds colours and softens joints, `DriftMeter` measures drift.

Each chunk is made from the last frames of the one before, so errors feed back and add up. Frames are (n, 3, height,
width) in 0..1, weights (height, width) in 0..1; chunks come in order, and the first one comes from the portrait.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields

import torch
from torch import Tensor
from torch.nn import functional as F

from ...config import FPS
from ...diffusion.codec import LATENT_SCALE
from ...faces.boxes import Picture
from ...film.plot import Curve, clock, plot, stacked
from ...sound.pauses import anchors
from .config import REGIONS
from .sampling import Portrait

LEVELS = 255
LEAST_WEIGHT = 0.01  # mean weight below which too little is left to measure, and the whole picture counts instead

GAINS = (0.8, 1.25)  # larger changes are not drift but a different picture, and must not be corrected
SHIFT = 24 / LEVELS
FLAT = 4 / LEVELS  # spread of a channel below which its contrast cannot be measured
MOVED = 0.25  # change, in standard deviations of the picture, beyond which a place shows something else
LEAST_SAME = 0.1  # share of the picture that must show the same thing; otherwise all of it is compared
PASSES = 3

GRID = 64  # cells along the longer side, in which structures are compared
AROUND = 9  # cells over which brightness and contrast are evened out
FAINT = 1 / LEVELS  # deviations below this are not amplified
SHIFTS = 3  # cells by which a head may have moved
SHARP = 3  # sharpness is measured on every so many frames
STILL = 0.1 / LEVELS  # invisible difference between frames

PANEL = (768, 168)
PANELS = {
    "colour": "Colour: difference in levels of 255",
    "contrast": "Contrast: ratio",
    "sharpness": "Sharpness: ratio",
    "identity": "Face: difference of structure",
    "seam": "Joints: change in usual changes",
}


# ---- regions to measure


def outside_lips(portrait: Portrait) -> Tensor:
    """(height, width): 0 on the lips, with room for them to open, and 1 away from them."""
    height, width = portrait.picture.shape[1:]
    lips = portrait.masks[0][REGIONS.index("lip")].float().cpu()
    lips = lips.view(1, 1, height // LATENT_SCALE, width // LATENT_SCALE)
    lips = F.interpolate(lips, (height, width), mode="bilinear", align_corners=False)[0, 0]
    # The mask was a rectangle before it was softened: its border is where it has fallen to one half.
    return (1 - 2 * lips).clamp(0, 1)


def face_outside_lips(portrait: Portrait) -> Tensor:
    """(height, width): the face without the lips."""
    return portrait.locator.float().cpu().amax(0) * outside_lips(portrait)


def _cells(maps: Tensor) -> Tensor:
    """(n, channels, height, width), averaged over the cells of a coarse grid."""
    return F.adaptive_avg_pool2d(maps, _grid(maps))


def _grid(maps: Tensor) -> tuple[int, int]:
    height, width = maps.shape[2:]
    scale = min(1.0, GRID / max(height, width))
    return max(1, round(height * scale)), max(1, round(width * scale))


def _shares(weights: Tensor) -> Tensor:
    """Weights normalised to a sum of 1. A portrait without regions is all lips: then everything counts."""
    if weights.mean() < LEAST_WEIGHT:
        weights = torch.ones_like(weights)
    return weights.float() / weights.sum()


# ---- colours


@dataclass(frozen=True)
class Colours:
    """Mean and spread of the channels of each frame, (frames, 3)."""

    mean: Tensor
    spread: Tensor  # logarithm of the standard deviation

    @classmethod
    def of(cls, frames: Tensor, shares: Tensor) -> Colours:
        """Measure frames. shares ([frames, 1,] height, width): the weight of each place, with a sum of 1."""
        mean = (frames * shares).sum((2, 3))
        variance = ((frames - mean[..., None, None]).square() * shares).sum((2, 3))
        return cls(mean, variance.sqrt().clamp(min=FLAT).log())

    def evened(self, frames: Tensor) -> Tensor:
        """Frames with their colour and contrast removed."""
        return (frames - self.mean[..., None, None]) / self.spread.exp()[..., None, None]


@dataclass(frozen=True)
class Reference:
    """The first chunk, with which later ones are compared."""

    picture: Tensor  # (1, 3, rows, columns): the mean of its cells
    own: Colours  # (1, 3): mean difference of its frames from this mean picture, which has less contrast

    @classmethod
    def of(cls, cells: Tensor, shares: Tensor) -> Reference:
        picture = cells.mean(0, keepdim=True)
        found, wanted = _compared(cells, picture, shares)
        mean, spread = wanted.mean - found.mean, wanted.spread - found.spread
        return cls(picture, Colours(mean.mean(0, keepdim=True), spread.mean(0, keepdim=True)))


class ColourHold:
    """Gives each chunk the first one's mean and contrast in every channel: `frames = hold(frames)`, chunk by chunk.

    Both are measured where `weights` are and where a frame still shows what was there at first: a turning head is not
    a change of colour. The correction is a straight line over the chunk's time, so changes between single frames are
    left alone. To resume after an interruption, show it the first chunk again, or restore `reference`.
    """

    def __init__(self, weights: Tensor):
        away = 1 - weights[None, None].float()
        self.shares = _shares(
            1 - F.adaptive_max_pool2d(away, _grid(away))[0, 0]
        )  # cells that are partly lips count as lips
        self.reference: Reference | None = None

    def __call__(self, frames: Tensor) -> Tensor:
        cells, shares = _cells(frames), self.shares.to(frames)
        if self.reference is None:
            self.reference = Reference.of(cells, shares)
            return frames
        own, picture = self.reference.own, self.reference.picture.to(cells)
        found, wanted = _compared(cells, picture, shares)
        gain = _line(wanted.spread - found.spread - own.spread.to(cells)).exp().clamp(*GAINS)[..., None, None]
        shift = _line(wanted.mean - found.mean - own.mean.to(cells)).clamp(-SHIFT, SHIFT)[..., None, None]
        mean = _line(found.mean)[..., None, None]
        return ((frames - mean) * gain + mean + shift).clamp(0, 1)


def _compared(cells: Tensor, reference: Tensor, shares: Tensor) -> tuple[Colours, Colours]:
    """Colours of each frame and of the reference, where both show the same thing."""
    mean = (reference * shares).sum((2, 3), keepdim=True)
    apart, drift = (cells - reference).abs(), SHIFT + (GAINS[1] - 1) * (reference - mean).abs()
    same = _where((apart < drift).all(1, keepdim=True) * shares, shares)  # motion would spoil the first comparison
    for _ in range(PASSES):
        found, wanted = Colours.of(cells, same), Colours.of(reference, same)
        change = (found.evened(cells) - wanted.evened(reference)).abs().amax(1, keepdim=True)
        same = _where((1 - change / MOVED).clamp(min=0) * shares, shares)
    return Colours.of(cells, same), Colours.of(reference, same)


def _where(left: Tensor, shares: Tensor) -> Tensor:
    """Keep the shares in `left`, normalised to a sum of 1 per frame; keep all where too little is left."""
    there = left.sum((2, 3), keepdim=True)
    return torch.where(there > LEAST_SAME, left / there.clamp(min=LEAST_SAME), shares)


def _line(values: Tensor) -> Tensor:
    """The least-squares line through each column, or its mean if there are too few rows for a slope."""
    mean = values.mean(0)
    if len(values) < 3:
        return mean.expand_as(values)
    time = torch.arange(len(values)).to(values)[:, None]
    time = time - time.mean()
    return mean + time * (time * values).sum(0) / time.square().sum()


# ---- joints


def seam_fade(last: Tensor, frames: Tensor, lips: Tensor, count: int) -> Tensor:
    """Fade out a chunk's offset from the one before over its first `count` frames, everywhere but on the lips.

    last (3, height, width): the frame shown before. An extrapolation to the next frame would only add noise. Where
    `lips` is 1, nothing is changed.
    """
    offset = (1 - lips).to(frames) * (last.to(frames) - frames[0])
    left = 1 - torch.arange(1, count + 1).to(frames)[: len(frames), None, None, None] / (count + 1)
    return torch.cat([(frames[:count] + left * offset).clamp(0, 1), frames[count:]])


class SeamFade:
    """Applies `seam_fade` from chunk to chunk: `frames = fade(frames)`; the first chunk is returned unchanged."""

    def __init__(self, lips: Tensor, count: int):
        self.lips, self.count = lips, count
        self.last: Tensor | None = None

    def __call__(self, frames: Tensor) -> Tensor:
        faded = frames if self.last is None else seam_fade(self.last, frames, self.lips, self.count)
        self.last = faded[-1].clone()
        return faded


# ---- figures


@dataclass(frozen=True)
class Drift:
    """Drift of one chunk from the first; lips do not count, except for `seam`."""

    colour: float  # mean difference of the channels' means, in levels of 255
    contrast: float  # ratio of the standard deviations
    sharpness: float  # ratio of the energies of the Laplacian
    identity: float  # of the face's structure: 0 the same, 1 nothing in common; see `Structure`
    seam: float  # change across the joint to the chunk before, over the usual change between frames; the first has none


class Structure:
    """Distance of faces from a reference face, independent of colours, contrast and small movements.

    Pictures are compared as grids of coarse cells, without fine detail. Brightness and contrast are evened out around
    every cell, so that shapes remain, and the best match among all small shifts counts. It is not a recogniser: it
    notices a face that melts into another picture, but does not distinguish people who look alike.
    """

    def __init__(self, face: Tensor, frames: Tensor):
        """face: its weights; frames: those whose mean is the reference face."""
        self.face = _cells(_shares(face).to(frames)[None, None])[0, 0]
        self.wanted = self._evened(frames).mean(0)

    def difference(self, frames: Tensor) -> float:
        """The mean over frames of 1 - correlation."""
        evened = self._evened(frames)
        moved = [
            torch.roll(evened, (down, across), (1, 2))
            for down in range(-SHIFTS, SHIFTS + 1)
            for across in range(-SHIFTS, SHIFTS + 1)
        ]
        alike = torch.stack([self._correlation(frames) for frames in moved])
        return 1 - float(alike.amax(0).mean())

    def _correlation(self, frames: Tensor) -> Tensor:
        both = (frames * self.wanted * self.face).sum((1, 2))
        energy = (frames.square() * self.face).sum((1, 2)) * (self.wanted.square() * self.face).sum()
        return both / energy.sqrt().clamp(min=1e-6)

    def _evened(self, frames: Tensor) -> Tensor:
        """(n, rows, columns)"""
        cells = F.avg_pool2d(_cells(frames.mean(1, keepdim=True)), 3, 1, 1, count_include_pad=False)
        mean = _around(cells)
        deviation = (_around(cells.square()) - mean.square()).clamp(min=0).sqrt()
        return ((cells - mean) / (deviation + FAINT))[:, 0]


def _around(cells: Tensor) -> Tensor:
    return F.avg_pool2d(cells, AROUND, 1, AROUND // 2, count_include_pad=False)


class DriftMeter:
    """Measures the drift of chunks, given in order as they are shown: `drift = meter(frames)`."""

    def __init__(self, weights: Tensor, face: Tensor):
        """weights: where to measure colour, contrast and sharpness; face: where the face is. See `outside_lips`."""
        self.shares, self.face = _shares(weights), face
        self.chunks: list[Drift] = []
        self.frames = 0
        self._first: _Look | None = None
        self._structure: Structure | None = None
        self._last: Tensor | None = None
        self._changes = torch.zeros(0)  # from frame to frame within the chunk before

    def __call__(self, frames: Tensor) -> Drift:
        frames = frames.float()
        look = _Look.of(frames, self.shares.to(frames))
        if self._first is None or self._structure is None:
            self._first, self._structure = look, Structure(self.face, frames)
        drift = look.against(self._first, self._structure.difference(frames), self._seam(frames))
        self.chunks.append(drift)
        self.frames += len(frames)
        return drift

    def _seam(self, frames: Tensor) -> float:
        inside = _changes(frames[:-1], frames[1:])
        usual = torch.cat([self._changes.to(inside), inside])
        joint = math.nan
        if self._last is not None:
            across = float(_changes(self._last[None], frames[:1]))
            joint = across / max(float(usual.quantile(0.5)), STILL) if len(usual) else math.nan
        self._changes, self._last = inside if len(inside) else self._changes, frames[-1].clone()
        return joint

    def curves(self) -> dict[str, list[float]]:
        """Each figure, chunk by chunk."""
        return {field.name: [getattr(drift, field.name) for drift in self.chunks] for field in fields(Drift)}

    def summary(self) -> str:
        """The figures in a sentence."""
        if len(self.chunks) < 2:
            return "The clip is one chunk long: nothing can drift."
        curves, long = self.curves(), clock(self.seconds, self.seconds)
        colour = curves["colour"]
        farthest = clock(colour.index(max(colour)) / len(colour) * self.seconds, self.seconds)
        joints = float(torch.tensor(curves["seam"]).nanmedian())
        return (
            f"Against its first chunk, {long} of video keep their colour within {max(colour):.1f} of {LEVELS} levels "
            f"(farthest at {farthest}), contrast {_range(curves['contrast'])}, sharpness "
            f"{_range(curves['sharpness'])}; the face differs by at most {max(curves['identity']):.2f} "
            f"({curves['identity'][0]:.2f} in the first chunk); a joint changes the picture {joints:.1f} times as much "
            "as a step inside chunks does."
        )

    def plot(self, title: str = "") -> Picture:
        return drift_plot({title: self})

    @property
    def seconds(self) -> float:
        return self.frames / FPS


def drift_plot(meters: Mapping[str, DriftMeter]) -> Picture:
    """Plot the figures of one or several clips, one panel per figure, with the clips in the legend."""
    seconds = max(meter.seconds for meter in meters.values())
    panels = []
    for figure, title in PANELS.items():  # one legend, above the first panel, serves all
        names = meters if not panels else [""] * len(meters)
        curves = [Curve(name, meter.curves()[figure]) for name, meter in zip(names, meters.values(), strict=True)]
        panels.append(plot(curves, seconds=seconds, size=PANEL, title=title))
    return stacked(panels)


@dataclass(frozen=True)
class _Look:
    """A chunk's mean appearance."""

    mean: Tensor  # (3)
    spread: Tensor  # (3)
    energy: float  # of the Laplacian of its brightness

    @classmethod
    def of(cls, frames: Tensor, shares: Tensor) -> _Look:
        thinned = _thinned(shares)
        colours = Colours.of(_thinned(frames), thinned / thinned.sum())
        return cls(colours.mean.mean(0), colours.spread.mean(0), _sharpness(frames[::SHARP], shares))

    def against(self, first: _Look, identity: float, seam: float) -> Drift:
        return Drift(
            colour=LEVELS * float((self.mean - first.mean).abs().mean()),
            contrast=math.exp(float((self.spread - first.spread).mean())),
            sharpness=max(self.energy, FAINT**2) / max(first.energy, FAINT**2),
            identity=identity,
            seam=seam,
        )


def _sharpness(frames: Tensor, shares: Tensor) -> float:
    grey = frames.mean(1)
    inner = grey[:, 1:-1, 1:-1]
    edges = grey[:, :-2, 1:-1] + grey[:, 2:, 1:-1] + grey[:, 1:-1, :-2] + grey[:, 1:-1, 2:] - 4 * inner
    return float((edges.square() * shares[1:-1, 1:-1]).sum((1, 2)).mean())


def _changes(before: Tensor, after: Tensor) -> Tensor:
    return (_thinned(after) - _thinned(before)).abs().mean((1, 2, 3))


def _thinned(maps: Tensor) -> Tensor:
    """Every other pixel down and across, which is enough for averages."""
    return maps[..., ::2, ::2]


def _range(values: Sequence[float]) -> str:
    return f"{min(values):.2f} to {max(values):.2f}"


# ---- settings


@dataclass(frozen=True)
class Steadiness:
    """Measures against drift in long clips. By default none, as in the original."""

    overlap: int = 0  # frames at a chunk's end that the next one repeats
    hold_colours: bool = False
    fade: int = 0  # frames over which a joint fades out
    anchor_every: float = 0.0  # seconds after which, in a pause, a chunk continues from the portrait; 0: never

    def anchors(self, levels: Tensor, starts: Sequence[int]) -> list[int]:
        """The chunks that continue from the portrait. levels (frames) in dB; starts: the first frame of each chunk."""
        every = round(self.anchor_every * FPS)
        return anchors(levels, starts, every) if every else []

    def steady(self, portrait: Portrait) -> Callable[[Tensor], Tensor]:
        """A callback for `animate` that corrects the frames of each chunk."""
        outside = outside_lips(portrait)
        tools: list[Callable[[Tensor], Tensor]] = []
        if self.hold_colours:
            tools.append(ColourHold(outside))
        if self.fade:
            tools.append(SeamFade(1 - outside, self.fade))

        def steady(frames: Tensor) -> Tensor:
            for tool in tools:
                frames = tool(frames)
            return frames

        return steady
