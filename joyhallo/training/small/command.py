"""What the commands that train a small network have in common: their options, and how they end."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable
from dataclasses import fields
from typing import Any, TypeVar

import torch

from ...drawn import voice
from ...libraries import LibraryError

Settings = TypeVar("Settings")

HELPS = {  # of the settings that all of them have
    "hours": "of speech to learn from",
    "steps": "of training",
    "batch": "pieces of speech in each step",
    "seconds": "of each piece",
    "english": "share of the speech that is English; the rest is Mandarin",
    "learning_rate": "at its highest",
    "seed": "another one gives other speech and other weights",
}


def parser(name: str, description: str | None, settings: type, written: str) -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(
        prog=f"python -m joyhallo.training.small.{name}",
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog=f"The exit code is 0 if the {written} was written, 2 if nothing was done.",
    )
    for setting, said in HELPS.items():
        value = getattr(settings, setting)
        option = f"--{setting.replace('_', '-')}"
        made.add_argument(option, type=type(value), default=value, help=f"{said} (default: %(default)s)")
    made.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="voices at once (default: %(default)s)")
    made.add_argument("--threads", type=int, default=1, help="of the training itself (default: %(default)s)")
    return made


def run(chosen: argparse.Namespace, settings: type[Settings], learn: Callable[[Settings], dict[str, Any]]) -> int:
    """Print the figures of what was learnt, or why nothing was."""
    torch.set_num_threads(chosen.threads)
    try:
        wanted = settings(**{field.name: getattr(chosen, field.name) for field in fields(settings)})  # type: ignore[arg-type]
        voice.check()
        found = learn(wanted)
    except (LibraryError, OSError, ValueError) as error:
        print(error, file=sys.stderr)
        return 2
    print(json.dumps(found, indent=2))
    return 0


def tell(line: str) -> None:
    print(line, flush=True)
