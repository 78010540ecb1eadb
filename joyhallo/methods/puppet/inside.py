"""What is seen between parted lips: teeth, tongue and the dark, in the picture's own light."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ...faces.boxes import Points, around, whole
from .blur import blur
from .easing import smooth
from .face import Features
from .mouth import Lines

# In half widths of the lips, some 25 mm.
TEETH = (0.0, 0.335, 0.585, 0.80, 0.94)  # borders of the upper teeth, from the middle: those behind are seen sideways
LOWER_TEETH = (0.0, 0.2, 0.41, 0.63, 0.8)
INCISORS = 0.11  # by which the upper teeth reach below the line where the lips meet
CHEEK = (-0.6, -0.4, -0.2, 0.0)  # heights beside the mouth where the light is read
NOTCH = 0.016  # by which they are rounded at their borders
DIM, WIDE = 0.58, 0.32  # light on teeth where lips are hardly apart, and half widths apart at which it falls in freely
DARKEST, SAMPLES = 0.004, 20_000  # share of a face that is as dark as the picture gets, among so many of its pixels
SKIN = 1.43  # how much redder than blue skin is in white light
WARM = (0.8, 0.12, -0.8)  # of a light's warmth, in each channel of what is white
MEETING, SEAM = 0.6, 0.09  # how dark the line is where lips meet, and how wide on either side
SOFT, BELL = 2.2, 2.6  # of _soft's and _near's widths for a blur's deviation


@dataclass(frozen=True)
class Palette:
    dark: Tensor  # (3) each
    deep: Tensor
    tongue: Tensor
    teeth: Tensor
    slope: float  # how much brighter the light is on the right, for a half width
    blur: float  # deviation of an edge, in half widths

    @classmethod
    def of(cls, picture: Tensor, face: Features, lines: Lines) -> Palette:
        """picture (3, height, width) in 0..1"""

        def at(points: Points) -> Tensor:
            return face.mouth.colours(picture, points)

        lip = at(0.9 * np.concatenate([face.outer_upper, face.outer_lower])).median(dim=1).values
        left, right = (at(np.array([[sign * u, v] for u in (1.3, 1.5) for v in CHEEK])) for sign in (-1, 1))
        cheeks = torch.cat([left, right], dim=1)
        slope = float((right.mean() - left.mean()) / (cheeks.mean() * 2.8 + 1e-3))
        black = _black(picture, face)
        return cls(
            _dyed(lip, black, 0.22, 0.15, 0.15),
            _dyed(lip, black, 0.45, 0.26, 0.27),
            _dyed(lip, black, 0.80, 0.60, 0.60),
            _own(at, face) if lines.parted else _white(cheeks, _eye_white(picture, face)),
            max(-0.3, min(0.3, slope)),
            blur(picture, face),
        )

    def lit(self, colour: Tensor, light: Tensor) -> Tensor:
        """(n, 3, h, w): a colour under so much light (n, h, w), from the dark on"""
        dark, colour = (one[None, :, None, None] for one in (self.dark, colour))
        return dark + (colour - dark) * light[:, None]


def _dyed(lip: Tensor, black: Tensor, *factors: float) -> Tensor:
    """From black to the lip's colour, a share for each channel, or grey where lips are: in old photographs, in stone"""
    channels = torch.tensor(factors).to(lip)
    return black + (lip - black).clamp(min=0) * torch.lerp(channels.mean(), channels, _colourful(lip, 0.1))


