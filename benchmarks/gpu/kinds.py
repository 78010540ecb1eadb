"""The four kinds of part that a step is made of, at some of its levels, with what they are given in a step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from .bench import Bench
from .scene import Scene, captured, scene

LEVELS = (0, 2)


@dataclass(frozen=True)
class Kind:
    name: str
    module: nn.Module
    given: tuple[Any, ...]

    def __call__(self) -> Any:
        return self.module(*self.given)


def every(made: Scene) -> dict[str, nn.Module]:
    """All of a step, by place."""
    unet, found = made.net.denoising_unet, {}
    blocks = {f"down {i}": block for i, block in enumerate(unet.down_blocks)}
    blocks |= {"mid": unet.mid_block} | {f"up {i}": block for i, block in enumerate(unet.up_blocks)}
    for place, block in blocks.items():
        for kind in ("resnets", "attentions", "audio_modules", "motion_modules"):
            for number, module in enumerate(getattr(block, kind, ())):
                found[f"{kind} {place}.{number}"] = module
    return found


@torch.inference_mode()
def kinds(bench: Bench, side: int) -> list[Kind]:
    """Of the last layer of each level on the way down."""

    def make() -> list[Kind]:
        made = scene(bench, side)
        blocks = {level: made.net.denoising_unet.down_blocks[level] for level in LEVELS}
        modules = {
            f"{kind}, level {level}": getattr(block, f"{kind}s")[-1]
            for level, block in blocks.items()
            for kind in ("resnet", "attention", "audio_module", "motion_module")
        }
        given = captured(list(modules.values()), made.step)
        return [Kind(name, module, some) for (name, module), some in zip(modules.items(), given, strict=True)]

    return bench.keep(("kinds", side), make)
