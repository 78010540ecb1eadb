"""Files of Ultralight-Digital-Human -> networks, in the spelling of today and in that of 2024."""

from __future__ import annotations

import re
from pathlib import Path

from torch import Tensor

from ...files.checkpoint import PREFIX, Checkpoint, State, channels_last, check, check_floats, shapes
from ...files.contents import WeightsError
from ...files.norms import COUNTER, folded
from ...files.weights import open_weights
from ...libraries import brief
from .. import ULTRALIGHT, looks_like
from .network import WENET, Generator, Sizes

WANTED = "a generator of Ultralight-Digital-Human, trained for one person with --asr hubert."
OLD_SPELLING = re.compile(r"^(down\d\.maxpool_conv|inc\.inconv)\.0\.(?=double_conv\.|conv\.)")


def open_checkpoint(path: str | Path) -> Checkpoint[Generator]:
    """Open the generator of a person, or raise a WeightsError that says what the file is instead."""
    path = Path(path)
    state = _opened(path)
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


def _opened(path: Path) -> dict[str, Tensor]:
    """Under today's names, without BatchNorm's counters."""
    state = open_weights(path, WANTED)[0]
    if (found := looks_like(state)) != ULTRALIGHT.words:
        raise WeightsError(f"{path.name} looks like {found}. Expected {WANTED}")
    state = {todays(key): tensor for key, tensor in state.items() if not key.endswith(COUNTER)}
    check_floats(path, state, WANTED)
    return state


def todays(key: str) -> str:
    return OLD_SPELLING.sub(r"\1.", key.removeprefix(PREFIX))


def without_norms(state: State) -> dict[str, Tensor]:
    """Of a file's weights, those of a network without norms.

    It answers as before to 1e-9 in double precision, and in single to 1.2e-7 of 1 as the original on recorded cases.
    """
    return channels_last(folded(state, convolution))


def convolution(norm: str) -> str:
    """The name of what a norm follows: 0 of 1, 3 of 4, 6 of 7, `conv3` of `bn3`."""
    path, _, name = norm.rpartition(".")
    return f"{path}.{int(name) - 1 if name.isdigit() else name.replace('bn', 'conv')}"
