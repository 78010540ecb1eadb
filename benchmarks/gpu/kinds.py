"""The four kinds of part that a step is made of, at some of its levels, with what they are given in a step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import nn

from .bench import Bench, ordinary
from .scene import captured, scene

KINDS = ("resnet", "attention", "audio_module", "motion_module")


@dataclass(frozen=True)
class Kind:
    name: str
    module: nn.Module
    given: tuple[Any, ...]

    def __call__(self) -> Any:
        return self.module(*self.given)


def kinds(bench: Bench, side: int) -> list[Kind]:
    """Of the last layer of each level on the way down."""

    def make() -> list[Kind]:
        made = scene(bench, side)
        blocks = {level: made.net.denoising_unet.down_blocks[level] for level in bench.scale.levels}
        modules = {
            f"{kind}, level {level}": getattr(block, f"{kind}s")[-1]
            for level, block in blocks.items()
            for kind in KINDS
        }
        given = captured(list(modules.values()), made.step)
        return [Kind(name, module, some) for (name, module), some in zip(modules.items(), given, strict=True)]

    with ordinary():
        return bench.keep(("kinds", side), make)
