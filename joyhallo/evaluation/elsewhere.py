"""`Elsewhere`: a process of an interpreter of the user's own, which is asked through its stdin and stdout."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from threading import Timer
from typing import Any

LAST_WORDS = 300  # characters of what a process said before it died
MEMORY = (-9, 137)  # how processes end that the system kills


class ElsewhereError(ValueError):
    """It cannot be started, or answered that something is wrong; the message says what."""


class Died(Exception):
    """It ended, or gave no answer in time; the message says how, and what it said last."""


class Elsewhere:
    """A process that answers in lines of `mark` and JSON; whatever else is on its stdout is passed over."""

    def __init__(self, python: str, program: Path, *arguments: str, mark: bytes):
        command = [_program(python), str(program), *arguments]
        self._mark, self._late = mark, False
        self._folder = tempfile.TemporaryDirectory()
        self._said = Path(self._folder.name) / "said.txt"
        try:
            with self._said.open("wb") as said:
                self._process = subprocess.Popen(
                    command,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=said,
                    env=_surroundings(),
                    start_new_session=True,  # Ctrl-C is for us, and what it starts itself ends with it
                )
        except OSError as error:
            self._folder.cleanup()
            raise ElsewhereError(f"{python} cannot be started: {error.strerror or error}") from error

    def ask(self, message: Mapping[str, Any], content: bytes, within: float) -> dict[str, Any]:
        """within: seconds"""
        return self._in_time(within, lambda: self._send(json.dumps(message).encode() + b"\n" + content))

    def next(self, within: float) -> dict[str, Any]:
        """What it says unasked."""
        return self._in_time(within, lambda: None)

    def _in_time(self, within: float, send: Callable[[], None]) -> dict[str, Any]:
        timer = Timer(within, self._expire)
        timer.daemon = True
        timer.start()
        try:
            send()
            answer = self._heard()
        except BaseException:  # an interruption, too, leaves an answer behind that nobody waits for
            self._kill()
            raise
        finally:
            timer.cancel()
        if "error" in answer:
            raise ElsewhereError(answer["error"])
        return answer

    def _send(self, content: bytes) -> None:
        assert self._process.stdin is not None
        with suppress(OSError):  # it died; what it said is more than that the pipe is broken
            self._process.stdin.write(content)
            self._process.stdin.flush()

    def _heard(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        passed = b""
        for line in self._process.stdout:
            if line.startswith(self._mark):
                return json.loads(line[len(self._mark) :])
            passed = line
        raise Died(self._how_it_ended(passed))

    def _how_it_ended(self, passed: bytes) -> str:
        code = self._process.wait()
        if self._late:
            return "it gave no answer in time"
        ended = "it was killed, most likely because memory ran out" if code in MEMORY else f"it ended with {code}"
        lines = (self._said.read_bytes() or passed).decode("utf-8", "replace").strip().splitlines()
        return f"{ended}: {lines[-1][-LAST_WORDS:]}" if lines else ended

    def _expire(self) -> None:
        self._late = True
        self._kill()

    def _kill(self) -> None:
        if sys.platform == "win32":
            self._process.kill()
            return
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)

    def end(self) -> None:
        if self._process.poll() is None:
            self._kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            with suppress(OSError):  # what it never took
                assert pipe is not None
                pipe.close()
        self._folder.cleanup()


def _program(python: str) -> str:
    found = shutil.which(python)
    if found is None:
        raise ElsewhereError(f"There is no interpreter {python}; name one by its path.")
    return found


def _surroundings() -> dict[str, str]:
    """Nothing of this interpreter's libraries, and nothing from the network."""
    kept = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONHOME")}
    return kept | {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}
