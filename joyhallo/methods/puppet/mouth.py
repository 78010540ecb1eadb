"""How lips, jaw and cheeks move: for each place of the mouth's own coordinates, where in the picture it comes from.

Above the line where the lips meet everything hangs from the skull, below it everything follows the jaw; between the two
layers the mouth opens. All maps go from the frame back to the picture, and are smooth, so that a coarse grid will do.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...faces.boxes import Points
from ...faces.warp import read_at
from .easing import smooth
from .face import Features

REACH = 2.8  # half widths of the lips to either side: the field is still beyond
ABOVE = 0.75  # half widths over the nose's lower end
COLUMNS = 161  # of the table of lines
FINEST, COARSEST = 121, 49  # columns and rows of the field
WIDEST = 0.80  # half widths by which the lips part in the middle
MOST_OPEN = 1.3  # the most that an opening is followed
PARTED = 0.14  # lips further apart than this show teeth in the picture itself
NECK = 1.1  # half widths below the chin over which its movement fades

WIDER, NARROWER, PURSED, TALLER = 0.16, 0.24, 0.05, 0.04  # of the mouth's width: spread, narrow, pursed, open
RAISED = 0.17  # share of the opening by which the upper lip rises
CORNER = 0.10  # share of the opening by which the corners fall
JAW = 0.80  # the chin's movement, of the lower lip's
WET = 0.3  # of a parted lower lip, which turns in when it shuts: its gloss would look like teeth
RIM = 0.3  # half widths inside of the face's outline over which the movement of widening lips fades
CHEEK = 0.05  # half widths by which cheeks rise when spread

Knot = tuple[Tensor | float, Tensor]  # a height, and the movement there


@dataclass(frozen=True)
class Shapes:
    """The mouth in each frame, (n) each: see hearing.Articulation."""

    opening: Tensor  # 0..1, more exaggerates
    spread: Tensor  # -1..1
    rounding: Tensor  # 0..1
    press: Tensor
    teeth: Tensor

    def __len__(self) -> int:
        return len(self.opening)


@dataclass(frozen=True)
class Lines:
    """Heights of the lips' lines at equally spaced places from -REACH to REACH, of the picture as it is."""

    upper: Tensor  # (COLUMNS) the inner edges
    lower: Tensor
    meeting: Tensor  # where the lips meet when they are shut
    top: Tensor  # the outer borders
    bottom: Tensor
    parted: float = 0.0  # how far the picture's own mouth is open

    @classmethod
    def of(cls, face: Features) -> Lines:
        places = np.linspace(-REACH, REACH, COLUMNS)
        upper, lower, top, bottom = (
            _at(places, line) for line in (face.inner_upper, face.inner_lower, face.outer_upper, face.outer_lower)
        )
        parted = float((lower - upper)[np.abs(places) < 0.5].mean())
        if parted < PARTED:  # the mesh shows closed mouths up to 0.08 open
            upper = lower = meeting = (upper + lower) / 2
            parted = 0.0
        else:
            meeting = 0.35 * upper + 0.65 * lower
        top, bottom = np.minimum(top, upper), np.maximum(bottom, lower)
        given = (torch.from_numpy(line).float() for line in (upper, lower, meeting, top, bottom))
        return cls(*given, parted=parted)


def _at(places: NDArray[np.float64], line: Points) -> NDArray[np.float64]:
    """A line's height at other places, smoothed; zero, the corners' height, beyond its ends."""
    bell = np.hanning(9)
    heights = np.interp(places, line[:, 0], line[:, 1], left=0.0, right=0.0)
    return np.convolve(np.pad(heights, 4, "edge"), bell / bell.sum(), "valid").astype(np.float64)


@dataclass(frozen=True)
class Field:
    """On a grid over the mouth: how far the picture under each place has moved, and how deep it lies in the mouth."""

    values: Tensor  # (n, 5, rows, columns), in half widths: the movement across; that down, of what hangs from the
    #                 skull and of what follows the jaw; then how far a place lies below the upper lip's edge, and above
    #                 the lower lip's: the mouth is open where both are positive
    drop: Tensor  # (n) by which the lower teeth follow the jaw
    rounding: Tensor  # (n)


@dataclass(frozen=True)
class Lip:
    """(n, columns) each, in half widths."""

    edge: Tensor  # where the inner edge is
    moved: Tensor  # by which it is lower than in the picture
    border: Tensor  # where the outer border is in the picture
    shifted: Tensor  # by which that is lower

    @property
    def inner(self) -> Knot:
        return self.edge, self.moved

    @property
    def outer(self) -> Knot:
        return self.border + self.shifted, self.shifted


def sampled(field: Tensor, uv: Tensor, bounds: tuple[float, float, float, float]) -> Tensor:
    """A field (n, channels, rows, columns) over left, right, top, bottom, at places (n, 2, h, w)"""
    left, right, top, bottom = bounds
    u, v = uv.unbind(1)
    grid = torch.stack([(u - left) * (2 / (right - left)) - 1, (v - top) * (2 / (bottom - top)) - 1], dim=-1)
    return read_at(field, grid)


