"""A bounded part of `python -m tools.fuzz`: whatever a prompt holds, it ends with a result or with a sentence."""

from __future__ import annotations

import json

import pytest

from tools.comfyui.server import Client
from tools.fuzz import prompts
from tools.fuzz.__main__ import fuzz, serving
from tools.fuzz.hands_out import MAKERS
from tools.fuzz.outcomes import RAN, SAID

SEED, PROMPTS = 1, 60  # the first seed with which so few prompts change every workflow in every way


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


def test_every_workflow_is_changed_in_every_way(fuzzed, monkeypatch):
    """Where it fails because nodes have new inputs, another seed does."""
    seen, nodes = set(), Client(fuzzed[0].url).nodes()

    def watched(function):
        return lambda *given: seen.add(function) or function(*given)

    wanted = {*prompts.BASES.values(), *prompts.CHANGES}
    monkeypatch.setattr(prompts, "BASES", {name: watched(function) for name, function in prompts.BASES.items()})
    monkeypatch.setattr(prompts, "CHANGES", [watched(function) for function in prompts.CHANGES])
    asked = [prompts.asked(SEED, number, nodes).prompt.values() for number in range(PROMPTS)]
    assert seen == wanted
    specs = [json.loads(node["inputs"]["spec"]) for prompt in asked for node in prompt if "spec" in node["inputs"]]
    assert {spec["is"] for spec in specs} == MAKERS.keys()
