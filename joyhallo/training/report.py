"""Metrics of a run: a line of JSON for each measurement, and TensorBoard if it is installed."""

from __future__ import annotations

import importlib.util
import json
import logging
from pathlib import Path
from typing import Any

from ..data.dataset import write_text

log = logging.getLogger(__name__)

FILE = "metrics.jsonl"


class Report:
    def __init__(self, folder: Path, step: int):
        """Lines of an earlier session beyond `step`, from which the run resumes, are removed."""
        self.path = folder / FILE
        kept = [line for line in read(self.path) if line["step"] <= step]
        write_text(self.path, "".join(f"{json.dumps(line)}\n" for line in kept))
        self.board: Any = None
        if importlib.util.find_spec("tensorboard"):
            from torch.utils.tensorboard import SummaryWriter

            self.board = SummaryWriter(str(folder / "tensorboard"), purge_step=step + 1)

    def add(self, step: int, **figures: float) -> None:
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"step": step, **figures}) + "\n")
        if self.board is not None:
            for name, figure in figures.items():
                self.board.add_scalar(name, figure, step)
        log.info("step %d  %s", step, "  ".join(f"{name} {figure:.4g}" for name, figure in figures.items()))

    def close(self) -> None:
        if self.board is not None:
            self.board.close()


def read(path: Path) -> list[dict[str, Any]]:
    """The lines of a metrics file; one that a killed run did not finish does not count."""
    if not path.exists():
        return []
    lines = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            lines.append(json.loads(line))
        except ValueError:
            log.warning("%s: a line that was not finished is left out.", path)
    return lines
