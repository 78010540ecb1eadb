"""PRESETS: named choices of solver, steps, guidance and reuse, measured by `benchmarks/presets.py`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .sampling import Settings


@dataclass(frozen=True)
class Preset:
    """The fields of Settings that trade faithfulness to the original for speed. The defaults are the original's."""

    solver: str = Settings.solver
    steps: int = Settings.steps
    guidance_span: tuple[float, float] = Settings.guidance_span
    reuse: int = Settings.reuse

    def settings(self, steps: int = 0, **others: Any) -> Settings:
        """Make Settings with this preset's choices; `steps` overrides its own number unless 0.

        `others` are the remaining fields of Settings, by name.
        """
        return Settings(
            steps=steps or self.steps,
            solver=self.solver,
            guidance_span=self.guidance_span,
            reuse=self.reuse,
            **others,
        )


# For the same saving, fewer steps of a better solver stay closer to Exact than less guidance or more reuse.
PRESETS: Mapping[str, Preset] = {
    "exact": Preset(),
    "balanced": Preset("dpmpp_2m", steps=20),
    "fast": Preset("dpmpp_2m", steps=12),
    "draft": Preset("dpmpp_2m", steps=6),
}
