"""The process that measures: python -m benchmarks.gpu.worker FOLDER, as the supervisor starts it."""

from __future__ import annotations

import gc
import importlib
import json
import sys
import time
import traceback
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from joyhallo.libraries import LibraryError

from .bench import Bench, Unavailable

BROKEN = 3  # exit code: the device answers no more, and a new process is needed
FRAMES = 3  # of a traceback that are told

Measure = Callable[[], Any]
Tell = Callable[..., None]


def load(target: str) -> Callable[[Bench], dict[str, Measure]]:
    module, _, name = target.partition(":")
    return getattr(importlib.import_module(module), name)


def attempt(measure: Measure) -> dict[str, Any]:
    """What it found, as a dict; or why nothing: no exception, and nothing that one would hold, gets out."""
    try:
        found = measure()
        return found if isinstance(found, dict) else {"value": found}
    except (Unavailable, LibraryError) as reason:
        return {"reason": str(reason)}
    except ImportError as error:
        return {"reason": f"{error.name or error} cannot be imported here ({error})"}
    except (Exception, SystemExit) as error:
        where = traceback.format_list(traceback.extract_tb(error.__traceback__)[-FRAMES:])
        return {"failed": f"{type(error).__name__}: {error}"[:1000], "where": "".join(where)}


@dataclass
class Work:
    bench: Bench
    tell: Tell
    deadline: float
    done: set[str] = field(default_factory=set)

    def block(self, name: str, target: str, until: float) -> None:
        """until: by time.time(); what has not begun by then is left out for now."""
        may_take = max(0.0, until - time.time())
        self.tell(block=name, may_take=may_take)
        made: dict[str, Measure] = {}
        if f"{name}/all" in self.done:
            return
        began = time.monotonic()
        found = attempt(lambda: made.update(load(target)(self.bench)))
        if "failed" in found or "reason" in found:
            self._note(name, "all", found, began)
            return
        self.tell(block=name, parts=list(made), may_take=may_take)
        for part, measure in made.items():
            if f"{name}/{part}" not in self.done and time.time() < until:
                self.part(name, part, measure, until)
        made.clear()
        self.bench.forget()

    def part(self, block: str, part: str, measure: Measure, until: float) -> None:
        self.tell(block=block, part=part, may_take=max(0.0, until - time.time()))
        began = time.monotonic()
        found = attempt(measure)
        self._note(block, part, found, began)
        if "failed" in found:
            self.bench.forget()  # what was out of memory must not be short of it again
        if not self.bench.answers():
            sys.exit(BROKEN)

    def _note(self, block: str, part: str, found: dict[str, Any], began: float) -> None:
        self.done.add(f"{block}/{part}")
        self.tell(block=block, part=part, found=found, seconds=time.monotonic() - began)

    def all(self, blocks: Iterable[tuple[str, str, float]]) -> None:
        """First each within its own time, then what was left over."""
        blocks = list(blocks)
        for hurried in (True, False):
            for name, target, seconds in blocks:
                left = self.deadline - time.time()
                if left <= 0:
                    return
                self.block(name, target, time.time() + (min(seconds, left) if hurried else left))


def main() -> None:
    folder = Path(sys.argv[1])
    job = json.loads((folder / "job.json").read_text(encoding="utf-8"))
    with (folder / "lines.jsonl").open("a", encoding="utf-8") as lines:

        def tell(**line: Any) -> None:
            lines.write(json.dumps(line, default=str) + "\n")
            lines.flush()

        bench = Bench.of(job)
        if bench.small:
            torch.set_num_threads(1)  # small networks gain nothing from more, and lose much on a busy machine
        Work(bench, tell, job["deadline"], set(job["done"])).all(map(tuple, job["blocks"]))  # type: ignore[arg-type]
    gc.collect()


if __name__ == "__main__":
    main()
