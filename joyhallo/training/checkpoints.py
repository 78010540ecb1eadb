"""The files of a run: models for use, and checkpoints from which it resumes exactly.

    RUN/model.safetensors              the newest model: choose it in LoadJoyHalloModels
    RUN/recipe.json, metrics.jsonl     what the run was told, and how it goes
    RUN/validation/                    videos: see validation.py
    RUN/checkpoints/00000500/          model.safetensors (full precision), optimizer.pt, average.safetensors, state.json

A folder or file under its own name is complete: it is written under another one, and then renamed.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from ..data.dataset import replacing, write_text
from ..files.space import Need, check_disks
from ..libraries import brief
from ..methods.hallo.checkpoint import HEADER_ENTRY, header_entry
from ..methods.hallo.config import ModelConfig
from .recipe import Recipe, RecipeError

FOLDER, MODEL, RECIPE = "checkpoints", "model.safetensors", "recipe.json"
AVERAGE, OPTIMIZER, STATE = "average.safetensors", "optimizer.pt", "state.json"
DTYPES = {"fp16": torch.float16, "bf16": torch.bfloat16, "fp32": torch.float32}
REMEDY = "make room, keep fewer checkpoints (save.keep), or choose another disk (output)"


class CheckpointsError(ValueError):
    """A run cannot resume from its checkpoints; the message is for the user."""


def write_model(path: Path, weights: Mapping[str, Tensor], config: ModelConfig, dtype: torch.dtype) -> None:
    """Write a model for LoadJoyHalloModels and load_checkpoint."""
    about = {HEADER_ENTRY: header_entry(config)}
    with replacing(path) as temporary:
        here = {key: tensor.detach().to("cpu", dtype).contiguous() for key, tensor in weights.items()}
        save_file(here, temporary, about)


@dataclass(frozen=True)
class State:
    """All that a run must remember beside its weights; randomness is a function of the step: see samples.py."""

    step: int
    recipe: Mapping[str, Any]  # trainer.facts: a run goes on only with the same
    clips: str  # digest of the samples' clips and their order
    scaler: Mapping[str, Any]  # of half precision's gradients; empty without


@dataclass(frozen=True)
class Loaded:
    state: State
    weights: Mapping[str, Tensor]
    average: Mapping[str, Tensor]
    optimizer: Mapping[str, Any]


def steps(run: Path) -> list[int]:
    """The steps of all checkpoints, in rising order."""
    folder = run / FOLDER
    if not folder.is_dir():
        return []
    return sorted(int(entry.name) for entry in folder.iterdir() if re.fullmatch(r"\d+", entry.name))


def place(run: Path, step: int) -> Path:
    return run / FOLDER / f"{step:08d}"


def save(
    run: Path,
    state: State,
    weights: Mapping[str, Tensor],
    config: ModelConfig,
    optimizer: Mapping[str, Any],
    average: Mapping[str, Tensor] | None,
    keep: int,
) -> None:
    """Write a checkpoint, complete or not at all, then delete the oldest."""
    with _whole(place(run, state.step)) as folder:
        write_model(folder / MODEL, weights, config, torch.float32)
        if average is not None:
            save_file({key: tensor.cpu().contiguous() for key, tensor in average.items()}, folder / AVERAGE)
        torch.save(optimizer, folder / OPTIMIZER)
        (folder / STATE).write_text(json.dumps(vars(state), indent=2) + "\n", encoding="utf-8")
    for step in steps(run)[:-keep]:
        _remove(place(run, step))


def write_recipe(run: Path, recipe: Recipe) -> None:
    write_text(run / RECIPE, json.dumps(asdict(recipe), indent=2) + "\n")


def clear(run: Path) -> None:
    """Delete training's own files in a run's folder, and nothing else."""
    shutil.rmtree(run / FOLDER, ignore_errors=True)
    for name in (MODEL, RECIPE, "metrics.jsonl"):
        (run / name).unlink(missing_ok=True)


@contextmanager
def _whole(folder: Path) -> Iterator[Path]:
    temporary = folder.with_name(f".{folder.name}.part")
    shutil.rmtree(temporary, ignore_errors=True)  # what a killed run left
    temporary.mkdir(parents=True)
    yield temporary
    for path in temporary.iterdir():
        with path.open("r+b") as file:
            os.fsync(file.fileno())
    shutil.rmtree(folder, ignore_errors=True)
    temporary.replace(folder)


def _remove(folder: Path) -> None:
    """Delete a checkpoint, renamed first so that half of it is never taken for a complete one."""
    going = folder.with_name(f".{folder.name}.going")
    folder.replace(going)
    shutil.rmtree(going, ignore_errors=True)


def load(run: Path, step: int) -> Loaded:
    folder = place(run, step)
    try:
        state = State(**json.loads((folder / STATE).read_text(encoding="utf-8")))
        average = load_file(folder / AVERAGE) if (folder / AVERAGE).exists() else {}
        optimizer = torch.load(folder / OPTIMIZER, map_location="cpu", weights_only=True)
        return Loaded(state, load_file(folder / MODEL), average, optimizer)
    except Exception as error:  # damaged files raise anything
        raise CheckpointsError(
            f"The checkpoint {folder} cannot be read ({brief(error)}); delete the folder to resume from the one before."
        ) from error


def check_same(state: State, facts: Mapping[str, Any], clips: str) -> None:
    """Raise if the recipe or the clips have changed since the run began."""
    now = json.loads(json.dumps(facts))
    changed = [f"{name} ({state.recipe.get(name)!r} then, {now.get(name)!r} now)" for name in {**state.recipe, **now}
               if state.recipe.get(name) != now.get(name)]  # fmt: skip
    if changed:
        raise RecipeError(
            f"The recipe has changed since this run began: {', '.join(changed)}. Give the new run another name, or "
            "begin anew with --fresh."
        )
    if state.clips != clips:
        raise RecipeError(
            "The dataset's clips have changed since this run began, so the order of its samples would change. Give "
            "the run another name and let it start from this one's model (start.weights), or begin anew with --fresh."
        )


def sizes(parameters: int, trained: int, averaged: bool) -> dict[str, int]:
    """Bytes of a checkpoint and of a model for use in half precision."""
    return {"checkpoint": 4 * (parameters + 2 * trained + (trained if averaged else 0)), "model": 4 * parameters}


def check_room(recipe: Recipe, parameters: int, trained: int) -> None:
    """Check disk space before the first step, for one checkpoint more than are kept."""
    size = sizes(parameters, trained, recipe.average > 0)
    there = sum(file.stat().st_size for file in recipe.folder.rglob("*") if file.is_file())
    needed = (recipe.save.keep + 1) * size["checkpoint"] + 2 * size["model"] - there
    check_disks([Need(f"{recipe.save.keep} checkpoints and models", recipe.folder, max(0, needed))], REMEDY)
