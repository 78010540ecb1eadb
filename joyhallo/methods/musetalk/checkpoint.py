"""Files of MuseTalk -> networks: the UNet of both versions, and the parser of faces that it may work with."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor, nn

from ...files.weights import FLOATS, WeightsError, open_weights
from ...libraries import brief
from ...ops import Ops, TorchOps
from .. import MUSETALK, PARSER, looks_like
from .network import Sizes, UNet
from .parser import Parser

WANTED = "MuseTalk's UNet: musetalkV15/unet.pth of version 1.5, or musetalk/pytorch_model.bin of 1.0."
PARSER_WANTED = "BiSeNet, which tells the parts of a face apart: 79999_iter.pth."
EPSILON = 1e-5  # of every BatchNorm there
COUNTER = ".num_batches_tracked"
NORM = ("weight", "bias", "running_mean", "running_var")
MOST_TOLD = 3  # names of tensors

State = Mapping[str, Tensor]
Network = TypeVar("Network", bound=nn.Module)


@dataclass(frozen=True)
class Checkpoint(Generic[Network]):
    """A file whose network is known, with its weights still on disk, mapped into memory where the format allows."""

    network: Callable[[Ops], Network]
    weights: State  # under the names of the network here

    @property
    def dtype(self) -> torch.dtype:
        """The dtype of most of the weights."""
        return max(self.weights.values(), key=Tensor.numel).dtype

    @property
    def parameters(self) -> int:
        return sum(tensor.numel() for tensor in self.weights.values())

    def build(
        self, ops: Ops = TorchOps, *, dtype: torch.dtype | None = None, device: torch.device | str = "cpu"
    ) -> Network:
        """In the file's precision unless `dtype` is given; 8 bits only for matrices, as biases would save nothing."""
        dtype = dtype or self.dtype
        small = dtype if dtype.itemsize > 1 else torch.float16
        with torch.device("meta"):
            net = self.network(ops)
        state = {key: tensor.to(device, dtype if tensor.ndim > 1 else small) for key, tensor in self.weights.items()}
        net.load_state_dict(state, strict=True, assign=True)
        return net.requires_grad_(False).eval()


def open_checkpoint(path: str | Path) -> Checkpoint[UNet]:
    """Open a UNet of either version, or raise a WeightsError that says what the file is instead."""
    path = Path(path)
    state = _opened(path, WANTED, MUSETALK.words)
    try:
        sizes = Sizes.of(state)
    except (LookupError, ValueError) as error:
        raise WeightsError(f"{path.name} looks like {MUSETALK.words}, but {brief(error)}. Expected {WANTED}") from error
    _check(path, state, lambda ops: UNet(sizes, ops), MUSETALK.words)
    return Checkpoint(lambda ops: UNet(sizes, ops), state)


def open_parser(path: str | Path) -> Checkpoint[Parser]:
    path = Path(path)
    state = _opened(path, PARSER_WANTED, PARSER.words)
    try:
        state = folded(state)
    except (LookupError, RuntimeError) as error:
        raise WeightsError(
            f"{path.name} looks like {PARSER.words}, but a norm is missing or of another shape ({brief(error)}). "
            "It is damaged; download it again."
        ) from error
    _check(path, state, Parser, PARSER.words)
    return Checkpoint(Parser, state)


def _opened(path: Path, wanted: str, kind: str) -> dict[str, Tensor]:
    state = open_weights(path, wanted)[0]
    if (found := looks_like(state)) != kind:
        raise WeightsError(f"{path.name} looks like {found}. Expected {wanted}")
    state = {key: tensor for key, tensor in state.items() if not key.endswith(COUNTER)}
    if odd := [key for key, tensor in state.items() if tensor.dtype not in FLOATS]:
        raise WeightsError(f"{path.name} holds whole numbers ({odd[0]}) where weights are expected. Expected {wanted}")
    return state


def _check(path: Path, state: State, network: Callable[[Any], nn.Module], kind: str) -> None:
    with torch.device("meta"):
        expected = {key: tensor.shape for key, tensor in network(TorchOps).state_dict().items()}
    found = {key: tensor.shape for key, tensor in state.items()}
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


def folded(state: State) -> dict[str, Tensor]:
    """The weights of networks without norms: each BatchNorm multiplies and moves what the convolution before it gives.

    Done in double precision.
    """
    whole = dict(state)
    for key in [key for key in state if key.endswith(".running_mean")]:
        norm = key.removesuffix(".running_mean")
        weight, bias, mean, variance = (whole.pop(f"{norm}.{part}").double() for part in NORM)
        before = convolution(norm)
        scale = weight / (variance + EPSILON).sqrt()
        kernel = whole[f"{before}.weight"]
        whole[f"{before}.weight"] = (kernel.double() * scale.view(-1, 1, 1, 1)).to(kernel.dtype)
        whole[f"{before}.bias"] = (bias - mean * scale).to(kernel.dtype)
    return whole


def convolution(norm: str) -> str:
    """The name of what a norm follows: `bn` of `conv`, `bn1` of `conv1`, `bn_atten` of `conv_atten`, 1 of 0."""
    path, _, name = norm.rpartition(".")
    return f"{path}.{'0' if name == '1' else name.replace('bn', 'conv')}"
