"""Files of Wav2Lip -> networks: the generators of 96 and of 256 pixels, and the expert that judges lip sync."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from torch import Tensor, nn

from ...files.checkpoint import PREFIX, Checkpoint, State, channels_last, check, check_floats, shapes
from ...files.contents import WeightsError
from ...files.norms import COUNTER, NORM, folded
from ...files.weights import open_weights
from .. import looks_like
from .expert import Expert
from .network import Generator

ADVICE = "Choose wav2lip.pth, wav2lip_gan.pth or wav2lip256.pth, or what `python -m joyhallo.convert` made of one."
WANTED = f"a Wav2Lip generator. {ADVICE}"
EXPERT_WANTED = "Wav2Lip's sync expert, lipsync_expert.pth."
SIZES = {"a Wav2Lip generator": 96, "a Wav2Lip generator of 256 pixels": 256}  # by what a file looks like


def without_norms(state: State) -> dict[str, Tensor]:
    """Of a file's weights, those of networks without norms.

    These answer as before to 1e-13 in double precision. In single precision their answers are up to 3e-5 of 1 (6e-5
    with 256 pixels) off the original's on the recorded cases, as those of double precision are, with or without norms;
    with norms it would be 5e-6.
    """
    return channels_last(folded(state, lambda norm: f"{norm.removesuffix('1')}0"))


def open_checkpoint(path: str | Path) -> Checkpoint[Generator]:
    """Open a generator of 96 or 256 pixels, or raise a WeightsError that says what the file is instead."""
    path = Path(path)
    state = _opened(path, WANTED)
    size = SIZES.get(looks_like(state))
    if size is None:
        raise WeightsError(f"{path.name} looks like {looks_like(state)}. Expected {WANTED}")
    check(path, state, published(lambda: Generator(size)), looks_like(state))
    return Checkpoint(lambda ops: Generator(size, ops), state, without_norms)


def open_expert(path: str | Path) -> Checkpoint[Expert]:
    path = Path(path)
    state = _opened(path, EXPERT_WANTED)
    if looks_like(state) != "Wav2Lip's sync expert":
        raise WeightsError(f"{path.name} looks like {looks_like(state)}. Expected {EXPERT_WANTED}")
    check(path, state, published(Expert), looks_like(state))
    return Checkpoint(Expert, state, without_norms)


def _opened(path: Path, wanted: str) -> dict[str, Tensor]:
    """Under the published names, without BatchNorm's counters."""
    state = {key.removeprefix(PREFIX): tensor for key, tensor in open_weights(path, wanted)[0].items()}
    state = {key: tensor for key, tensor in state.items() if not key.endswith(COUNTER)}
    check_floats(path, state, wanted)
    return state


def published(network: Callable[[], nn.Module]) -> dict[str, tuple[int, ...]]:
    """The names and shapes of a network's file: with a BatchNorm of as many channels as a block's bias."""
    found = {}
    for key, shape in shapes(network).items():
        found[key] = shape
        if key.endswith(".conv_block.0.bias"):
            found |= dict.fromkeys((key.replace("0.bias", f"1.{part}") for part in NORM), shape)
    return found
