"""A bounded part of `python -m tools.fuzz`: whatever a prompt holds, it ends with a result or with a sentence."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from tools.comfyui.server import Client
from tools.fuzz import prompts
from tools.fuzz.__main__ import fuzz, install_files
from tools.fuzz.hands_out import MAKERS
from tools.fuzz.outcomes import RAN, SAID

SEED, AMONG, PROMPTS = 1, 300, 28


@pytest.fixture(scope="module")
def fuzzed(server, base):
    install_files(base)
    numbers, missed = chosen(Client(server.url).nodes())
    assert not missed
    return fuzz(server, SEED, numbers)


def chosen(nodes: dict[str, Any]) -> tuple[list[int], set[Any]]:
    """So few prompts that change every workflow, in every way, by every kind of value; and what none of them does."""
    does = {number: traits(number, nodes) for number in range(AMONG)}
    missed = {*prompts.BASES.values(), *prompts.CHANGES, *MAKERS}
    numbers = []
    while len(numbers) < PROMPTS:
        best = max(does, key=lambda number: len(does[number] & missed))
        missed -= does.pop(best)
        numbers.append(best)
    return numbers, missed


def traits(number: int, nodes: dict[str, Any]) -> set[Any]:
    seen = set[Any]()

    def watched(function: Callable[..., Any]) -> Callable[..., Any]:
        return lambda *given: seen.add(function) or function(*given)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(prompts, "BASES", {name: watched(base) for name, base in prompts.BASES.items()})
        patched.setattr(prompts, "CHANGES", [watched(change) for change in prompts.CHANGES])
        asked = prompts.asked(SEED, number, nodes).prompt.values()
    specs = (json.loads(node["inputs"]["spec"]) for node in asked if "spec" in node["inputs"])
    return seen | {spec["is"] for spec in specs}


def test_prompts_end_with_a_result_or_a_sentence(fuzzed):
    assert fuzzed.well, json.dumps(vars(fuzzed), indent=2, ensure_ascii=False)


def test_they_reach_beyond_what_comfyui_refuses(fuzzed):
    assert fuzzed.outcomes[SAID] > PROMPTS / 4
    assert fuzzed.outcomes[RAN] > PROMPTS / 20
