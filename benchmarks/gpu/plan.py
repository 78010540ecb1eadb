"""What is measured, in the order of its worth, and how long each may take. Nothing here imports torch."""

from __future__ import annotations

from dataclasses import dataclass

ROOM = "benchmarks.gpu"


@dataclass(frozen=True)
class Block:
    """parts: a function, as module:name, that takes a `Bench` and gives a dict of what can be called, by name."""

    name: str
    parts: str
    seconds: float  # that it may take while others wait; what is left over comes afterwards, if time is left

    @classmethod
    def named(cls, name: str) -> Block:
        """One of those below, or one's own, as module:function."""
        known = {block.name: block for block in BLOCKS}
        if name not in known and ":" not in name:
            raise ValueError(f"The block {name!r} is unknown; choose from {', '.join(known)}, or give module:function.")
        return known.get(name) or cls(name, name, OWN_SECONDS)


OWN_SECONDS = 60
BLOCKS = (
    Block("identity", f"{ROOM}.identity:parts", 10),
    Block("rates", f"{ROOM}.rates:parts", 20),
    Block("steps", f"{ROOM}.steps:parts", 80),
    Block("original", f"{ROOM}.original:parts", 60),
    Block("correctness", f"{ROOM}.correctness:parts", 45),
    Block("memory", f"{ROOM}.memory:parts", 40),
    Block("pixels", f"{ROOM}.pixels:parts", 20),
    Block("redubs", f"{ROOM}.redubs:parts", 60),
    Block("training", f"{ROOM}.training:parts", 60),
    Block("compiled", f"{ROOM}.compiled:parts", 80),
    Block("graphs", f"{ROOM}.graphs:parts", 25),
    Block("clip", f"{ROOM}.clip:parts", 40),
    Block("attention", f"{ROOM}.attention:parts", 40),
    Block("sweeps", f"{ROOM}.sweeps:parts", 25),
    Block("layout", f"{ROOM}.layout:parts", 25),
    Block("profile", f"{ROOM}.profile:parts", 25),
    Block("nodes", f"{ROOM}.nodes:parts", 30),
)
