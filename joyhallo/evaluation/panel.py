"""A panel is a group of measures that are taken together: what it is asked, and what it finds."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from ..files.digests import digest_of
from ..files.journal import key_of
from ..measures.judges import JUDGES
from ..measures.table import MEASURES, Measure
from .one_align import Interpreter
from .showing import Finding, Showing

PROTOCOLS = ("stock", "wav2lip")  # of SyncNet: crops of faces, or whole frames
OPTIONS = {"truth": "--truth", "portrait": "--portrait", "source": "--source"}
QALIGN = (
    "Q-Align: give --qalign-python and --qalign-model (16 GB, from huggingface.co/q-future/one-align); "
    "S-Lab License 1.0, non-commercial"
)
ABSENT = {name: judge.absent for name, judge in JUDGES.items()} | {"qalign": QALIGN}


@dataclass(frozen=True)
class Asked:
    """What is to be measured, and with what; paths alone, so that it can travel."""

    names: tuple[str, ...]
    weights: Mapping[str, Path] = field(default_factory=dict)  # by judge
    finding: Finding = field(default_factory=Finding)
    given: tuple[str, ...] = ()  # of what OPTIONS name
    protocol: str = "stock"
    device: str = "cpu"
    interpreter: Interpreter | None = None  # who runs Q-Align

    def wants(self, measure: Measure) -> bool:
        return measure.name in self.names

    @cached_property
    def hashes(self) -> dict[str, str]:
        return {judge: digest_of(path) for judge, path in sorted(self.weights.items())}

    @property
    def absent(self) -> list[str]:
        """Judges that were asked for but are not there."""
        wanted = {measure.judge: None for measure in MEASURES.values() if self.wants(measure) and measure.judge}
        return [judge for judge in wanted if judge not in self.weights]

    @property
    def possible(self) -> list[Measure]:
        return [one for one in MEASURES.values() if self.wants(one) and (not one.judge or one.judge in self.weights)]

    def why(self) -> dict[str, str]:
        """Why measures that were asked for are there of no clip, by their names."""
        wanted = [measure for measure in MEASURES.values() if self.wants(measure)]
        lacking = {one.name: f"not there: {ABSENT[one.judge]}" for one in wanted if one.judge in self.absent}
        return lacking | {
            one.name: f"give {', '.join(absent)}"
            for one in wanted
            if (absent := [option for need, option in OPTIONS.items() if need in one.needs and need not in self.given])
        }

    @cached_property
    def digest(self) -> str:
        """Of all that figures depend on beside the clip."""
        return key_of(names=sorted(self.names), weights=self.hashes, finding=self.finding.digest,
                      protocol=self.protocol)  # fmt: skip


@dataclass
class Findings:
    values: dict[str, float] = field(default_factory=dict)
    controls: dict[str, dict[str, float]] = field(default_factory=dict)  # by control, then by measure
    counts: dict[str, int] = field(default_factory=dict)  # values that a measure is the mean of, by its name
    curves: dict[str, Sequence[float]] = field(default_factory=dict)  # by what a plot's title says
    missing: dict[str, str] = field(default_factory=dict)  # why a measure has no figure, by its name
    notes: list[str] = field(default_factory=list)
    again: bool = False  # what is missing may be found the next time

    def control(self, name: str, values: Mapping[str, float]) -> None:
        self.controls.setdefault(name, {}).update(values)


@dataclass(frozen=True)
class Panel:
    name: str
    measures: tuple[Measure, ...]
    find: Callable[[Showing, Asked, frozenset[str]], Findings]  # the names are those wanted of its measures

    def wanted(self, asked: Asked) -> frozenset[str]:
        return frozenset(measure.name for measure in self.measures if asked.wants(measure))
