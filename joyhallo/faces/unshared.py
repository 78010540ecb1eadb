"""`unshared`: numbers on a CPU for NumPy. Torch shares work on them among threads, which wait for each other, and for
those that read and write films: what takes one thread a millisecond took them ten."""

from __future__ import annotations

from typing import Any

from torch import Tensor

Numbers = Any  # a tensor or, on a CPU, NumPy's view of it: indices and operators that change it are the same for both


def unshared(numbers: Tensor) -> Numbers:
    return numbers.numpy() if numbers.device.type == "cpu" else numbers
