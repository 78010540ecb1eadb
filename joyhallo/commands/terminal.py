"""What a command says while it works: one line that renews itself on a terminal, plain lines anywhere else."""

from __future__ import annotations

import json
import logging
import math
import shutil
import sys
import time
import unicodedata
from typing import Any

from ..streams import has_all_letters
from .jobs import MAKING

OFTEN = 0.2  # seconds between two renewals of a terminal's line
SELDOM = 15.0  # seconds between two plain lines


class Terminal:
    """Progress and notices go to the error stream, results to the output: what is piped on is the result alone."""

    def __init__(self, as_json: bool = False):
        self.as_json, self.begun = as_json, False
        self._live = sys.stderr.isatty()
        self._told = self._start = time.monotonic()
        self._shown = 0  # columns of the line that stands there
        self._what = ""

    # ---- progress

    def progress(self, what: str, done: float, total: float, unit: str = "frames") -> None:
        """what: the step, as the line begins with it; done of total: 0 where nobody knows how many there are"""
        now, self.begun = time.monotonic(), self.begun or what == MAKING
        if what != self._what:
            self._what, self._start, self._told = what, now, now - (OFTEN if self._live else SELDOM)
        last = done >= total > 0
        if now - self._told < (OFTEN if self._live else SELDOM) and not (last and self._live):
            return
        self._told = now
        line = f"{what}: {_counted(done, total, unit)}{_pace(done, total, now - self._start, unit)}"
        self._renew(line) if self._live else self._write(f"{line}\n")

    def clear(self) -> None:
        if self._live and self._shown:
            self._write(f"\r{' ' * self._shown}\r")
            self._shown = 0

    def _renew(self, line: str) -> None:
        line = fitted(line, max(20, shutil.get_terminal_size().columns - 1))
        wide = width(line)
        self._write(f"\r{line}{' ' * max(0, self._shown - wide)}")
        self._shown = wide

    def _write(self, text: str) -> None:
        sys.stderr.write(text)
        sys.stderr.flush()

    # ---- words

    def say(self, words: str) -> None:
        """Beside the result: what is done next, or what should be known."""
        self.clear()
        self._write(f"{words}\n")

    def result(self, words: str, facts: Any) -> None:
        """The result itself: words, or the facts as JSON where that was asked for."""
        self.clear()
        self._print(json.dumps(facts, ensure_ascii=self._escapes, indent=1, allow_nan=False) if self.as_json else words)

    def error(self, words: str) -> None:
        self.clear()
        if self.as_json:
            self._print(json.dumps({"error": words}, ensure_ascii=self._escapes))
        self._write(f"{words}\n")

    @property
    def _escapes(self) -> bool:
        return not has_all_letters(sys.stdout)

    def _print(self, text: str) -> None:
        sys.stdout.write(f"{text}\n")
        sys.stdout.flush()

    def listen(self, level: int = logging.WARNING) -> None:
        """Let notices of the engine be seen, each once, above the line of progress."""
        handler = _Notices(self)
        handler.setLevel(level)
        logging.basicConfig(level=level, handlers=[handler], force=True)


class _Notices(logging.Handler):
    def __init__(self, terminal: Terminal):
        super().__init__()
        self.terminal, self.seen = terminal, set[str]()

    def emit(self, record: logging.LogRecord) -> None:
        words = self.format(record)
        if words not in self.seen:
            self.seen.add(words)
            self.terminal.say(words)


def _counted(done: float, total: float, unit: str) -> str:
    if total <= 0:
        return f"{done:g} {unit}"
    return f"{min(100, math.floor(100 * done / total)):3d} %, {done:g} of {total:g} {unit}"


def _pace(done: float, total: float, seconds: float, unit: str) -> str:
    if seconds < 1 or done <= 0:
        return ""
    pace = done / seconds
    left = f", {lasting((total - done) / pace)} left" if total > done else ""
    return f", {pace:.3g} {unit} a second{left}"


def lasting(seconds: float) -> str:
    """How long, as people say it."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def width(text: str) -> int:
    """Columns of a terminal: Chinese characters take two each."""
    return sum(2 if unicodedata.east_asian_width(letter) in "WF" else 1 for letter in text)


def fitted(text: str, columns: int) -> str:
    while width(text) > columns:
        text = text[:-1]
    return text
