"""Files of HuBERT large -> its encoder: of Hugging Face, with what it was trained to read with or without."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from ..files.checkpoint import Checkpoint, check, check_floats, shapes
from ..files.contents import HUBERT, WAV2VEC2, WeightsError, looks_like
from ..files.weights import modern_spelling, open_weights
from ..libraries import brief
from .hubert import Hubert, Sizes

WANTED = "HuBERT large: pytorch_model.bin or model.safetensors of facebook/hubert-large-ls960-ft."
PREFIX = "hubert."
PARTS = ("feature_extractor.", "feature_projection.", "encoder.")
POSITIONS = "encoder.pos_conv_embed.conv"
GAIN, DIRECTION = (f"{POSITIONS}.parametrizations.weight.original{number}" for number in (0, 1))
WIDTH = 1024


def open_hubert(path: str | Path) -> Checkpoint[Hubert]:
    """Open an encoder, or raise a WeightsError that says what the file is instead."""
    path = Path(path)
    state, _ = open_weights(path, WANTED)
    kind = looks_like(state)
    bare = kind == WAV2VEC2.words and not any(key.startswith("wav2vec2.") for key in state)
    if kind != HUBERT.words and not bare:
        raise WeightsError(f"{path.name} looks like {kind}. Expected {WANTED}")
    found = {key.removeprefix(PREFIX): tensor for key, tensor in modern_spelling(state).items()}
    encoder = {key: tensor for key, tensor in found.items() if key.startswith(PARTS)}
    check_floats(path, encoder, WANTED)
    try:
        plain = with_plain_positions({key: tensor.to("meta") for key, tensor in encoder.items()})
        sizes = Sizes.of(plain)
    except (LookupError, RuntimeError, ValueError, ZeroDivisionError) as error:
        raise WeightsError(f"{path.name} looks like {kind}, but {brief(error)}. Expected {WANTED}") from error
    if sizes.width != WIDTH:
        raise WeightsError(
            f"{path.name} is an encoder {sizes.width} numbers wide, where methods were trained with {WIDTH}. "
            f"Expected {WANTED}"
        )
    check(path, plain, shapes(lambda: Hubert(sizes)), kind)
    return Checkpoint(lambda ops: Hubert(sizes, ops), encoder, with_plain_positions)


def with_plain_positions(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Files hold the convolution that tells positions as directions, and their lengths for each place of its kernel."""
    plain = dict(state)
    if DIRECTION in plain:
        gain, direction = plain.pop(GAIN).double(), plain.pop(DIRECTION).double()
        plain[f"{POSITIONS}.weight"] = direction * (
            gain / torch.linalg.vector_norm(direction, dim=(0, 1), keepdim=True)
        )
    return plain
