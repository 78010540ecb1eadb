"""How a face looks over the time of a film: colour, contrast and sharpness, against its start or a portrait.

Sharpness is the variance of the Laplacian of the brightness. As a number it says little, as it depends on what is
seen: it is told as a ratio. Faces are brought to one size before, so that near and far ones can be compared.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from ..faces.boxes import Box

SIDE = 128  # pixels of the faces that are compared
BRIGHTNESS = (0.299, 0.587, 0.114)  # shares of R, G and B
NOTHING = float("nan")


@dataclass(frozen=True)
class Look:
    """(frames) each, float64 in levels of 255; NaN where no face was found."""

    colour: Tensor  # (frames, 3): mean of the channels
    contrast: Tensor  # standard deviation of the brightness
    sharpness: Tensor  # variance of its Laplacian

    @classmethod
    def joined(cls, looks: Iterable[Look]) -> Look:
        parts = list(looks)
        return cls(*(torch.cat([getattr(part, name) for part in parts]) for name in cls.__dataclass_fields__))

    def part(self, frames: slice) -> Look:
        return Look(self.colour[frames], self.contrast[frames], self.sharpness[frames])


@dataclass(frozen=True)
class Change:
    colour: float  # mean difference of the channels' means, in levels of 255
    contrast: float  # ratio
    sharpness: float  # ratio


class Looks:
    """Gathers the look of a film's face, which is shown to it piece after piece: `see(frames, boxes)`."""

    def __init__(self) -> None:
        self._found: list[Look] = []

    def see(self, frames: Tensor, boxes: Sequence[Box | None]) -> None:
        """frames: uint8 (n, height, width, 3); boxes: of the face in each, None where there is none."""
        self._found.append(look(frames, boxes))

    @property
    def look(self) -> Look:
        return Look.joined(self._found)


def look(frames: Tensor, boxes: Sequence[Box | None]) -> Look:
    if len(frames) != len(boxes):
        raise ValueError(f"{len(boxes)} boxes for {len(frames)} frames; give one for each, or None.")
    faces = torch.stack([_face(frame, box) for frame, box in zip(frames, boxes, strict=True)])
    grey = (faces * faces.new_tensor(BRIGHTNESS).view(3, 1, 1)).sum(1)
    edges = grey[:, :-2, 1:-1] + grey[:, 2:, 1:-1] + grey[:, 1:-1, :-2] + grey[:, 1:-1, 2:] - 4 * grey[:, 1:-1, 1:-1]
    return Look(faces.mean((2, 3)), grey.std((1, 2), correction=0), edges.flatten(1).var(1, correction=0))


def _face(frame: Tensor, box: Box | None) -> Tensor:
    """(3, SIDE, SIDE)"""
    height, width = frame.shape[:2]
    if box is None:
        return torch.full((3, SIDE, SIDE), NOTHING, dtype=torch.float64)
    left, right = (min(max(0, round(side)), width) for side in (box.left, box.right))
    top, bottom = (min(max(0, round(side)), height) for side in (box.top, box.bottom))
    if right <= left or bottom <= top:
        return torch.full((3, SIDE, SIDE), NOTHING, dtype=torch.float64)
    face = frame[top:bottom, left:right].permute(2, 0, 1)[None].double()
    return F.interpolate(face, (SIDE, SIDE), mode="bilinear", antialias=True)[0]


def changed(found: Look, start: Look) -> Change:
    """From one look's mean to another's: of a film's end and its start, or of a film and its portrait."""
    colours, contrasts, sharpnesses = (
        [getattr(one, name).nanmean(0) for one in (found, start)] for name in ("colour", "contrast", "sharpness")
    )
    return Change(
        float((colours[0] - colours[1]).abs().mean()),
        float(contrasts[0] / contrasts[1]),
        float(sharpnesses[0] / sharpnesses[1]),
    )


def drift(found: Look, fps: float) -> Change:
    """Of the last second against the first; NaN where one of them shows no face."""
    second = max(1, round(fps))
    return changed(found.part(slice(-second, None)), found.part(slice(second)))


def drifting(found: Look, fps: float) -> list[Change]:
    """Second by second, against the first one."""
    second = max(1, round(fps))
    parts = [found.part(slice(at, at + second)) for at in range(0, len(found.contrast), second)]
    return [changed(part, parts[0]) for part in parts]
