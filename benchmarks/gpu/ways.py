"""Other ways to compute the same: kernels of attention, and orders of memory."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any
from unittest import mock

import torch
from torch import Tensor

from joyhallo.diffusion.networks import attention, blocks

from .bench import Unavailable

BACKENDS = {
    "flash": "FLASH_ATTENTION",
    "efficient": "EFFICIENT_ATTENTION",
    "cudnn": "CUDNN_ATTENTION",
    "math": "MATH",
}
LAYOUTS = {"channels last": torch.channels_last, "contiguous": torch.contiguous_format}


def backend(name: str) -> Any:
    """Nothing but this kernel: what it cannot do raises."""
    if name == "default":
        return nullcontext()
    try:
        from torch.nn.attention import SDPBackend, sdpa_kernel
    except ImportError as error:
        raise Unavailable(f"this torch cannot choose among kernels of attention ({error})") from error
    if not hasattr(SDPBackend, BACKENDS[name]):
        raise Unavailable(f"this torch has no attention called {name}")
    return sdpa_kernel([getattr(SDPBackend, BACKENDS[name])])


def missing(error: Exception) -> bool:
    """Whether a kernel refuses, by its own words, what it was not made for."""
    told = str(error)
    return any(words in told for words in ("No available kernel", "not supported", "No viable backend", "invalid"))


@contextmanager
def layout(name: str) -> Iterator[None]:
    """The order of memory of maps; that of weights is theirs."""
    order = LAYOUTS[name]

    def laid_out(x: Tensor) -> Tensor:
        return x.contiguous(memory_format=order)

    with mock.patch.object(blocks, "laid_out", laid_out), mock.patch.object(attention, "laid_out", laid_out):
        yield
