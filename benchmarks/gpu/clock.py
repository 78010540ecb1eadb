"""Time and memory of a device: by events on CUDA and ROCm, elsewhere by waiting for it and a clock."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..memory import Followed

LONG_ENOUGH = 2e-3  # seconds between two events, beside which their own time is nothing


@dataclass(frozen=True)
class Timing:
    samples: tuple[float, ...]  # milliseconds of a call
    first: float  # of the very first call, which may have compiled or chosen something

    @property
    def ms(self) -> float:
        return statistics.median(self.samples)

    @property
    def figures(self) -> dict[str, Any]:
        told = {"ms": self.ms, "least_ms": min(self.samples), "most_ms": max(self.samples), "first_ms": self.first}
        return {**told, "samples": [round(sample, 4) for sample in self.samples]}


@dataclass(frozen=True)
class Clock:
    device: torch.device
    discarded: int = 2  # cuDNN makes plans and allocators grow in the first steps
    least: int = 5  # samples
    seconds: float = 3.0  # after which no more than that are taken

    def __call__(self, work: Callable[[], object], seconds: float | None = None) -> Timing:
        """The median of at least so many calls, or of 3 where they would take far longer than the seconds."""
        warm = [self._by_waiting(work) for _ in range(max(1, self.discarded))]
        estimate = max(warm[-1], 1e-7)
        together = max(1, math.ceil(LONG_ENOUGH / estimate)) if self.events else 1
        most = (seconds or self.seconds) / (estimate * together)
        count = max(self.least, min(20, int(most))) if most > self.least / 3 else min(3, self.least)
        once = self._by_events if self.events else self._by_clock
        return Timing(tuple(1e3 * once(work, together) for _ in range(count)), 1e3 * warm[0])

    @property
    def events(self) -> bool:
        return self.device.type == "cuda"

    def wait(self) -> None:
        module = getattr(torch, self.device.type, None)
        if self.device.type != "cpu" and hasattr(module, "synchronize"):
            module.synchronize()  # type: ignore[union-attr]

    def _by_waiting(self, work: Callable[[], object]) -> float:
        self.wait()
        began = time.perf_counter()
        work()
        self.wait()
        return time.perf_counter() - began

    def _by_clock(self, work: Callable[[], object], together: int) -> float:
        return statistics.fmean(self._by_waiting(work) for _ in range(together))

    def _by_events(self, work: Callable[[], object], together: int) -> float:
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        self.wait()
        start.record()
        for _ in range(together):
            work()
        end.record()
        end.synchronize()
        return start.elapsed_time(end) / 1e3 / together

    def host(self, work: Callable[[], object]) -> float:
        """Milliseconds until all of it is queued: the least of a few."""
        found = []
        for _ in range(max(1, self.least - 2)):
            self.wait()
            began = time.perf_counter()
            work()
            found.append(time.perf_counter() - began)
        self.wait()
        return 1e3 * min(found)

    # ---- memory

    def peak(self, work: Callable[[], object], known: Iterable[Tensor] = ()) -> dict[str, float]:
        """GB at most while it runs. known: what is there already, which only a CPU has to be told."""
        if self.device.type != "cuda":
            known = list(known)
            with Followed(known) as met:
                work()
            weights = sum(tensor.numel() * tensor.element_size() for tensor in known)
            return {"peak_gb": (weights + met.most) / 1e9, "beside_weights_gb": met.most / 1e9}
        self.wait()
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        work()
        self.wait()
        most, reserved = torch.cuda.max_memory_allocated(), torch.cuda.max_memory_reserved()
        return {"peak_gb": most / 1e9, "reserved_gb": reserved / 1e9, "beside_weights_gb": (most - before) / 1e9}
