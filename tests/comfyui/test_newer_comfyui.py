"""What the pack offers to versions of ComfyUI newer than the one of the tests, by stand-ins for what these add."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest


@pytest.fixture
def latest(pack):
    return pack.nodes.replacement.comfy_api.latest


@dataclass
class NodeReplace:
    """With the parameters that ComfyUI documents."""

    new_node_id: str
    old_node_id: str
    old_widget_ids: list[str] | None = None
    input_mapping: list[dict[str, Any]] | None = None
    output_mapping: list[dict[str, int]] | None = None


class Registry:
    def __init__(self):
        self.offered: list[NodeReplace] = []

    async def register(self, replacement: NodeReplace) -> None:
        self.offered.append(replacement)


async def load(pack):
    extension = await pack.comfy_entrypoint()
    await extension.on_load()
    return {node.define_schema().node_id: node.define_schema() for node in await extension.get_node_list()}


def test_the_other_packs_node_is_replaced_by_ours(pack, latest, monkeypatch):
    registry = Registry()
    monkeypatch.setattr(latest.io, "NodeReplace", NodeReplace, raising=False)
    monkeypatch.setattr(latest, "ComfyAPI", lambda: SimpleNamespace(node_replacement=registry))
    schemas = asyncio.run(load(pack))
    (offer,) = registry.offered
    assert offer.old_node_id == "JoyHallo_wrapper"
    values = dict(zip(offer.old_widget_ids, [20, 3.5, True, 782], strict=True))  # as its own example holds them
    inputs = {found.id: found for found in schemas[offer.new_node_id].inputs}
    taken = {inputs[pair["new_id"]].io_type: values[pair["old_id"]] for pair in offer.input_mapping}
    kept = {pair["new_id"]: values[pair["old_id"]] for pair in offer.input_mapping}
    assert kept == {"steps": 20, "cfg": 3.5, "seed": 782}
    assert {kind: type(value) for kind, value in taken.items()} == {"INT": int, "FLOAT": float}


def test_nothing_is_replaced_where_nothing_can_be(pack):
    assert len(asyncio.run(load(pack))) == 8


def test_every_node_is_found_by_other_words(pack, latest, monkeypatch):
    @dataclass
    class Schema(latest.io.Schema):
        search_aliases: list[str] = field(default_factory=list)

    monkeypatch.setattr(pack.nodes.sockets.io, "Schema", Schema)
    found = {name: schema.search_aliases for name, schema in asyncio.run(load(pack)).items()}
    assert len(found) == 8
    for words in found.values():
        assert any(word.isascii() for word in words)
        assert any(not word.isascii() for word in words)
        assert len(set(words)) == len(words)
        assert not any(set(word) & set(",，") or word != word.strip() for word in words)
    assert {"talking head", "lip sync", "数字人", "口型"} <= set(found["JoyHalloSampler"])
