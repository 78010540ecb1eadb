"""Parts of a network compiled one by one, each when it first runs; parts that are alike share what was compiled."""

from __future__ import annotations

import logging
from collections.abc import Callable, Hashable
from functools import cache, partial
from types import FunctionType
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from ...libraries import brief
from .blocks import Part

log = logging.getLogger(__name__)

INDUCTOR = "inductor"  # PyTorch's own compiler
REMEDIES = {
    "cuda": "It needs Triton in the version that fits PyTorch: the package triton, on Windows triton-windows",
    "cpu": "It needs a C++ compiler: g++ or clang, on Windows that of Visual Studio",
}
BROKEN = "PyTorch failed to compile a part of the network"


class CompileError(RuntimeError):
    """Nothing can be compiled here; the message says why, and what may help."""


class Known(NamedTuple):
    kind: Hashable  # the same for parts that can share
    layers: list[Any]  # those with weights


class Compiled:
    """A `Runner` of a network's parts; the network itself stays as it is.

    Dynamo keeps what it compiled with the code of a function, and gives up after a few shapes. So each kind of part has
    a copy of that code for each size of its map: what was compiled goes with this object, and no setting is touched.
    A part whose weights wait elsewhere runs as it is, or each way to lie in memory would be compiled anew.
    """

    def __init__(self, backend: str | Callable[..., Any] = INDUCTOR):
        self.backend, self._told = backend, False
        self._parts: dict[nn.Module, Known] = {}
        self._made: dict[Hashable, Part] = {}

    def __call__(self, part: Any) -> Part:
        return partial(self._run, part)

    def _run(self, part: nn.Module, x: Tensor, *given: Any) -> Tensor:
        known = self._parts.get(part) or self._parts.setdefault(part, _known(part))
        if any(layer.weight.device != x.device for layer in known.layers):
            self._tell()
            return part(x, *given)
        key = known.kind, x.shape
        if key not in self._made:
            self._made[key] = _compiled(_passed, self.backend)
        try:
            return self._made[key](part, x, *given)
        except torch._dynamo.exc.TorchDynamoException as error:  # pyright: ignore[reportAttributeAccessIssue]
            raise CompileError(f"{BROKEN} ({_cause(error)}). Run it without compiling.") from error

    def _tell(self) -> None:
        if not self._told:
            self._told = True
            log.warning("Parts of the network whose weights wait in ordinary memory run uncompiled.")


@cache
def check(device: torch.device, backend: str | Callable[..., Any] = INDUCTOR) -> None:
    """Raise a CompileError unless something small can be compiled for a device: seconds, before minutes are spent."""
    try:
        works = bool(_compiled(_tried, backend)(torch.zeros(8, device=device)).all())
        reason = "" if works else "it is switched off, as by TORCH_COMPILE_DISABLE"
    except Exception as error:  # compilers fail in many ways
        reason = _cause(error)
    if reason:
        remedy = REMEDIES.get(device.type, "It may not know this device")
        raise CompileError(f"PyTorch cannot compile for {device.type} here ({reason}). {remedy}.")


def _tried(x: Tensor) -> Tensor:
    return x + 1 if torch.compiler.is_compiling() else x


def _passed(part: Part, *given: Any) -> Tensor:
    return part(*given)


def _cause(error: Exception) -> str:
    return brief(getattr(error, "inner_exception", error))


def _compiled(work: Callable[..., Tensor], backend: str | Callable[..., Any]) -> Part:
    own = FunctionType(work.__code__.replace(), work.__globals__)
    return torch.compile(own, backend=backend, dynamic=False)


def _known(part: nn.Module) -> Known:
    kind = type(part), *((name, weight.shape, weight.dtype) for name, weight in part.named_parameters())
    return Known(kind, [layer for layer in part.modules() if getattr(layer, "weight", None) is not None])
