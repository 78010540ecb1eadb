"""How a small network is trained in one go, from a checkpoint if there is one: `train`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import ClassVar, Generic, TypeVar

import torch
from torch import Tensor, nn

from ...config import FPS
from ...data.dataset import replacing
from ..average import Average
from ..recipe import Optimizer, rate

AVERAGE = 0.998

Network = TypeVar("Network", bound=nn.Module)
Progress = Callable[[int, Tensor], None]  # called now and then with the step and the mean of each loss


@dataclass(frozen=True)
class Course:
    WARMUP: ClassVar[int] = 100  # steps, of a long course

    hours: float  # of what there is to learn from
    steps: int
    batch: int
    seconds: float  # of each piece
    english: float  # share of what is said
    learning_rate: float
    seed: int

    @property
    def frames(self) -> int:
        return round(self.seconds * FPS)

    @property
    def optimizer(self) -> Optimizer:
        """AdamW."""
        warmup = min(self.WARMUP, self.steps // 5)
        return Optimizer(learning_rate=self.learning_rate, final_rate=1e-5, warmup=warmup, decay="cosine")


@dataclass
class Run(Generic[Network]):
    network: Network
    average: Average
    optimizer: torch.optim.Optimizer
    step: int = 0


def train(
    course: Course,
    make: Callable[[], Network],
    losses: Callable[[Network, int], Tensor],
    kept: Path,
    every: int,
    progress: Progress,
) -> Network:
    """The network with the mean of its late weights.

    make: the network, of weights that torch draws; losses: those of a step, whose sum is to shrink; every: steps
    between checkpoints, which lie at `kept`
    """
    run, since = _begin(course, make), list[Tensor]()
    _restore(run, kept, course)
    while run.step < course.steps:
        since.append(_step(run, course, losses))
        if run.step % every == 0 or run.step == course.steps:
            _keep(run, kept, course)
            progress(run.step, torch.stack(since).mean(0))
            since.clear()
    run.network.load_state_dict(run.average.weights, strict=False)  # statistics of norms have no average
    return run.network


def _begin(course: Course, make: Callable[[], Network]) -> Run[Network]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(course.seed)
        network = make()
    chosen = course.optimizer
    optimizer = torch.optim.AdamW(network.parameters(), eps=chosen.epsilon, weight_decay=chosen.weight_decay)
    return Run(network, Average(dict(network.named_parameters()), AVERAGE), optimizer)


def _step(run: Run[Network], course: Course, losses: Callable[[Network, int], Tensor]) -> Tensor:
    chosen = course.optimizer
    for group in run.optimizer.param_groups:
        group["lr"] = rate(chosen, run.step, course.steps)
    each = losses(run.network, run.step)
    run.optimizer.zero_grad()
    each.sum().backward()
    nn.utils.clip_grad_norm_(run.network.parameters(), chosen.clip)
    run.optimizer.step()
    run.step += 1
    run.average.update(run.step)
    return each.detach()


def _keep(run: Run[Network], kept: Path, course: Course) -> None:
    kept.parent.mkdir(parents=True, exist_ok=True)
    state = {"network": run.network.state_dict(), "average": run.average.weights}
    with replacing(kept) as temporary:
        torch.save(
            {"settings": asdict(course), "step": run.step, **state, "optimizer": run.optimizer.state_dict()}, temporary
        )


def _restore(run: Run[Network], kept: Path, course: Course) -> None:
    if not kept.is_file():
        return
    left = torch.load(kept, weights_only=True)
    if left["settings"] != asdict(course):
        raise ValueError(f"{kept} is of a training with other settings; delete it, or give those settings again.")
    run.network.load_state_dict(left["network"])
    run.average.load(left["average"])
    run.optimizer.load_state_dict(left["optimizer"])
    run.step = left["step"]


def line(each: Tensor) -> str:
    """Losses, to be told."""
    return "  ".join(f"{loss:.4f}" for loss in each.tolist())
