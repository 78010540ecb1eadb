"""What may be wished of a command: how an option is read from a table or a command line, and told in a help."""

from __future__ import annotations

import math
from argparse import ArgumentTypeError, _ArgumentGroup
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

YES, NO = ("yes", "true", "on", "1"), ("no", "false", "off", "0")

Form = Literal["whole", "number", "choice", "switch", "file", "box", "curve"]


class OptionError(ValueError):
    """A value that an option does not take; the message is for the user."""


@dataclass(frozen=True)
class Option:
    name: str
    form: Form
    default: Any
    says: str
    low: float = -math.inf
    high: float = math.inf
    choices: tuple[str, ...] = ()
    folder: bool = False  # whether a file may be a folder
    group: str = "look"

    @property
    def flag(self) -> str:
        return f"--{self.name.replace('_', '-')}"

    def read(self, text: Any) -> Any:
        """A value from a table or a command line, or an OptionError."""
        return READERS[self.form](self, text)


def _whole(option: Option, value: Any) -> int:
    try:
        found = int(str(value).strip())
    except ValueError:
        raise _unfit(value, f"a whole number{_bounds(option)}") from None
    if not option.low <= found <= option.high:
        raise _unfit(value, f"a whole number{_bounds(option)}")
    return found


def _number(option: Option, value: Any) -> float:
    try:
        found = float(str(value).strip())
    except ValueError:
        raise _unfit(value, f"a number{_bounds(option)}") from None
    if not option.low <= found <= option.high:  # which NaN fulfils never
        raise _unfit(value, f"a number{_bounds(option)}")
    return found


def _choice(option: Option, value: Any) -> str:
    found = str(value).strip()
    if found not in option.choices:
        raise _unfit(value, f"one of {', '.join(option.choices)}")
    return found


def _switch(option: Option, value: Any) -> bool:
    found = str(value).strip().lower()
    if found not in (*YES, *NO):
        raise _unfit(value, "yes or no")
    return found in YES


def _file(option: Option, value: Any) -> Path | None:
    """Empty where there is none."""
    text = str(value)
    if "\0" in text:
        raise _unfit(value, "a path; take out the character of code 0")
    return Path(text).expanduser() if text.strip() else None


def _box(option: Option, value: Any) -> tuple[float, ...] | None:
    if value in ("", None):
        return None
    parts = value if isinstance(value, list | tuple) else str(value).replace(",", " ").split()
    try:
        found = tuple(float(part) for part in parts)
    except (TypeError, ValueError):
        found = ()
    if len(found) != 4 or not all(map(math.isfinite, found)) or found[0] >= found[2] or found[1] >= found[3]:
        raise _unfit(value, "left,top,right,bottom in pixels, as in 120,80,260,250")
    return found


def _curve(option: Option, value: Any) -> str:
    """A number, or keyframes, whose grammar the engine knows."""
    text = str(value).strip()
    if ":" not in text and "：" not in text:
        try:
            return f"{_number(option, text):.6f}".rstrip("0").rstrip(".")
        except OptionError:
            raise _unfit(value, f"a number{_bounds(option)}, or keyframes as in 0: 1, 2.5: 0.4") from None
    return text


READERS: dict[Form, Callable[[Option, Any], Any]] = {
    "whole": _whole,
    "number": _number,
    "choice": _choice,
    "switch": _switch,
    "file": _file,
    "box": _box,
    "curve": _curve,
}


def _unfit(value: Any, expected: str) -> OptionError:
    return OptionError(f"found {str(value)!r:.60}, expected {expected}")


def _bounds(option: Option) -> str:
    return f" from {option.low:g} to {option.high:g}" if math.isfinite(option.high) else ""


# ---- on a command line

GROUPS = {
    "model": "who makes the frames",
    "look": "what is made",
    "puppet": "without --model: the puppet",
    "sampling": "with --model: frames",
    "motion": "with --model: motion",
    "steadiness": "with --model: long films",
    "speech": "with --model: what it hears",
    "portrait": "with --model: the face",
    "method": "for some methods",
    "face": "the face",
    "files": "files",
    "film": "the film",
}


def add_to(groups: Callable[[str], _ArgumentGroup], options: Iterable[Option]) -> None:
    """groups: a title -> the parser's group of that title"""
    for option in options:
        choices = f" ({', '.join(option.choices[:12])})" if option.choices else ""
        usual = "" if option.default is None else f" (default: {_shown(option.default)})"
        groups(GROUPS[option.group]).add_argument(
            option.flag,
            dest=option.name,
            type=_typed(option),
            default=option.default,
            metavar=_METAVARS[option.form],
            help=f"{option.says}{choices}{usual}".replace("%", "%%"),
        )


_METAVARS: dict[Form, str] = {
    "whole": "N",
    "number": "X",
    "choice": "CHOICE",
    "switch": "yes|no",
    "file": "FILE",
    "box": "BOX",
    "curve": "X",
}


def _typed(option: Option) -> Callable[[str], Any]:
    def read(text: str) -> Any:
        try:
            return option.read(text)
        except OptionError as error:
            raise ArgumentTypeError(str(error)) from error

    return read


def _shown(value: Any) -> str:
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value)


def by_name(options: Iterable[Option]) -> Mapping[str, Option]:
    return {option.name: option for option in options}
