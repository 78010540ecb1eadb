"""Weights of a known network: `weights_of` and `check`, which open and compare a file, and `Checkpoint`."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

import torch
from torch import Tensor, nn

from ..ops import Ops, TorchOps
from .contents import Kind, WeightsError, looks_like
from .norms import COUNTER
from .weights import FLOATS, open_weights

MOST_TOLD = 3  # names of tensors
PREFIX = "module."  # what training on several processors puts before every name

State = Mapping[str, Tensor]
Network = TypeVar("Network", bound=nn.Module)


class Stored:
    """What weights tell that are still on disk, mapped into memory where the format allows."""

    weights: State

    @property
    def dtype(self) -> torch.dtype:
        """The dtype of most of the weights."""
        return max(self.weights.values(), key=Tensor.numel).dtype

    @property
    def parameters(self) -> int:
        return sum(tensor.numel() for tensor in self.weights.values())


@dataclass(frozen=True)
class Checkpoint(Stored, Generic[Network]):
    network: Callable[[Ops], Network]
    weights: State  # under the names of the file
    prepared: Callable[[State], State] = lambda weights: weights  # under those of the network

    def build(
        self, ops: Ops = TorchOps, *, dtype: torch.dtype | None = None, device: torch.device | str = "cpu"
    ) -> Network:
        """In the file's precision unless `dtype` is given; 8 bits only for matrices: other numbers save nothing."""
        dtype = dtype or self.dtype
        small = dtype if dtype.itemsize > 1 else torch.float16
        with torch.device("meta"):
            net = self.network(ops)
        state = {
            key: tensor.to(device, dtype if tensor.ndim > 1 and key.endswith(".weight") else small)
            for key, tensor in self.prepared(self.weights).items()
        }
        net.load_state_dict(state, strict=True, assign=True)
        return net.requires_grad_(False).eval()


def shapes(network: Callable[[], nn.Module]) -> dict[str, tuple[int, ...]]:
    """By the names of a network's tensors; nothing of it is filled."""
    with torch.device("meta"):
        return {key: tuple(tensor.shape) for key, tensor in network().state_dict().items()}


def channels_last(state: State) -> dict[str, Tensor]:
    """In the order of memory in which convolutions take less time on processors, and crops of pictures come anyway."""
    return {
        key: tensor.contiguous(memory_format=torch.channels_last) if tensor.ndim == 4 else tensor
        for key, tensor in state.items()
    }


def weights_of(path: Path, wanted: str, meant: Collection[str], kinds: Iterable[Kind]) -> dict[str, Tensor]:
    """The weights of a file, without what training leaves; a WeightsError unless it looks like what is meant.

    wanted: completes "Expected ..."; meant: words of some of the kinds that files are told apart by
    """
    state = {key.removeprefix(PREFIX): tensor for key, tensor in open_weights(path, wanted)[0].items()}
    if (found := looks_like(state, kinds)) not in meant:
        raise WeightsError(f"{path.name} looks like {found}. Expected {wanted}")
    state = {key: tensor for key, tensor in state.items() if not key.endswith(COUNTER)}
    check_floats(path, state, wanted)
    return state


def check_floats(path: Path, state: State, wanted: str) -> None:
    """wanted: completes "Expected ..." """
    if odd := [key for key, tensor in state.items() if tensor.dtype not in FLOATS]:
        raise WeightsError(f"{path.name} holds whole numbers ({odd[0]}) where weights are expected. Expected {wanted}")


def check(path: Path, state: State, expected: Mapping[str, tuple[int, ...]], kind: str) -> None:
    """Raise a WeightsError unless a file has all of these tensors and no others. kind: what it looks like."""
    found = {key: tuple(tensor.shape) for key, tensor in state.items()}
    problems = [
        _listed(what, keys)
        for what, keys in (
            ("missing", [key for key in expected if key not in found]),
            ("unknown", [key for key in found if key not in expected]),
            ("of another shape", [key for key in expected if found.get(key, expected[key]) != expected[key]]),
        )
        if keys
    ]
    if problems:
        raise WeightsError(
            f"{path.name} looks like {kind}, but not all of its tensors fit: {'; '.join(problems)}. It is damaged or "
            "of another version; download it again."
        )


def _listed(what: str, keys: Collection[str]) -> str:
    return f"{len(keys)} {what} ({', '.join(list(keys)[:MOST_TOLD])}{', ...' if len(keys) > MOST_TOLD else ''})"
