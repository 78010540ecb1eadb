"""SOLVERS: DDIM, DPM-Solver++ 2M (arXiv 2211.01095) and UniPC of order 2 (arXiv 2302.04867).

With lambda = log(alpha / sigma) and the clean picture m that a velocity points at, a step from s to t is exactly

    x_t = sigma_t / sigma_s * x_s + (alpha_t - alpha_s * sigma_t / sigma_s) * mean of m

where the mean over lambda is weighted by exp(lambda). DDIM uses m at the beginning of the step. The others remember
the previous m and extrapolate its slope; UniPC also corrects the step once it knows the m at its end. All run the
network once a step.

Pure noise has lambda = -inf: no slope can be measured from there, so the next step uses none. (Diffusers puts pure
noise at a finite lambda, with an alpha of 2**-12; with that alpha the results here equal its results.)
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from torch import Tensor

from .schedule import Schedule, Step


class Solver(Protocol):
    """Advances one chunk from noise to picture; it may remember earlier steps, so each chunk needs a new one."""

    def advance(self, step: Step, x: Tensor, v: Tensor) -> Tensor:
        """Compute x at the step's end from the noisy x at its beginning and the velocity there."""
        ...


class DDIM:
    def advance(self, step: Step, x: Tensor, v: Tensor) -> Tensor:
        return step.advance(x, v)


class DPMSolver2M:
    def __init__(self) -> None:
        self.before: Taken | None = None

    def advance(self, step: Step, x: Tensor, v: Tensor) -> Tensor:
        taken = Taken(step, x, step.clean(x, v))
        result = taken.predict(self.before)
        self.before = taken
        return result


class UniPC:
    def __init__(self) -> None:
        self.before: list[Taken] = []

    def advance(self, step: Step, x: Tensor, v: Tensor) -> Tensor:
        clean = step.clean(x, v)
        if self.before:
            x = self.before[-1].correct(clean, *self.before[:-1])
        taken = Taken(step, x, clean)
        result = taken.predict(*self.before[-1:])
        self.before = [*self.before[-1:], taken]
        return result


class Taken(NamedTuple):
    """A step, with x and the clean picture at its beginning."""

    step: Step
    x: Tensor
    clean: Tensor

    def move(self, mean: Tensor) -> Tensor:
        """The x at the step's end, given the mean of the clean picture over the step."""
        step = self.step
        kept = step.next_sigma / step.sigma
        return kept * self.x + (step.next_alpha - kept * step.alpha) * mean

    def slope(self, before: Taken) -> Tensor:
        """The change of the clean picture over this step, extrapolated from the step before."""
        return (_width(self.step) / _width(before.step)) * (self.clean - before.clean)

    def predict(self, before: Taken | None = None) -> Tensor:
        if before is None or not self.step.next_sigma:  # without noise lambda is infinite, and the change would be, too
            return self.move(self.clean)
        return self.move(self.clean + 0.5 * self.slope(before))

    def correct(self, found: Tensor, before: Taken | None = None) -> Tensor:
        """The corrected x at the step's end, given the clean picture found there: UniC with B(h) = exp(h) - 1."""
        change = found - self.clean
        if before is None:
            return self.move(self.clean + 0.5 * change)
        # A parabola over the part u of the step, through u = 0, u = 1 and the step before. `once` and `twice` are the
        # means of u and of its square.
        h = _width(self.step)
        once = -1 / math.expm1(-h) - 1 / h
        twice = -1 / math.expm1(-h) - 2 / h * once
        bend = (change - self.slope(before)) / (1 + _width(before.step) / h)
        return self.move(self.clean + once * change + (twice - once) * bend)


def _width(step: Step) -> float:
    """The step's width in lambda; infinite from pure noise."""
    if not step.alpha:
        return math.inf
    return math.log(step.next_alpha / step.next_sigma) - math.log(step.alpha / step.sigma)


@dataclass(frozen=True)
class Method:
    """A sampling method: makes the steps, shared by all chunks, and a new solver for each chunk."""

    steps: Callable[[Schedule, int], list[Step]]
    solver: Callable[[], Solver]


SOLVERS: Mapping[str, Method] = {
    "ddim": Method(Schedule.ddim, DDIM),
    "dpmpp_2m": Method(Schedule.chain, DPMSolver2M),
    "unipc": Method(Schedule.chain, UniPC),
}
