"""FPS and SAMPLE_RATE, the rates that frames and samples are counted in everywhere; the bounds of numbers in files."""

from __future__ import annotations

from typing import Any

FPS = 25  # video frames per second
SAMPLE_RATE = 16_000  # samples per second of the sound that networks hear


def check_count(name: str, value: Any, most: int, least: int = 1) -> None:
    if type(value) is not int or not least <= value <= most:
        raise ValueError(f"{name} is {_shown(value)}; expected a whole number from {least} to {most}.")


def check_number(name: str, value: Any, low: float, high: float) -> None:
    """Raise a ValueError unless the number lies between the bounds; NaN lies nowhere."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not low <= value <= high:
        raise ValueError(f"{name} is {_shown(value)}; expected a number from {low:g} to {high:g}.")


def check_choice(name: str, value: Any, choices: tuple[Any, ...]) -> None:
    if not any(type(value) is type(choice) and value == choice for choice in choices):
        raise ValueError(f"{name} is {_shown(value)}; expected one of {', '.join(map(str, choices))}.")


def _shown(value: Any) -> str:
    return f"{value!r:.60}"
