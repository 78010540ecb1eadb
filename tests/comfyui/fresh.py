"""Import the pack in a process where ComfyUI already is, and tell as JSON what that did.

python fresh.py TREE [LIBRARY ...]: ComfyUI's tree, and libraries that shall seem not to be installed.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import io
import json
import locale
import logging
import os
import random
import signal
import socket
import sys
import threading
import warnings
from pathlib import Path
from types import ModuleType
from typing import Any

PACK = Path(__file__).parents[2]
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_TRUNC
READING = ("os.listdir", "os.scandir", "os.walk", "os.fwalk", "os.listdrives", "os.getxattr", "os.listxattr")
REACHING_OUT = ("os.", "shutil.", "socket.", "sqlite3.", "subprocess.", "tempfile.", "urllib.", "winreg.")


FOREIGN_LOGGERS: list[str] = []


def settings() -> dict[str, str]:
    """What the whole process shares."""
    import numpy
    import torch

    state = {
        "dtype": torch.get_default_dtype(),
        "device": torch.get_default_device(),
        "threads": (torch.get_num_threads(), torch.get_num_interop_threads(), threading.active_count()),
        "gradients": (torch.is_grad_enabled(), torch.is_inference_mode_enabled(), torch.is_anomaly_enabled()),
        "determinism": (torch.are_deterministic_algorithms_enabled(), torch.backends.cudnn.benchmark),
        "precision": (torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32),
        "attention": (torch.backends.cuda.flash_sdp_enabled(), torch.backends.cuda.math_sdp_enabled()),
        "seeds": (hash(random.getstate()), torch.initial_seed(), str(numpy.random.get_state())),
        "noise": torch.get_rng_state().sum(),
        "numpy": (numpy.geterr(), numpy.get_printoptions()),
        "warnings": warnings.filters,
        "logging": (logging.root.level, logging.root.handlers, logging.root.manager.disable, logging.raiseExceptions),
        "levels": {name: logging.getLogger(name).level for name in FOREIGN_LOGGERS},
        "environment": dict(os.environ),
        "path": sys.path,
        "hooks": (sys.excepthook, sys.meta_path, sys.path_hooks, sys.displayhook, warnings.showwarning),
        "limits": (sys.getrecursionlimit(), sys.getswitchinterval()),
        "signals": [signal.getsignal(number) for number in signal.valid_signals()],
        "place": (os.getcwd(), locale.setlocale(locale.LC_ALL), socket.getdefaulttimeout()),
    }
    return {name: str(value) for name, value in state.items()}


class Acts(list[str]):
    """What the process does to the world around it, while `watching`."""

    watching = False

    def note(self, event: str, details: tuple) -> None:
        if not self.watching:
            return
        if event == "open":
            if details[2] & WRITING:
                self.append(f"open {details[0]}")
        elif event.startswith(REACHING_OUT) and event not in READING:
            self.append(f"{event} {details}")


class Said(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


def import_comfyui(tree: str, absent: set[str]) -> None:
    """Without these libraries, as far as ComfyUI itself is content without them."""
    sys.path[0] = tree  # instead of this file's folder
    sys.modules.update(dict.fromkeys(absent))  # which is how Python notes that there is none
    try:
        from comfy.cli_args import args

        args.cpu = True
        import nodes  # noqa: F401
    except ModuleNotFoundError as error:
        if error.name not in absent:
            raise
        del sys.modules[error.name]
        import_comfyui(tree, absent - {error.name})


def import_pack() -> ModuleType:
    spec = importlib.util.spec_from_file_location("pack", PACK / "__init__.py", submodule_search_locations=[str(PACK)])
    assert spec is not None
    assert spec.loader is not None
    pack = sys.modules["pack"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(pack)
    return pack


async def ids(pack: Any) -> list[str]:
    """Of its nodes; their inputs and choices are made, too."""
    extension = await pack.comfy_entrypoint()
    return [node.GET_SCHEMA().node_id for node in await extension.get_node_list()]


def main(tree: str, *absent: str) -> dict[str, Any]:
    import_comfyui(tree, set(absent))
    loop, acts, said, printed = asyncio.new_event_loop(), Acts(), Said(), io.StringIO()
    FOREIGN_LOGGERS.extend(logging.root.manager.loggerDict)
    logging.root.addHandler(said)
    sys.addaudithook(acts.note)
    before, modules = settings(), set(sys.modules)
    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
        acts.watching = True
        names = loop.run_until_complete(ids(import_pack()))
        acts.watching = False
    after = settings()
    return {
        "nodes": names,
        "modules": sorted(name for name in set(sys.modules) - modules if name.partition(".")[0] != "pack"),
        "acts": acts,
        "printed": printed.getvalue(),
        "said": said.lines,
        "changed": {name: (before[name], after[name]) for name in before if before[name] != after[name]},
    }


if __name__ == "__main__":
    sys.stdout.write(json.dumps(main(*sys.argv[1:])))
