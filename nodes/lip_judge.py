"""Who judges lip sync: our own lip reader, or a SyncNet of the user's."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import comfy.model_management
import torch

from ..joyhallo.measures.judges import JUDGES
from ..joyhallo.measures.lip_judges import Watched, by_lip_reader, by_syncnet
from ..joyhallo.measures.lip_reader import BUNDLED, open_lip_reader
from ..joyhallo.measures.syncnet import open_syncnet
from . import model_folders
from .comfy_adapter import Part
from .model_folders import LIP_READER
from .preview import stop
from .redub_parts import opened_by
from .report import SHORT
from .scoring import Speaking

SYNCNET = "syncnet"
MEMORY = {by_lip_reader: 64 << 20, by_syncnet: 512 << 20}  # bytes beside the weights; measured, and a third more


@dataclass(frozen=True)
class LipJudge:
    title: str
    part: Part
    by: Callable[..., Watched]

    @property
    def device(self) -> torch.device:
        return self.part.patcher.load_device

    @property
    def is_ours(self) -> bool:
        return self.by is by_lip_reader

    def watch(self, speaking: Speaking, on_step: Callable[[int], None]) -> Watched:
        return self.by(
            self.part.made,
            speaking.pieces(),
            speaking.boxes,
            speaking.cuts,
            on_step=on_step,
            device=self.device,
            ready=self._ready,
        )

    def _ready(self, network: Any) -> Any:
        stop()
        comfy.model_management.load_models_gpu([self.part.patcher], memory_required=MEMORY[self.by])
        return network


def lip_judge(choice: str) -> LipJudge:
    if choice == LIP_READER:
        part = opened_by(open_lip_reader)(BUNDLED)
        return LipJudge(
            "the lip reader that comes with these nodes, whose numbers are not SyncNet's", part, by_lip_reader
        )
    part = opened_by(open_syncnet)(model_folders.find_judge(choice, SYNCNET))
    licence = JUDGES[SYNCNET].licence
    return LipJudge(f"SyncNet, {choice}, weights {part.fingerprint[:SHORT]}, licence {licence}", part, by_syncnet)
