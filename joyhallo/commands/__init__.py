"""The commands of `python -m joyhallo`: each a function of its options, imported when it is called.

Users' mistakes are told in a sentence; whatever else goes wrong is a fault of ours, and shows its traceback.
"""

from __future__ import annotations

import os
import sys
from argparse import Namespace
from collections.abc import Sequence
from importlib import import_module

from ..libraries import LibraryError
from .parsers import COMMANDS, DELEGATED, parser
from .terminal import Terminal

GOOD, FAILED, NOTHING, INTERRUPTED = 0, 1, 2, 130
OTHERS = {"score": "..evaluation.__main__", "convert": "..convert"}
MODULES = {"talk": ".single", "redub": ".single", "batch": ".batch", "track": ".track", "models": ".models"}


def main(arguments: Sequence[str] | None = None) -> int:
    given = list(sys.argv[1:] if arguments is None else arguments)
    if given and given[0] in DELEGATED:
        return _delegated(given[0], given[1:])
    top = parser()
    chosen = top.parse_args(given)
    if chosen.command is None:
        top.print_help()
        return NOTHING
    return carried_out(chosen)


def carried_out(chosen: Namespace) -> int:
    terminal = Terminal(chosen.json)
    terminal.listen()
    _quiet_libraries()
    try:
        return import_module(MODULES[chosen.command], __package__).run(chosen, terminal)
    except KeyboardInterrupt:
        terminal.error("Stopped; nothing half-written was left behind.")
        return INTERRUPTED
    except Exception as error:
        if not told(error):
            raise
        terminal.error(str(error))
        return FAILED if terminal.begun else NOTHING


def told(error: Exception) -> bool:
    """Whether an error says itself what a user did, and what to do: those of files, of values, and our own."""
    return isinstance(error, OSError | ValueError | LibraryError) or type(error).__module__.startswith(_PACKAGE)


_PACKAGE = __name__.rpartition(".")[0]


def _delegated(command: str, arguments: list[str]) -> int:
    try:
        return import_module(OTHERS[command], __package__).main(arguments)
    except KeyboardInterrupt:
        return INTERRUPTED


def _quiet_libraries() -> None:
    """MediaPipe's C++ tells what it does, before anybody asks."""
    for name, value in {"GLOG_minloglevel": "2", "TF_CPP_MIN_LOG_LEVEL": "2"}.items():
        os.environ.setdefault(name, value)


__all__ = ["COMMANDS", "carried_out", "main", "told"]
