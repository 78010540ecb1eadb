"""Every target beside its figure, told by the JSON alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

Found = dict[str, dict[str, dict[str, Any]]]  # by block, by part

# Milliseconds of a guided step that were estimated before any card was measured, at 512 and 256 pixels.
ESTIMATED = {"H100": (190, 41), "4090": (606, 136), "5090": (440, 97), "3060": (3190, 668)}
SIDES = (512, 256)


@dataclass(frozen=True)
class Target:
    words: str
    wanted: str
    figure: float | None
    unit: str = ""
    met: bool | None = None
    why: str = ""  # there is no figure

    def row(self) -> tuple[str, str, str, str]:
        told = self.why if self.figure is None else f"{self.figure:.4g} {self.unit}".strip()
        return self.words, self.wanted, told, {True: "yes", False: "NO", None: ""}[self.met]


class Reading:
    """Figures by place, and why one is missing."""

    def __init__(self, found: Found):
        self.found = found

    def told(self, block: str, part: str) -> dict[str, Any]:
        parts = self.found.get(block, {})
        return parts.get(part) or parts.get("all") or {}

    def figure(self, block: str, part: str, name: str) -> float | None:
        value = self.told(block, part).get(name)
        return None if value is None else float(value)

    def why(self, block: str, part: str) -> str:
        told = self.told(block, part)
        return str(told.get("failed") or told.get("reason") or "not measured").splitlines()[0][:70]

    def at_least(self, words: str, least: float, place: tuple[str, str, str], unit: str = "") -> Target:
        return self._held(words, f">= {least:g} {unit}".strip(), place, unit, lambda figure: figure >= least)

    def at_most(self, words: str, most: float, place: tuple[str, str, str], unit: str = "") -> Target:
        return self._held(words, f"<= {most:g} {unit}".strip(), place, unit, lambda figure: figure <= most)

    def shown(self, words: str, wanted: str, place: tuple[str, str, str], unit: str = "") -> Target:
        return self._held(words, wanted, place, unit, None)

    def _held(
        self, words: str, wanted: str, place: tuple[str, str, str], unit: str, met: Callable[[float], bool] | None
    ) -> Target:
        figure, (block, part, _) = self.figure(*place), place
        if figure is None:
            return Target(words, wanted, None, unit, None, self.why(block, part))
        return Target(words, wanted, figure, unit, met(figure) if met else None)


def targets(found: Found, sides: tuple[int, ...] = SIDES) -> Iterator[Target]:
    reading = Reading(found)
    yield from _steps(reading, sides)
    yield from _right(reading)
    yield from _memory(reading, sides)
    yield from _redubs(reading)
    yield from _ways(reading, sides)
    yield from _training(reading)


def _steps(reading: Reading, sides: tuple[int, ...]) -> Iterator[Target]:
    large, place = sides[0], reading.told("identity", "device").get("name", "")
    rate = reading.figure("rates", "product fp16", "tflops")
    for number, side in enumerate(sides):
        estimate = next((times[number] for card, times in ESTIMATED.items() if card in place and number < 2), None)
        wanted = "" if estimate is None else f"about {estimate}"
        yield reading.shown(f"guided step, {side} px", wanted, ("steps", f"{side}", "ms"), "ms")
    mine = reading.figure("steps", f"{large}", "tflops")
    words, wanted = f"share of the card's product rate, {large} px", ">= 0.55"
    if mine is None or not rate:
        yield Target(words, wanted, None, why=reading.why("steps", f"{large}"))
    else:
        yield Target(words, wanted, mine / rate, "", mine / rate >= 0.55)
    for side in sides:
        yield reading.at_least(f"original to ours, step, {side} px", 2, ("original", f"{side}", "original_to_ours"))
        yield reading.shown(f"plain step to ours, {side} px", "", ("steps", f"{side} against plain", "plain_to_ours"))
        yield reading.at_most(f"nodes over the bare engine, {side} px", 0.03, ("nodes", f"step {side}", "overhead"))


def _right(reading: Reading) -> Iterator[Target]:
    for part, told in reading.found.get("correctness", {}).items():
        if "wrong" in told:
            wrong, broken = len(told["wrong"]), len(told["broken"])
            yield Target(f"recorded, {part}: wrong or broken", "0", wrong + broken, "", not wrong + broken)
        else:
            yield Target(f"recorded, {part}: wrong or broken", "0", None, why=reading.why("correctness", part))


def _memory(reading: Reading, sides: tuple[int, ...]) -> Iterator[Target]:
    large = sides[0]
    yield reading.at_most(f"memory, {large} px", 8, ("memory", f"{large}", "peak_gb"), "GB")
    part = f"{large}, low: networks by turns, rows apart"
    yield reading.at_most("low memory: networks by turns", 5, ("memory", part, "peak_gb"), "GB")
    part = f"{large}, low: 8-bit weights by turns, rows apart"
    yield reading.at_most("low memory: and 8-bit weights", 5, ("memory", part, "peak_gb"), "GB")
    for limit in (8, 5):
        part = f"{large}, in {limit} GB"
        yield reading.at_most(f"as on a card of {limit} GB", limit, ("memory", part, "peak_gb"), "GB")


def _redubs(reading: Reading) -> Iterator[Target]:
    def rate(name: str, how: str, least: float | None) -> Target:
        place = "redubs", f"{name}, {how}", "frames_per_s"
        words = f"{name}, {how}"
        return reading.at_least(words, least, place, "fps") if least else reading.shown(words, "", place, "fps")

    yield rate("Wav2Lip 96", "files", 60)
    yield rate("Wav2Lip 96", "whole", 60)
    yield reading.at_most("Wav2Lip 96, memory", 2, ("redubs", "Wav2Lip 96, whole", "peak_gb"), "GB")
    yield rate("MuseTalk", "files", 30)
    yield rate("MuseTalk", "whole", 30)
    yield reading.at_most("LatentSync 256, memory", 4.5, ("redubs", "LatentSync 256, whole", "peak_gb"), "GB")
    yield reading.at_most("LatentSync 512, memory", 8, ("redubs", "LatentSync 512, whole", "peak_gb"), "GB")
    for name in ("Wav2Lip 96", "Wav2Lip 256", "LatentSync 256", "LatentSync 512", "MuseTalk", "Ultralight"):
        yield rate(name, "alone", None)


def _ways(reading: Reading, sides: tuple[int, ...]) -> Iterator[Target]:
    large = sides[0]
    yield reading.shown("gain by compiling a step", "0.08 to 0.18", ("compiled", f"step {large}", "gain"))
    yield reading.shown("seconds until it is compiled", "", ("compiled", f"step {large}", "compile_s"), "s")
    yield reading.at_most("breaks of compiled parts", 0, ("compiled", "graph breaks", "breaks"))
    for side in sides:
        wanted = "0" if side == large else "0.1 to 0.3"
        yield reading.shown(f"gain by a recorded step, {side} px", wanted, ("graphs", f"step {side}", "gain"))
    yield reading.shown("gain by other layouts", "0.05 to 0.08", ("layout", f"step {large}", "gain"))
    yield reading.shown("gain by larger workspaces", "0.01", ("sweeps", f"workspace keys, {large}", "gain"))
    yield reading.shown("gain by other slices", "", ("sweeps", f"feed-forward slices, {large}", "gain"))
    yield reading.shown("share of a step without work", "", ("profile", f"step {large}", "idle_share"))
    yield reading.at_most("waits for the device, each step", 0, ("clip", "waits", "waits_a_step"))


def _training(reading: Reading) -> Iterator[Target]:
    for part in ("bf16, 1 at once", "fp16 with scaled gradients", "bf16, 8-bit Adam"):
        yield reading.shown(f"training, {part}", "", ("training", part, "samples_per_s"), "samples/s")
        yield reading.shown(f"training, {part}: memory", "", ("training", part, "peak_gb"), "GB")


def table(found: Found, sides: tuple[int, ...] = SIDES) -> str:
    rows = [("target", "wanted", "measured", "met"), *(target.row() for target in targets(found, sides))]
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    lines = [
        "  ".join([*(f"{cell:{w}}" for cell, w in zip(row, widths, strict=False)), row[3]]).rstrip() for row in rows
    ]
    return "\n".join([lines[0], "-" * len(lines[0]), *lines[1:]])
