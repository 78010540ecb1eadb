"""Files of Ultralight-Digital-Human -> networks, in the spelling of today and in that of 2024."""

from __future__ import annotations

import re
from pathlib import Path

from torch import Tensor

from ...files.checkpoint import Checkpoint, State, channels_last, check, shapes, weights_of
from ...files.contents import WeightsError
from ...files.norms import folded
from ...libraries import brief
from .. import ALL, ULTRALIGHT
from .network import WENET, Generator, Sizes

WANTED = "a generator of Ultralight-Digital-Human, trained for one person with --asr hubert."
OLD_SPELLING = re.compile(r"^(down\d\.maxpool_conv|inc\.inconv)\.0\.(?=double_conv\.|conv\.)")


def open_checkpoint(path: str | Path) -> Checkpoint[Generator]:
    """Open the generator of a person, or raise a WeightsError that says what the file is instead."""
    path = Path(path)
    state = {todays(key): tensor for key, tensor in weights_of(path, WANTED, [ULTRALIGHT.words], ALL).items()}
    try:
        sizes = Sizes.of(state)
        plain = without_norms({key: tensor.to("meta") for key, tensor in state.items()})
    except (LookupError, RuntimeError, ValueError) as error:
        raise WeightsError(
            f"{path.name} looks like {ULTRALIGHT.words}, but {brief(error)}. Expected {WANTED}"
        ) from error
    if sizes.ear is WENET:
        raise WeightsError(
            f"{path.name} was trained with --asr wenet, whose speech encoder is not available here. Expected {WANTED} "
            "Train it again with HuBERT."
        )
    check(path, plain, shapes(lambda: Generator(sizes)), ULTRALIGHT.words)
    return Checkpoint(lambda ops: Generator(sizes, ops), state, without_norms)


def todays(key: str) -> str:
    return OLD_SPELLING.sub(r"\1.", key)


def without_norms(state: State) -> dict[str, Tensor]:
    """Of a file's weights, those of a network without norms.

    It answers as before to 1e-9 in double precision, and in single to 1.2e-7 of 1 as the original on recorded cases.
    """
    return channels_last(folded(state, convolution))


def convolution(norm: str) -> str:
    """The name of what a norm follows: 0 of 1, 3 of 4, 6 of 7, `conv3` of `bn3`."""
    path, _, name = norm.rpartition(".")
    return f"{path}.{int(name) - 1 if name.isdigit() else name.replace('bn', 'conv')}"
