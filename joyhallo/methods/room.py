"""Whether there is room for a run of any method, before time is spent on it: `Memory`, and `frames_need` on disk."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from ..faces.boxes import Size
from ..files.space import Need, check_memory

COMPRESSED = 0.6  # of the bytes of what moves, at most, without loss: 0.4 were measured with noise in it


@dataclass(frozen=True)
class Memory:
    """Bytes on the device that computes, beside the weights."""

    task: str  # what needs it, as a sentence begins
    planned: int
    least: int  # with every saving
    remedy: str  # where even that is too much

    def check(self, device: torch.device, held: int, total: Callable[[torch.device], int]) -> None:
        """Raise a RoomError for what would run out of memory.

        held: bytes of the computer's own memory in which pictures are read, or finished chunks wait and are placed;
            total: of a device
        """
        check_memory(self.task, self.least + shared(device, held), total(device), self.remedy)
        check_memory("Holding frames", held, total(torch.device("cpu")), self.remedy)


def shared(device: torch.device, held: int) -> int:
    """What is held in the memory in which the device computes, too."""
    return held if device.type == "cpu" else 0


def frames_need(folder: Path, length: int, size: Size, moving: Size, depth: int = 8) -> Need:
    """Of a film without loss. moving: the part of its pictures that changes; depth: bits of each colour"""
    still, changing = 3 * size[0] * size[1], 3 * moving[0] * moving[1]
    return Need("the frames", folder, (still + int(COMPRESSED * length * changing)) * depth // 8)