class Mouth:
    def __init__(self, face: Features, device: torch.device | None = None):
        self.lines = Lines.of(face)
        self.nose, self.chin, self.side = face.nose, face.chin, face.side
        reach = min(REACH, 1.45 * self.side)
        self.bounds = (-reach, reach, self.nose - ABOVE, self.chin + NECK + 0.25)  # left, right, top, bottom
        self._ends = float(self.lines.upper.min()), float(self.lines.lower.max())
        self.u, self.v = (
            torch.linspace(start, end, _cells((end - start) * face.mouth.unit), device=device)
            for start, end in (self.bounds[:2], self.bounds[2:])
        )
        self.table = torch.stack(
            [self.lines.upper, self.lines.lower, self.lines.meeting, self.lines.top, self.lines.bottom]
        ).to(self.u)
        self._cheeks, self._still = self._cheek_places(), self._still_places()
        # How much of the lips' widening each column and each place shares; the face keeps its outline.
        here = self._outline(face, torch.zeros(1))[0]
        side = (self.side * here / ((here[0] + here[-1]) / 2)).clamp(0.8, self.side)
        self._fade = torch.exp(-((self.u / (0.75 * side).clamp(max=1.9)) ** 4))
        within = smooth((self._outline(face, self.v) - self.u.abs()) / RIM)
        self._level = torch.exp(-((self.v / 1.15) ** 4))[:, None] * within

    def gap_bounds(self, opening: float) -> tuple[float, float, float, float]:
        """Left, right, top and bottom of what may be between lips that are so far open at the most"""
        upper, lower = self._ends
        return -1.1, 1.1, upper - 0.3, lower + 0.1 + WIDEST * min(opening, MOST_OPEN)

    def field(self, shapes: Shapes) -> Field:
        opening = shapes.opening.clamp(0, MOST_OPEN)
        dropped = (1 - RAISED) * WIDEST * opening  # by the jaw
        source = self._columns(shapes, opening[:, None])
        upper, lower = self._edges(source, shapes, opening[:, None], self._lines_at(source))
        above, below = self._above(upper), self._below(lower, source, shapes, dropped[:, None])
        rise = CHEEK * shapes.spread.clamp(min=0)[:, None, None] * self._cheeks
        across = (self.u - source)[:, None] * self._level
        across = across + 0.02 * opening[:, None, None] * torch.sign(self.u) * self._cheeks
        still, v = self._still, self.v[None, :, None]
        movement = [across * still, (above - rise) * still, (below - rise) * still]
        depth = [_beyond(upper.edge, v, self.u), -_beyond(lower.edge, v, self.u)]
        return Field(torch.stack([*movement, *depth], dim=1), dropped, shapes.rounding)

    def _columns(self, shapes: Shapes, opening: Tensor) -> Tensor:
        """(n, columns): which column of the picture each column shows."""
        wide, narrow = shapes.spread.clamp(min=0)[:, None], shapes.spread.clamp(max=0).neg()[:, None]
        pursed = shapes.rounding[:, None]
        width = 1 + WIDER * wide - NARROWER * narrow - PURSED * pursed - TALLER * opening.clamp(max=1)
        return self.u / (1 + (width - 1) * self._fade)

    def _edges(self, source: Tensor, shapes: Shapes, opening: Tensor, lines: Tensor) -> tuple[Lip, Lip]:
        """Where both lips are, and how far they have moved there."""
        wide, rounding, press, teeth = (
            value[:, None] for value in (shapes.spread.clamp(min=0), shapes.rounding, shapes.press, shapes.teeth)
        )
        upper, lower, meeting, top, bottom = lines
        gap = self._gap(source, opening, wide, rounding)
        inside = _bump(source.abs(), 1.02)  # 1 in the mouth's middle, 0 at its corners
        fall = CORNER * WIDEST * opening * torch.exp(-((source / 1.7) ** 4))
        bite = teeth * inside
        edge_up = meeting + fall - RAISED * gap - 0.05 * bite
        edge_down = meeting + fall + (1 - RAISED - CORNER) * gap - 0.02 * bite
        edge_down = torch.maximum(edge_down, edge_up)
        # Lips that are pressed or bitten roll in, and rounded ones swell.
        rolled = 0.30 * press + 0.10 * bite - 0.16 * rounding
        tucked = 0.30 * press + 0.45 * bite - 0.14 * rounding
        border_up = 0.6 * (edge_up - upper) + inside * (upper - top) * rolled
        border_down = 0.94 * (edge_down - lower) - inside * (bottom - lower) * tucked
        inner = lower + WET * inside * (bottom - lower) * self._closed(opening)
        return Lip(edge_up, edge_up - upper, top, border_up), Lip(edge_down, edge_down - inner, bottom, border_down)

    def _closed(self, opening: Tensor) -> Tensor:
        """1 for lips that are shut, 0 for those as far apart as the picture's own"""
        own = self.lines.parted
        return (1 - opening * (WIDEST / own)).clamp(min=0) if own else torch.zeros_like(opening)

    def _above(self, lip: Lip) -> Tensor:
        """(n, rows, columns): movement down, from the nose, which stays, to the upper lip's edge"""
        nose = (self.nose - 0.05, torch.zeros_like(lip.moved))
        return _through(self.v[None, :, None], nose, lip.outer, lip.inner)

    def _below(self, lip: Lip, source: Tensor, shapes: Shapes, dropped: Tensor) -> Tensor:
        """The same from the lower lip's edge to the chin and the neck"""
        v, across = self.v[None, :, None], torch.exp(-((self.u / (0.85 * self.side)) ** 4))
        jaw = JAW * dropped * across - 0.03 * shapes.press[:, None] * _bump(self.u.abs(), 1.2)
        chin = self.chin + jaw
        beside = torch.lerp(torch.full_like(source, 1.35), lip.border + 0.5, _bump(source.abs(), 1.6))
        beside = torch.minimum(beside, chin - 0.2)
        moved = _through(v, lip.inner, lip.outer, (beside + jaw, jaw), (chin, jaw))
        return moved * (1 - smooth((v - chin[:, None]) / NECK))

    def own_teeth(self) -> Tensor:
        """(1, 1, rows, columns): where the picture shows what lies between its lips"""
        upper, lower = self.table[0], self.table[1]
        within = torch.minimum(self.v[:, None] - upper, lower - self.v[:, None])
        return smooth((within - 0.015) / 0.05)[None, None]

    def _lines_at(self, places: Tensor) -> Tensor:
        """(5, n, columns): the picture's lines at these places."""
        at = ((places + REACH) / (2 * REACH) * (COLUMNS - 1)).clamp(0, COLUMNS - 1.001)
        before = at.long()
        return torch.lerp(self.table[:, before], self.table[:, before + 1], at - before)

    def _gap(self, u: Tensor, opening: Tensor, wide: Tensor, rounding: Tensor) -> Tensor:
        """How far the lips are apart: an arch, which is round for round vowels and long for open ones."""
        reach = 0.80 + 0.17 * (1.6 * opening).clamp(max=1) - 0.12 * rounding
        power = 0.62 + 0.2 * wide + 0.1 * rounding
        arch = (1 - (u / reach) ** 2).clamp(min=0) ** power
        return WIDEST * opening * arch

    def _outline(self, face: Features, heights: Tensor) -> Tensor:
        """(heights, columns): how far the face reaches on each column's side, which differs where a head is turned"""
        here = np.append(face.mouth.of(face.outline), [[0.0, self.chin]], axis=0)
        here = here[here[:, 1].argsort()]
        left, right = (
            torch.from_numpy(np.interp(heights.cpu().numpy(), side[:, 1], np.abs(side[:, 0]))).to(self.u)[:, None]
            for side in (here[here[:, 0] <= 0], here[here[:, 0] >= 0])
        )
        return torch.where(self.u < 0, left, right)

    def _cheek_places(self) -> Tensor:
        """(rows, columns): 1 on both cheeks, beside and above the corners."""
        across = torch.exp(-(((self.u.abs() - 0.72 * self.side) / 0.55) ** 2))
        return across[None] * torch.exp(-(((self.v + 0.35) / 0.75) ** 2))[:, None]

    def _still_places(self) -> Tensor:
        """(rows, columns): 0 along the grid's rim."""
        left, right, top, bottom = self.bounds
        across = smooth((self.u - left) / 0.4) * smooth((right - self.u) / 0.4)
        return (smooth((self.v - top) / 0.25) * smooth((bottom - self.v) / 0.25))[:, None] * across[None]


def _cells(pixels: float) -> int:
    return int(min(FINEST, max(COARSEST, pixels / 1.5)))


def _beyond(line: Tensor, v: Tensor, u: Tensor) -> Tensor:
    """(n, rows, columns): how far heights v lie below a line (n, columns) over places u, square to the line"""
    slope = torch.gradient(line, spacing=(u,), dim=1)[0]
    return (v - line[:, None]) / (1 + slope.square()).sqrt()[:, None]


def _bump(distance: Tensor, reach: float) -> Tensor:
    return (1 - (distance / reach) ** 2).clamp(min=0)


def _through(v: Tensor, *knots: Knot) -> Tensor:
    """(n, rows, columns): from one height's movement (n, columns) to the next one's; level beyond the ends."""
    first, movement = knots[0]
    value = movement[:, None].expand(-1, v.shape[1], -1)
    for at, movement in knots[1:]:
        start = first[:, None] if isinstance(first, Tensor) else first
        end = at[:, None] if isinstance(at, Tensor) else at
        share = ((v - start) / (torch.as_tensor(end) - start).clamp(min=0.02)).clamp(0, 1)
        value = torch.lerp(value, movement[:, None].expand_as(value), share)
        first = at
    return value
