"""How much the networks work on at a time, for each kind of device: one table, which benchmarks may tune."""

from __future__ import annotations

from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Portions:
    feed_forward: int  # elements inside a feed-forward
    shared_keys: int  # keys in the workspace of frames that share a reference's
    rows: int  # of guidance that run together, where a method can do both


PORTIONS = {"cpu": Portions(1 << 22, 8192, 2)}  # sized for its cache; it lays out weights anew for every use
ELSEWHERE = Portions(1 << 26, 8192, 1)  # few enough for small GPUs; `working_memory` goes by these


def portions(device: torch.device) -> Portions:
    return PORTIONS.get(device.type, ELSEWHERE)
