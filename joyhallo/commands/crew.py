"""Who works: this process, others on this machine, or a Ray cluster. Nothing here takes long to import."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

Job = TypeVar("Job")
Result = TypeVar("Result")


class CrewError(ValueError):
    """A choice of workers that makes no sense; the message is for the user."""


@dataclass(frozen=True)
class Crew:
    workers: int = 0  # processes; 0: this one alone, and on Ray as many as there is room for
    ray: str | None = None  # the address of a cluster
    gpus: float = 0.0  # of each worker there

    def __post_init__(self) -> None:
        if self.workers < 0:
            raise CrewError(f"--workers {self.workers}: expected 0 for this process alone, or a number of processes.")
        if self.gpus and not self.ray:
            raise CrewError(
                f"--gpus {self.gpus:g} was given without --ray; expected both, or neither with --device cuda."
            )

    @property
    def is_alone(self) -> bool:
        return not (self.workers or self.ray)

    def each(
        self, task: Callable[[Job], Result], jobs: Sequence[Job], lost: Callable[[Job, str], Result]
    ) -> Iterator[Result]:
        """Results as they come. lost: what becomes of a job whose process died"""
        from .. import work

        if self.ray:
            return work.each_on_ray(task, jobs, self.ray, lost, self.gpus, self.workers)
        return work.each(task, jobs, self.workers, lost)


ALONE = Crew()
