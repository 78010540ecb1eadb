"""Files of MuseTalk -> networks: the UNet of both versions, and the parser of faces that it may work with."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor

from ...files.checkpoint import Checkpoint, State, channels_last, check, shapes, weights_of
from ...files.contents import WeightsError
from ...files.norms import folded
from ...libraries import brief
from .. import ALL, MUSETALK, PARSER
from .network import Sizes, UNet
from .parser import Parser

WANTED = "MuseTalk's UNet: musetalkV15/unet.pth of version 1.5, or musetalk/pytorch_model.bin of 1.0."
PARSER_WANTED = "BiSeNet, which tells the parts of a face apart: 79999_iter.pth."


def open_checkpoint(path: str | Path) -> Checkpoint[UNet]:
    """Open a UNet of either version, or raise a WeightsError that says what the file is instead."""
    path = Path(path)
    state = weights_of(path, WANTED, [MUSETALK.words], ALL)
    try:
        sizes = Sizes.of(state)
    except (LookupError, ValueError) as error:
        raise WeightsError(f"{path.name} looks like {MUSETALK.words}, but {brief(error)}. Expected {WANTED}") from error
    check(path, state, shapes(lambda: UNet(sizes)), MUSETALK.words)
    return Checkpoint(lambda ops: UNet(sizes, ops), state)


def open_parser(path: str | Path) -> Checkpoint[Parser]:
    path = Path(path)
    state = weights_of(path, PARSER_WANTED, [PARSER.words], ALL)
    try:
        plain = without_norms({key: tensor.to("meta") for key, tensor in state.items()})
    except (LookupError, RuntimeError) as error:
        raise WeightsError(
            f"{path.name} looks like {PARSER.words}, but a norm is missing or of another shape ({brief(error)}). "
            "It is damaged; download it again."
        ) from error
    check(path, plain, shapes(Parser), PARSER.words)
    return Checkpoint(Parser, state, without_norms)


def without_norms(state: State) -> dict[str, Tensor]:
    """Of the parser's file, which has them."""
    return channels_last(folded(state, convolution))


def convolution(norm: str) -> str:
    """The name of what a norm follows: `bn` of `conv`, `bn1` of `conv1`, `bn_atten` of `conv_atten`, 1 of 0."""
    path, _, name = norm.rpartition(".")
    return f"{path}.{'0' if name == '1' else name.replace('bn', 'conv')}"
