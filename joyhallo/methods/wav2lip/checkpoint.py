"""Files of Wav2Lip -> networks: the generators of 96 and of 256 pixels, and the expert that judges lip sync."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from torch import Tensor, nn

from ...files.checkpoint import Checkpoint, State, channels_last, check, shapes, weights_of
from ...files.norms import NORM, folded
from .. import ALL, looks_like
from .expert import Expert
from .network import Generator

ADVICE = "Choose wav2lip.pth, wav2lip_gan.pth or wav2lip256.pth, or what `python -m joyhallo.convert` made of one."
WANTED = f"a Wav2Lip generator. {ADVICE}"
EXPERT = "Wav2Lip's sync expert"
EXPERT_WANTED = f"{EXPERT}, lipsync_expert.pth."
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
    state = weights_of(path, WANTED, SIZES, ALL)
    kind = looks_like(state)
    size = SIZES[kind]
    check(path, state, published(lambda: Generator(size)), kind)
    return Checkpoint(lambda ops: Generator(size, ops), state, without_norms)


def open_expert(path: str | Path) -> Checkpoint[Expert]:
    path = Path(path)
    state = weights_of(path, EXPERT_WANTED, [EXPERT], ALL)
    check(path, state, published(Expert), EXPERT)
    return Checkpoint(Expert, state, without_norms)


def published(network: Callable[[], nn.Module]) -> dict[str, tuple[int, ...]]:
    """The names and shapes of a network's file: with a BatchNorm of as many channels as a block's bias."""
    found = {}
    for key, shape in shapes(network).items():
        found[key] = shape
        if key.endswith(".conv_block.0.bias"):
            found |= dict.fromkeys((key.replace("0.bias", f"1.{part}") for part in NORM), shape)
    return found
