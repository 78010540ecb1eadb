"""Files of MuseTalk -> networks: the UNet of both versions, and the parser of faces that it may work with."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor

from ...files.checkpoint import Checkpoint, State, check
from ...files.weights import FLOATS, WeightsError, open_weights
from ...libraries import brief
from .. import MUSETALK, PARSER, looks_like
from .network import Sizes, UNet
from .parser import Parser

WANTED = "MuseTalk's UNet: musetalkV15/unet.pth of version 1.5, or musetalk/pytorch_model.bin of 1.0."
PARSER_WANTED = "BiSeNet, which tells the parts of a face apart: 79999_iter.pth."
EPSILON = 1e-5  # of every BatchNorm there
COUNTER = ".num_batches_tracked"
NORM = ("weight", "bias", "running_mean", "running_var")


def open_checkpoint(path: str | Path) -> Checkpoint[UNet]:
    """Open a UNet of either version, or raise a WeightsError that says what the file is instead."""
    path = Path(path)
    state = _opened(path, WANTED, MUSETALK.words)
    try:
        sizes = Sizes.of(state)
    except (LookupError, ValueError) as error:
        raise WeightsError(f"{path.name} looks like {MUSETALK.words}, but {brief(error)}. Expected {WANTED}") from error
    check(path, state, lambda ops: UNet(sizes, ops), MUSETALK.words)
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
    check(path, state, Parser, PARSER.words)
    return Checkpoint(Parser, state)


def _opened(path: Path, wanted: str, kind: str) -> dict[str, Tensor]:
    state = open_weights(path, wanted)[0]
    if (found := looks_like(state)) != kind:
        raise WeightsError(f"{path.name} looks like {found}. Expected {wanted}")
    state = {key: tensor for key, tensor in state.items() if not key.endswith(COUNTER)}
    if odd := [key for key, tensor in state.items() if tensor.dtype not in FLOATS]:
        raise WeightsError(f"{path.name} holds whole numbers ({odd[0]}) where weights are expected. Expected {wanted}")
    return state


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
