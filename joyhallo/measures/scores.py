"""`Scores`: what was measured of one video, and whether its controls let it say anything; `columns` joins several."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from .table import MEASURES, SHIFT, SHIFTED, Measure, follows, gain


@dataclass(frozen=True)
class Scores:
    """Values by the names of measures."""

    film: str  # tells one video from another
    name: str = ""  # for people
    values: Mapping[str, float] = field(default_factory=dict)
    controls: Mapping[str, Mapping[str, float]] = field(default_factory=dict)  # by control, then by measure
    missing: Mapping[str, str] = field(default_factory=dict)  # why a measure has no value
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """A value that is not a number is a missing one."""
        lost = {name: NO_NUMBER for name, value in self.values.items() if not math.isfinite(value)}
        if lost:
            kept = {name: value for name, value in self.values.items() if name not in lost}
            object.__setattr__(self, "values", kept)
            object.__setattr__(self, "missing", {**self.missing, **lost})

    @property
    def names(self) -> list[str]:
        """Of the measures, in the order of their table."""
        return [name for name in MEASURES if name in self.values or name in self.missing]

    def silent(self, name: str) -> str:
        """Why a measure says nothing here, if a control does as well."""
        if name not in self.values:
            return ""
        measure = MEASURES[name]
        for control, told in self.controls.items():
            belongs = name in told and control in measure.controls
            if belongs and not _outdoes(measure, self.values[name], told[name], control):
                return MOVED if control == SHIFTED else f"the {control} control does as well"
        return UNFIT if self.silent(OFFSETS.get(name, "")) else ""


OFFSETS = {"lip_offset": "lip_sync", "sync_offset": "sync_c"}  # and what must say something, so that they do
UNFIT = "the lips do not fit this sound better than another"
NO_NUMBER = "it cannot be computed of this video"
MOVED = f"sound that comes {SHIFT} frames later does not move it by as much"


def _outdoes(measure: Measure, value: float, told: float, control: str) -> bool:
    if control == SHIFTED:
        return follows(measure, told - value)
    return gain(measure, value, told) > measure.margin


def columns(scores: Iterable[Scores], names: Sequence[str] = ()) -> list[Scores]:
    """Scores of one video together, each named: as given, or by itself, or by its number.

    Where a measure is known of a video already, as with another sound, the scores get a column of their own.
    """
    joined = list[Scores]()
    for one in scores:
        fitting = (at for at, other in enumerate(joined) if other.film == one.film and not _clash(other, one))
        place = next(fitting, None)
        if place is None:
            joined.append(one)
        else:
            joined[place] = _both(joined[place], one)
    return [replace(one, name=_name(one, at, names, joined)) for at, one in enumerate(joined)]


def _clash(one: Scores, other: Scores) -> bool:
    return any(name in other.values or name in other.missing for name in one.names)


def _both(one: Scores, other: Scores) -> Scores:
    controls = {
        control: {**one.controls.get(control, {}), **other.controls.get(control, {})}
        for control in dict.fromkeys((*one.controls, *other.controls))
    }
    return Scores(
        one.film,
        one.name or other.name,
        {**one.values, **other.values},
        controls,
        {**one.missing, **other.missing},
        (*one.notes, *(note for note in other.notes if note not in one.notes)),
    )


def _name(one: Scores, at: int, names: Sequence[str], all_of_them: Sequence[Scores]) -> str:
    if at < len(names) and names[at]:
        return names[at]
    alike = [other for other in all_of_them if other.name == one.name]
    return one.name if one.name and len(alike) == 1 else f"Video {at + 1}"
