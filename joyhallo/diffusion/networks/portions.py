"""How much the networks work on at a time, for each kind of device: one table, which benchmarks may tune."""

from __future__ import annotations

from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Portions:
    feed_forward: int  # elements inside a feed-forward
    shared_keys: int  # keys in the workspace of frames that share a reference's


PORTIONS = {"cpu": Portions(1 << 22, 8192)}  # sized for its cache
ELSEWHERE = Portions(1 << 26, 8192)  # few enough for small GPUs; `working_memory` goes by these


def portions(device: torch.device) -> Portions:
    return PORTIONS.get(device.type, ELSEWHERE)
