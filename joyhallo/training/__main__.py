"""Train a model by a recipe, resuming an earlier session of the run:

    python -m joyhallo.training RECIPE.toml --set data.folder=DATASET
    accelerate launch --num_processes 8 -m joyhallo.training RECIPE.toml     several devices, or several machines

Recipes to begin with are named without a path: stage1, stage2, tiny1, tiny2.
"""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

from ..data.dataset import DatasetError
from ..files.contents import WeightsError
from ..files.space import RoomError
from ..film.write import VideoError
from ..libraries import LibraryError
from ..streams import escape_what_is_lacking
from .checkpoints import CheckpointsError
from .recipe import RecipeError, read_recipe
from .trainer import TrainingError, dry_run, train

log = logging.getLogger(__name__)

ERRORS = (
    WeightsError,
    CheckpointsError,
    DatasetError,
    LibraryError,
    RecipeError,
    RoomError,
    TrainingError,
    VideoError,
    OSError,
)
RECIPES = Path(__file__).parent / "recipes"
STOPPED = 75  # "try again": a command that should follow a finished run does not follow this


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m joyhallo.training", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("recipe", help="a .toml file, or the name of one that comes with this")
    parser.add_argument(
        "--set", dest="changes", action="append", default=[], metavar="NAME=VALUE", help="such as data.batch=2"
    )
    parser.add_argument("--fresh", action="store_true", help="begin anew; what the run has left so far is deleted")
    parser.add_argument("--dry-run", action="store_true", help="two steps, and what a run takes; nothing is written")
    chosen = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout)
    try:
        recipe = read_recipe(found(chosen.recipe), chosen.changes)
        if chosen.dry_run:
            for line in dry_run(recipe):
                log.info("%s", line)
            return 0
        return 0 if train(recipe, fresh=chosen.fresh) else STOPPED
    except ERRORS as error:
        log.error("%s", error)
        return 1


def found(name: str) -> Path:
    carried = RECIPES / f"{name}.toml"
    return carried if "." not in name and "/" not in name and carried.is_file() else Path(name)


if __name__ == "__main__":
    escape_what_is_lacking()
    sys.exit(main())
