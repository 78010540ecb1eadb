"""Where models lie, and where a film may go."""

from __future__ import annotations

import os
from pathlib import Path

from .options import FORMATS

PACK = Path(__file__).resolve().parents[2]
VARIABLE = "JOYHALLO_MODELS"
DEMO = "demo"  # the name of the small model that comes with the pack
DEMO_MODEL = PACK / "demo_model"
DEMO_LICENCE = "MIT"
KNOWN_FACES = DEMO_MODEL / "faces.safetensors"  # of the pictures that come with it


class PlaceError(ValueError):
    """A file is not there, or cannot be made; the message is for the user."""


def models_folder(asked: Path | None = None) -> Path:
    """The one that is asked for, or the environment's, or ComfyUI's where the pack lies in it, or one right here."""
    if asked is not None:
        return asked
    if told := os.environ.get(VARIABLE):
        return Path(told).expanduser()
    if PACK.parent.name == "custom_nodes":
        return PACK.parent.parent / "models" / "joyhallo"
    return Path("pretrained_models")


def checked_input(path: Path, what: str) -> Path:
    if path.is_file():
        return path
    if path.is_dir():
        raise PlaceError(f"The {what} {path} is a folder; give a file in it.")
    raise PlaceError(f"The {what} {path} does not exist; check its name, and the folder {path.absolute().parent}.")


def checked_output(path: Path, replacing: bool) -> Path:
    """Raises a PlaceError for a name that no film can get, before time is spent on it."""
    if path.suffix.lower().removeprefix(".") not in FORMATS:
        found = f"ends in {path.suffix}" if path.suffix else "has no ending"
        endings = ", ".join(f".{ending}" for ending in FORMATS)
        raise PlaceError(f"The output {path} {found}, expected one of {endings}; mp4 plays everywhere.")
    if path.is_dir():
        raise PlaceError(f"The output {path} is a folder; give the name of a file.")
    if path.exists() and not replacing:
        raise PlaceError(f"{path} already exists; choose another name, or replace it with --force.")
    return path
