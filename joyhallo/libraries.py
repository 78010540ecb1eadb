"""Libraries that only some uses need: imported when used, named with the cure when they are missing or broken."""

from __future__ import annotations

import importlib
import sys
from typing import Any


class MissingLibrary(ImportError):
    """A library that cannot be imported, in words for whoever runs the program."""


def library(module: str, use: str, package: str = "") -> Any:
    """The imported module. `use` completes "... needs the library x"; `package` is pip's name where it differs."""
    try:
        return importlib.import_module(module)
    except Exception as error:  # a broken installation raises whatever it likes, not only ImportError
        package = package or module.partition(".")[0]
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise MissingLibrary(
            f"{use} needs the library {package}, which cannot be imported here ({reason[0]}). "
            f'Install it with: "{sys.executable}" -m pip install -U {package}'
        ) from error