def _black(picture: Tensor, face: Features) -> Tensor:
    """(3): the darkest that the face shows, which is not black in a faded or hazy picture."""
    place = around(face.outline).within(whole((picture.shape[2], picture.shape[1])))
    seen = picture[(slice(None), *place.slices)].flatten(1)
    seen = seen[:, :: max(1, seen.shape[1] // SAMPLES)]
    return seen[:, seen.mean(0) <= seen.mean(0).quantile(DARKEST)].mean(1)


def _colourful(colour: Tensor, fully: float) -> float:
    """0 for a grey, 1 where channels are `fully` apart"""
    return float(((colour.max() - colour.min()) / fully).clamp(0, 1))


def _own(at: Callable[[Points], Tensor], face: Features) -> Tensor:
    """The teeth that the picture shows: the brighter part of what lies between its lips."""
    shown = [np.stack([face.inner_upper[:, 0], u * face.inner_upper[:, 1] + (1 - u) * face.inner_lower[:, 1]], axis=1)
             for u in (0.35, 0.5, 0.65)]  # fmt: skip
    found = at(np.concatenate([line[np.abs(line[:, 0]) < 0.6] for line in shown]))
    return found[:, found.mean(0) >= found.mean(0).quantile(0.6)].mean(1)


def _white(cheeks: Tensor, eye_white: float) -> Tensor:
    """Teeth in the light that falls on cheeks and eyes."""
    grey = cheeks.mean(0)
    bright = max(1.06 * float(grey.quantile(0.8).clamp(0.15, 0.85)) + 0.05, 0.88 * eye_white)
    middle = cheeks.median(dim=1).values
    warm = 1 + _colourful(middle, 0.2) * torch.tensor([0.02, 0.0, -0.07]).to(cheeks)
    return (bright * _light(middle) * warm).clamp(0, 0.97)


def _light(skin: Tensor) -> Tensor:
    """(3): its colour, 1 in the mean, from how warm it makes the skin; grey pictures and stone have none"""
    red, _, blue = skin.clamp(min=0.02).unbind()
    warmth = 0.5 * ((red / blue).log() - _colourful(skin, 0.2) * math.log(SKIN))
    light = (warmth.clamp(-0.5, 0.5) * torch.tensor(WARM).to(skin)).exp()
    return light / light.mean()


def _eye_white(picture: Tensor, face: Features) -> float:
    """How bright the whites of the eyes are; 0 without eyes."""
    shares = np.linspace(0.25, 0.75, 5)[:, None, None]
    seen = [
        eye.frame.colours(picture, (eye.upper + shares * (eye.lower - eye.upper)).reshape(-1, 2)) for eye in face.eyes
    ]
    return float(torch.cat(seen, dim=1).mean(0).quantile(0.9)) if seen else 0.0


def inside(lines: Lines, palette: Palette, uv: Tensor, depth: Tensor, drop: Tensor, rounding: Tensor) -> Tensor:
    """(n, 3, h, w): the colours inside of the mouth.

    uv (n, 2, h, w): places, in half widths. depth (n, 2, h, w): below the upper and above the lower lip. drop (n): of
    the jaw. The upper teeth stay with the skull, the lower ones follow the jaw.
    """
    u, v = uv.unbind(1)
    under, over = depth.unbind(1)
    gap = (under + over).clamp(min=1e-3)
    drop, rounding = drop[:, None, None], rounding[:, None, None]
    side = u.abs()
    middle = lines.meeting[len(lines.meeting) // 2]

    def colour(of: Tensor) -> Tensor:
        return of[None, :, None, None]

    # The throat is darkest at the top; towards the lower lip the mouth's floor catches light.
    floor = smooth(under / gap)
    seen = torch.lerp(colour(palette.dark), colour(palette.deep), (0.75 * floor)[:, None])

    mound = 1 - (side / 0.62) ** 2
    tongue_top = middle + 0.62 * drop - 0.16 * mound.clamp(min=0) * (drop / 0.5).clamp(max=1) + 0.06
    on_tongue = _soft(v - tongue_top, 0.07) * _soft(mound, 0.25) * ((drop - 0.10) / 0.18).clamp(0, 1)
    lit = (0.62 + 0.5 * ((v - tongue_top) / 0.3).clamp(0, 1)) * (1 - 0.10 * _near(u, 0.08))
    seen = torch.lerp(seen, palette.lit(palette.tongue, lit), on_tongue[:, None])

    lower_top = middle + drop - 0.04 + 0.10 * side**2 + 0.10 * rounding
    light = 1 if lines.parted else DIM + (1 - DIM) * smooth(gap / WIDE)  # the picture's own teeth are in its light
    level = light * (0.72 - 0.2 * rounding)
    seen = _row(seen, palette, u, v - lower_top, over, LOWER_TEETH, reach=0.66, level=level, up=True)
    reaching = INCISORS if not lines.parted else float(lines.lower[len(lines.lower) // 2] - middle)
    upper_edge = middle + reaching - 0.10 * side**2 - 0.14 * rounding
    level = light * (1 - 0.15 * rounding)
    return _row(seen, palette, u, upper_edge - v, under, TEETH, reach=0.86, level=level, up=False)


def contact(uv: Tensor, depth: Tensor) -> Tensor:
    """(n, 1, h, w): how dark it is where lips meet that were apart in the picture; places as those of `inside`"""
    under, over = depth.split(1, dim=1)
    return MEETING * _near(under, SEAM) * _near(over, SEAM) * _near(uv[:, :1], 1.0)


def _row(
    seen: Tensor, palette: Palette, u: Tensor, within: Tensor, below_lip: Tensor, borders: tuple[float, ...],
    reach: float, level: Tensor, up: bool,
) -> Tensor:  # fmt: skip
    """A row of teeth over what is seen. within: how far a place lies on the teeth's side of their edge."""
    side = u.abs()
    near = torch.stack([(side - border).abs() for border in borders]).amin(0)
    edge = within - NOTCH * _line(near, 0.06, palette.blur)
    there = _soft(edge, math.hypot(0.018, SOFT * palette.blur)) * _soft(reach - side, 0.10)
    form = 1 - 0.5 * (side / reach) ** 2.5  # the arch turns away from the light
    form = form * (1 - 0.16 * _line(near, 0.028, palette.blur))  # between two teeth
    form = form * (1 + palette.slope * u)
    shade = 0.66 + 0.34 * smooth(below_lip / (0.08 if up else 0.15))  # the lip's shadow
    translucent = 1 - 0.10 * _near(edge, 0.05)
    lit = palette.lit(palette.teeth, level * form * shade * translucent)
    return torch.lerp(seen, lit, there[:, None])


def _near(distance: Tensor, reach: float) -> Tensor:
    """1 at no distance, 0 from `reach` on: a bell that is cheaper than Gauss's"""
    share = (1 - (distance / reach).square()).clamp(min=0)
    return share * share


def _line(distance: Tensor, reach: float, blur: float) -> Tensor:
    """_near, blurred: wider, and so much fainter"""
    wider = math.hypot(reach, BELL * blur)
    return reach / wider * _near(distance, wider)


def _soft(distance: Tensor, width: float) -> Tensor:
    return smooth(distance / (2 * width) + 0.5)
