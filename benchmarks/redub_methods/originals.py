"""The code of other people, from a checkout: nothing of it is kept here."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from importlib.machinery import ModuleSpec
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from unittest import mock


def open_checkout(folder: Path, sign: str, address: str, unused: Sequence[str]) -> None:
    """Let Python import from it. sign: a file that it has; unused: what it imports, and the measured path never calls.

    Of these, what is not installed, and modules of its own, are stood in for by objects that do nothing.
    """
    if not (folder / sign).is_file():
        raise SystemExit(f"{folder} has no {sign}; expected a checkout of {address}.")
    sys.path.insert(0, str(folder))
    own = {path.name for path in folder.iterdir()}
    for name in [name for name in unused if name.split(".")[0] in own or find_spec(name.split(".")[0]) is None]:
        sys.modules[name] = mock.MagicMock(__spec__=ModuleSpec(name, None))


def of_file(path: Path, name: str) -> ModuleType:
    """A module under a name of our own, where that of its folder is too common."""
    spec = spec_from_file_location(name, path)
    assert spec
    assert spec.loader
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@contextmanager
def silenced() -> Iterator[None]:
    """What it prints would lie among our figures."""
    with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
        yield
