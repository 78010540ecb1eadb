"""Workflows as people save them -> prompts as ComfyUI runs them; and prompts written by hand."""

from __future__ import annotations

from typing import Any

from .comfyui import Prompt

WIDGETS = ("INT", "FLOAT", "STRING", "BOOLEAN", "COMBO")
NOTES = ("Note", "MarkdownNote")

Link = list[Any]  # node and number of its output


class Graph(dict[str, dict[str, Any]]):
    """A prompt that grows: `graph.add("LoadImage", image="a.png")[0]` is the first output of that node."""

    def add(self, kind: str, **inputs: Any) -> Outputs:
        node = str(len(self) + 1)
        self[node] = {"class_type": kind, "inputs": {k: v for k, v in inputs.items() if v is not None}}
        return Outputs(node)


class Outputs:
    def __init__(self, node: str):
        self.node = node

    def __getitem__(self, number: int) -> Link:
        return [self.node, number]


def as_prompt(workflow: dict[str, Any], nodes: dict[str, Any]) -> Prompt:
    """nodes: what ComfyUI's /object_info tells; a workflow lists the values of widgets, but not their names."""
    sources = {link[0]: [str(link[1]), link[2]] for link in workflow["links"]}
    prompt = {}
    for node in workflow["nodes"]:
        if node["type"] not in NOTES:
            linked = {put["name"]: sources[put["link"]] for put in node.get("inputs", []) if put.get("link")}
            values = _values(node, nodes[node["type"]])
            prompt[str(node["id"])] = {"class_type": node["type"], "inputs": {**values, **linked}}
    return prompt


def _values(node: dict[str, Any], about: dict[str, Any]) -> dict[str, Any]:
    names = []
    for name, (kind, *options) in _inputs(about).items():
        if isinstance(kind, list) or kind in WIDGETS:
            names.append(name)
            if options and options[0].get("control_after_generate"):
                names.append(None)  # the page's own widget
    return {name: value for name, value in zip(names, node.get("widgets_values", []), strict=False) if name}


def _inputs(about: dict[str, Any]) -> dict[str, list[Any]]:
    return {**about["input"].get("required", {}), **about["input"].get("optional", {})}
