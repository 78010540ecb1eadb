"""Optional libraries: `library` imports one on first use, and its errors say how to install or repair it."""

from __future__ import annotations

import importlib
import sys
from typing import Any

PACKAGES = {  # by module
    "c2pa": "c2pa-python",
    "cv2": "opencv-python-headless",
    "skimage": "scikit-image",
    "google": "protobuf",
}
REQUIREMENTS = {"insightface": "insightface>=1.0.1", "mediapipe": "mediapipe>=0.10.30,<0.10.32"}


class LibraryError(RuntimeError):
    """A library, or a model file of one, is missing or broken; the message says how to repair it."""


def library(module: str, use: str, otherwise: str = "") -> Any:
    """Import a module. `use` completes "... needs the library x"; `otherwise` says how to do without it."""
    name = module.partition(".")[0]
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        missing = (error.name or name).partition(".")[0]
        package = PACKAGES.get(missing, missing)
        problem = f"{package}, which is not installed; install it"
        raise LibraryError(_cure(use, problem, "install", package, otherwise)) from error
    except Exception as error:  # broken binaries raise anything: ImportError, AttributeError, OSError, ValueError
        broken = _broken(error) or name
        without_screen = "cv2" in _trail(error) or "libGL" in str(error)
        package = PACKAGES["cv2"] if without_screen else PACKAGES.get(broken, broken)
        problem = f"{broken}, which cannot be loaded ({brief(error)}); repair it"
        raise LibraryError(_cure(use, problem, "install --force-reinstall --no-deps", package, otherwise)) from error


def brief(error: BaseException) -> str:
    """The first line of an exception's message, with its kind."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0][:200]}" if lines else type(error).__name__


def _cure(use: str, problem: str, install: str, package: str, otherwise: str) -> str:
    command = f'"{sys.executable}" -m pip {install} "{REQUIREMENTS.get(package, package)}"'
    return f"{use} needs the library {problem} with: {command}{f'; {otherwise}' if otherwise else ''}"


def _broken(error: BaseException) -> str | None:
    """The library whose import failed: the wanted one, or one that it imports."""
    found, trace = None, error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_name == "<module>":
            found = str(trace.tb_frame.f_globals.get("__name__")).partition(".")[0]
        trace = trace.tb_next
    return found


def _trail(error: BaseException) -> str:
    """The exception's message and the source files on its traceback."""
    names, trace = [str(error)], error.__traceback__
    while trace is not None:
        names.append(trace.tb_frame.f_code.co_filename)
        trace = trace.tb_next
    return " ".join(names)
