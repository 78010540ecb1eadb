"""The JSON: what each part of each block gave, or why it gave nothing. It is written anew after every part."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .plan import Block

NOT_BEGUN = {"reason": "time ran out before it began"}


@dataclass
class Report:
    path: Path
    blocks: list[Block]
    about: dict[str, Any]  # the run itself
    found: dict[str, dict[str, dict[str, Any]]] = field(default_factory=dict)  # by block, by part
    seconds: dict[str, float] = field(default_factory=dict)

    def hear(self, line: dict[str, Any]) -> None:
        """A line of the worker's."""
        block = line["block"]
        parts = self.found.setdefault(block, {})
        for name in line.get("parts", ()):
            parts.setdefault(name, NOT_BEGUN)
        if "found" in line:
            parts[line["part"]] = line["found"]
            self.seconds[block] = round(self.seconds.get(block, 0.0) + line["seconds"], 2)
            self.write()

    @property
    def done(self) -> list[str]:
        return [
            f"{block}/{part}" for block, parts in self.found.items() for part in parts if not self._waits(block, part)
        ]

    def _waits(self, block: str, part: str) -> bool:
        return self.found[block][part] is NOT_BEGUN

    @property
    def failed(self) -> list[str]:
        return [f"{b}/{p}" for b, parts in self.found.items() for p, told in parts.items() if "failed" in told]

    def write(self) -> None:
        blocks = {block.name: self.found.get(block.name) or {"all": NOT_BEGUN} for block in self.blocks}
        told = {"about": self.about, "seconds": self.seconds, "blocks": blocks}
        passing = self.path.with_name(f"{self.path.name}.part")
        passing.write_text(json.dumps(told, indent=1), encoding="utf-8")
        os.replace(passing, self.path)
