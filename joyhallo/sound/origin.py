"""Which of the two published speech encoders a file is, told by what it holds: both have the same sizes."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from torch import Tensor

CHINESE = "chinese-wav2vec2-base"  # for JoyHallo; trained to guess masked sound, without normalisation
ENGLISH = "wav2vec2-base-960h"  # for Hallo; trained further to recognise words, with normalisation

LETTERS = 32  # that it tells apart: those of English, and some signs
RECOGNISING, GUESSING = "lm_head.weight", ("quantizer.", "project_q.", "project_hid.")  # parts beside the encoder


def origin(state: Mapping[str, Tensor], facts: Mapping[str, Any], normalize: bool | None) -> str:
    """CHINESE, ENGLISH, or nothing if that cannot be told, as of an encoder that was saved without other parts.

    facts: of config.json; normalize: what the folder says about it, if anything.
    """
    if RECOGNISING in state:
        return ENGLISH if len(state[RECOGNISING]) == LETTERS else ""
    if _guesses(state, facts):
        return "" if normalize else CHINESE
    return ENGLISH if _made_for("ForCTC", facts) and facts.get("vocab_size") == LETTERS else ""


def _guesses(names: Collection[str], facts: Mapping[str, Any]) -> bool:
    return any(name.startswith(GUESSING) for name in names) or _made_for("ForPreTraining", facts)


def _made_for(task: str, facts: Mapping[str, Any]) -> bool:
    kinds = facts.get("architectures")
    return isinstance(kinds, list) and any(str(kind).endswith(task) for kind in kinds)
