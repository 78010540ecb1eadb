"""The figures of a set: means with their intervals, over how many clips, and whether the controls let them speak."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from ..measures.scores import MOVED
from ..measures.table import SHIFTED, Measure, follows, gain
from ..measures.vbench import mean_of_set
from .figures import interval
from .records import Record
from .sets import OfSet

TRUTH = "truth"  # real footage, measured the same way
ENOUGH = 3  # clips of which an interval is told


@dataclass(frozen=True)
class Row:
    """One measure of the whole set."""

    measure: Measure
    value: float | None
    low: float | None = None  # 95 %, of clips drawn again
    high: float | None = None
    known: int = 0  # clips that have it
    clips: int = 0
    controls: dict[str, float] = field(default_factory=dict)
    says_nothing: str = ""  # why, where a control does as well

    @property
    def count(self) -> str:
        return f"{self.known} of {self.clips}"


def summarised(measures: Sequence[Measure], records: Sequence[Record], of_set: Mapping[str, OfSet]) -> list[Row]:
    return [_row(measure, records, of_set) for measure in measures]


def _row(measure: Measure, records: Sequence[Record], of_set: Mapping[str, OfSet]) -> Row:
    name = measure.name
    if measure.over == "set":
        whole = of_set.get(name)
        return Row(measure, whole and whole.value, known=whole.clips if whole else 0, clips=len(records))
    having = [record for record in records if name in record.values]
    values = [record.values[name] for record in having]
    if not values:
        return Row(measure, None, clips=len(records))
    counts = [record.counts[name] if measure.over == "frames" else 1 for record in having]
    low, high = interval(values) if len(values) >= ENOUGH else (None, None)
    told = {control: _mean(name, control, having) for control in (*measure.controls, TRUTH)}
    controls = {control: mean for control, mean in told.items() if mean is not None}
    mean, silent = mean_of_set(values, counts), _silent(measure, having)
    return Row(measure, mean, low, high, len(values), len(records), controls, silent)


def _mean(name: str, control: str, records: Sequence[Record]) -> float | None:
    values = [record.controls[control][name] for record in records if name in record.controls.get(control, {})]
    return float(np.mean(values)) if values else None


def _silent(measure: Measure, records: Sequence[Record]) -> str:
    """Why a measure says nothing here: a control that is as good in the mean, or perhaps by chance alone."""
    for control in measure.controls:
        pairs = [
            (record.values[measure.name], record.controls[control][measure.name])
            for record in records
            if measure.name in record.controls.get(control, {})
        ]
        if not pairs:
            continue
        if control == SHIFTED:
            if not follows(measure, float(np.median([told - value for value, told in pairs]))):
                return MOVED
            continue
        gains = [gain(measure, value, told) for value, told in pairs]
        if float(np.mean(gains)) <= measure.margin or (len(gains) >= ENOUGH and interval(gains)[0] <= 0):
            return f"the {control} control does as well"
    return ""
