"""Workflows that people have saved and shared go on working: what stable.json lists stays, in its order.

A saved workflow names its nodes, its links and its choices, but holds the values of widgets by their order alone.
So names, types and choices are never changed or taken away, and new widgets and outputs come after all others.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from shared import CARRIED

from tools.comfyui.server import Client
from tools.comfyui.workflow import NOTES, as_prompt, widgets

PINNED: dict[str, Any] = json.loads(Path(__file__).with_name("stable.json").read_text(encoding="utf-8"))
FROM_FILES = {  # choices that differ
    "LoadJoyHalloModels": ("checkpoint", "audio_encoder", "face_models", "vae"),
    "LoadRedubModel": ("model",),
    "ScoreLipSync": ("judge",),
}
OF_THE_PAGE = "after each run"  # the widget that the page puts below a seed


@pytest.fixture(scope="module")
def nodes(server):
    return Client(server.url).nodes()


@pytest.fixture(scope="module")
def found(nodes):
    return {node: face_of(node, about) for node, about in nodes.items() if about["category"].startswith("JoyHallo")}


def face_of(node: str, about: dict[str, Any]) -> dict[str, Any]:
    """What saved workflows know of a node."""
    kinds = dict(inputs_of(about))
    shown = [name or OF_THE_PAGE for name in widgets(about)]
    return {
        "links": {name: kind for name, (kind, _) in kinds.items() if name not in shown},
        "widgets": {name: OF_THE_PAGE if name == OF_THE_PAGE else widget(node, name, *kinds[name]) for name in shown},
        "outputs": dict(zip(about["output_name"], about["output"], strict=True)),
    }


def inputs_of(about: dict[str, Any]) -> Iterator[tuple[str, tuple[str, dict[str, Any]]]]:
    for inputs in (about["input"].get("required", {}), about["input"].get("optional", {})):
        for name, (kind, *options) in inputs.items():
            yield name, (kind, options[0] if options else {})


def widget(node: str, name: str, kind: str, options: dict[str, Any]) -> str | list[str]:
    """Its type, or its choices; of those that are names of files, that they are."""
    if kind != "COMBO":
        return kind
    return "names of files" if name in FROM_FILES.get(node, ()) else options["options"]


@pytest.mark.parametrize("node", PINNED)
def test_a_node_stays_what_it_is(found, node):
    assert node in found, "nodes are never taken away; let it be deprecated"
    pinned, now = PINNED[node], found[node]
    for kind, entries in pinned.items():
        for name, expected in entries.items():
            assert name in now[kind], f"{kind}: {name} is gone"
            assert stays(expected, now[kind][name]), f"{name} was {expected}, and is {now[kind][name]}"
    for kind in ("widgets", "outputs"):
        assert list(now[kind])[: len(pinned[kind])] == list(pinned[kind]), f"new {kind} come last"


def stays(was: str | list[str], now: str | list[str]) -> bool:
    return set(was) <= set(now) if isinstance(was, list) else was == now


def test_what_is_new_is_stable_from_now_on(found):
    assert found == PINNED, "add what is new to stable.json; nothing in it may change"


@pytest.mark.parametrize("name", ["demo", "two_speakers"])
def test_a_saved_workflow_still_means_the_same(nodes, name):
    """As it was saved by the first version, and the values by name that it was saved with."""
    workflow, meant = (json.loads((CARRIED / "workflows" / f"{name}{end}.json").read_text()) for end in ("", ".meant"))
    prompt = as_prompt(workflow, nodes)
    assert {number: node["inputs"] for number, node in prompt.items()} == meant
    for node in prompt.values():
        known = dict(inputs_of(nodes[node["class_type"]]))
        assert node["inputs"].keys() <= known.keys()
        for put, value in node["inputs"].items():
            assert isinstance(value, list) or taken(value, *known[put]), (node["class_type"], put, value)


@pytest.mark.parametrize("name", ["demo", "two_speakers"])
def test_its_links_still_fit(nodes, name):
    workflow = json.loads((CARRIED / "workflows" / f"{name}.json").read_text())
    kinds = {node["id"]: node["type"] for node in workflow["nodes"] if node["type"] not in NOTES}
    for _, source, output, target, slot, kind in workflow["links"]:
        (put,) = (node["inputs"][slot]["name"] for node in workflow["nodes"] if node["id"] == target)
        assert nodes[kinds[source]]["output"][output] == kind
        assert dict(inputs_of(nodes[kinds[target]]))[put][0] == kind


def taken(value: Any, kind: str | list[str], options: dict[str, Any]) -> bool:
    """Whether a widget takes the value; names of files are taken as they come."""
    if isinstance(kind, list) or kind == "COMBO":
        return isinstance(value, str)
    if kind in ("INT", "FLOAT"):
        return options["min"] <= value <= options["max"] and (kind == "FLOAT" or isinstance(value, int))
    return isinstance(value, {"STRING": str, "BOOLEAN": bool}[kind])
