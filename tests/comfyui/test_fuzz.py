"""A bounded part of `python -m tools.fuzz`: whatever a prompt holds, it ends with a result or with a sentence."""

from __future__ import annotations

import json

import pytest

from tools.fuzz.__main__ import fuzz, serving
from tools.fuzz.outcomes import RAN, SAID

SEED, PROMPTS = 20, 130


@pytest.fixture(scope="module")
def fuzzed(comfyui, tmp_path_factory):
    with serving(tmp_path_factory.mktemp("fuzz")) as server:
        yield server, fuzz(server, SEED, PROMPTS)


def test_prompts_end_with_a_result_or_a_sentence(fuzzed):
    _, found = fuzzed
    assert found.well, json.dumps(vars(found), indent=2, ensure_ascii=False)


def test_they_reach_beyond_what_comfyui_refuses(fuzzed):
    _, found = fuzzed
    assert found.outcomes[SAID] > PROMPTS / 4
    assert found.outcomes[RAN] > PROMPTS / 20
