"""Files of Whisper, tiny or small -> its encoder, whether OpenAI's, Hugging Face's or one of the encoder alone."""

from __future__ import annotations

import re
from pathlib import Path

from torch import Tensor

from ..files.checkpoint import Checkpoint, check, check_floats, shapes
from ..files.contents import WeightsError, looks_like
from ..files.weights import open_weights
from .whisper import BANDS, Whisper

WANTED = "Whisper tiny, such as openai's tiny.pt or model.safetensors of whisper-tiny."
KIND = "Whisper"
ENCODER = re.compile(r"^(model\.)?encoder\.")
DECODER = re.compile(r"^(model\.)?decoder\.|^proj_out\.")
TABLE = "positional_embedding"
ENGLISH = 51864  # words that the versions for English alone know: one fewer than the others
VOCABULARY = re.compile(r"^(model\.)?decoder\.(embed_tokens|token_embedding)\.weight$")
WIDEST = {384: "tiny", 768: "small"}
OURS = (  # Hugging Face's names -> the authors'
    (r"^embed_positions\.weight$", TABLE),
    (r"^layer_norm\.", "ln_post."),
    (r"^layers\.(\d+)\.", r"blocks.\1."),
    (r"\.self_attn\.q_proj\.", ".attn.query."),
    (r"\.self_attn\.k_proj\.", ".attn.key."),
    (r"\.self_attn\.v_proj\.", ".attn.value."),
    (r"\.self_attn\.out_proj\.", ".attn.out."),
    (r"\.self_attn_layer_norm\.", ".attn_ln."),
    (r"\.fc1\.", ".mlp.0."),
    (r"\.fc2\.", ".mlp.2."),
    (r"\.final_layer_norm\.", ".mlp_ln."),
)
SIGNS = ("conv1.weight", "conv2.weight", TABLE, "ln_post.weight")


def open_whisper(path: str | Path) -> Checkpoint[Whisper]:
    """Open an encoder, or raise a WeightsError that says what the file is instead."""
    path = Path(path)
    state, _ = open_weights(path, WANTED)
    encoder = encoder_of(state)
    if not all(sign in encoder for sign in SIGNS):
        raise WeightsError(f"{path.name} looks like {looks_like(state)}. Expected {WANTED}")
    check_floats(path, encoder, WANTED)
    words = next((tensor.shape[0] for key, tensor in state.items() if VOCABULARY.match(key)), 0)
    if words == ENGLISH:
        raise WeightsError(f"{path.name} is Whisper for English alone, with which no method was trained. {WANTED}")
    width, bands = encoder["conv1.weight"].shape[:2]
    blocks = 1 + max((int(found[1]) for key in encoder if (found := re.match(r"blocks\.(\d+)\.", key))), default=-1)
    if bands != BANDS or width > max(WIDEST):
        raise WeightsError(
            f"{path.name} is a Whisper {width} numbers wide that hears {bands} bands; no method here was trained with "
            f"one as large. Expected {WANTED}"
        )
    check(path, encoder, shapes(lambda: Whisper(width, blocks)), KIND)
    return Checkpoint(lambda ops: Whisper(width, blocks, ops), encoder)


def encoder_of(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The encoder's tensors under their authors' names, from a file of any form."""
    within = {ENCODER.sub("", key): tensor for key, tensor in state.items() if ENCODER.match(key)}
    return {_ours(key): tensor for key, tensor in (within or state).items() if not DECODER.match(key)}


def _ours(key: str) -> str:
    for theirs, ours in OURS:
        key = re.sub(theirs, ours, key)
    return key
