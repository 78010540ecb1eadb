"""Workflows as people save them -> prompts as ComfyUI runs them; and prompts written by hand."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from .comfyui import Prompt

WIDGETS = ("INT", "FLOAT", "STRING", "BOOLEAN", "COMBO")
NOTES = ("Note", "MarkdownNote")

Link = list[Any]  # a node and the number of its output


class Outputs:
    """Of a node in a graph: `outputs[0]` is a link to the first."""

    def __init__(self, node: str):
        self.node = node

    def __getitem__(self, number: int) -> Link:
        return [self.node, number]


class Graph(dict[str, dict[str, Any]]):
    """A prompt that grows: `picture = graph.add("LoadImage", image="a.png")`, then `picture[0]` as another's input."""

    def add(self, kind: str, **inputs: Any) -> Outputs:
        node = str(len(self) + 1)
        self[node] = {"class_type": kind, "inputs": {name: put for name, put in inputs.items() if put is not None}}
        return Outputs(node)


def as_prompt(workflow: dict[str, Any], nodes: dict[str, Any]) -> Prompt:
    """nodes: what /object_info tells, for a workflow lists what its widgets hold, but not always their names."""
    sources: dict[int, Link] = {link[0]: [str(link[1]), link[2]] for link in workflow["links"]}
    prompt: Prompt = {}
    for node in workflow["nodes"]:
        if node["type"] in NOTES:
            continue
        held = zip(widgets(nodes[node["type"]]), node.get("widgets_values", []), strict=False)  # some end in buttons
        inputs = {name: value for name, value in held if name is not None}
        for put in node.get("inputs", []):
            if put.get("link") is not None:
                inputs[put["name"]] = sources[put["link"]]
        prompt[str(node["id"])] = {"class_type": node["type"], "inputs": inputs}
    return prompt


def widgets(about: dict[str, Any]) -> Iterator[str | None]:
    """Names of a node's widgets in the order in which the page keeps their values; None for one of the page's own."""
    for inputs in (about["input"].get("required", {}), about["input"].get("optional", {})):
        for name, (kind, *options) in inputs.items():
            if isinstance(kind, list) or kind in WIDGETS:
                yield name
                if options and options[0].get("control_after_generate"):
                    yield None
