"""Prompts for ComfyUI: `as_prompt` converts saved workflows, `Graph` builds prompts by hand."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from .server import Prompt

WIDGETS = ("INT", "FLOAT", "STRING", "BOOLEAN", "COMBO")
NOTES = ("Note", "MarkdownNote")
NEVER, BYPASS = 2, 4  # modes of a node that does not run, and of one that hands its input on
INPUTS, OUTPUTS = -10, -20  # numbers of what stands for a subgraph's own sockets inside of it

Link = list[Any]  # a node and the number of its output


class Outputs:
    """The outputs of a node in a graph: `outputs[0]` is a link to the first."""

    def __init__(self, node: str):
        self.node = node

    def __getitem__(self, number: int) -> Link:
        return [self.node, number]


class Graph(dict[str, dict[str, Any]]):
    """Builds a prompt: `picture = graph.add("LoadImage", image="a.png")`, then `picture[0]` as another's input."""

    def add(self, kind: str, **inputs: Any) -> Outputs:
        node = str(len(self) + 1)
        self[node] = {"class_type": kind, "inputs": {name: put for name, put in inputs.items() if put is not None}}
        return Outputs(node)


def as_prompt(workflow: dict[str, Any], nodes: dict[str, Any]) -> Prompt:
    """Convert a workflow. nodes: the /object_info, as workflows list widget values, but not always their names."""
    inner = {graph["id"]: graph for graph in workflow.get("definitions", {}).get("subgraphs", [])}
    prompt: Prompt = {}
    for level, node in Level(workflow, inner).nodes_within():
        held = zip(widgets(nodes[node["type"]]), node.get("widgets_values", []), strict=False)  # some end in buttons
        inputs = {name: value for name, value in held if name is not None}
        fed = ((put["name"], level.fed(put)) for put in node.get("inputs", []))
        inputs |= {name: value for name, value in fed if value is not None}
        prompt[level.prefix + str(node["id"])] = {"class_type": node["type"], "inputs": inputs}
    return prompt


class Level:
    """A graph, or a subgraph behind the node that stands for it in the graph around."""

    def __init__(
        self,
        graph: dict[str, Any],
        inner: dict[str, dict[str, Any]],
        around: Level | None = None,
        node: dict[str, Any] | None = None,
    ):
        self.inner, self.around, self.node = inner, around, node or {}
        self.prefix = f"{around.prefix}{self.node['id']}:" if around else ""
        self.nodes = {node["id"]: node for node in graph["nodes"]}
        links = [link.values() if isinstance(link, dict) else link for link in graph["links"]]
        self.links = {number: (origin, slot) for number, origin, slot, *_ in links}
        self.given_out = {slot: number for number, _, _, target, slot, *_ in links if target == OUTPUTS}

    def nodes_within(self) -> Iterator[tuple[Level, dict[str, Any]]]:
        """All nodes that run, including those of subgraphs."""
        for node in self.nodes.values():
            if node["type"] in self.inner:
                yield from self._inside(node).nodes_within()
            elif node["type"] not in NOTES and node.get("mode") not in (NEVER, BYPASS):
                yield self, node

    def fed(self, put: dict[str, Any]) -> Any:
        """The source of a node's input: a link, or the value of an outer widget; None if there is neither."""
        return None if put.get("link") is None else self._carried(put["link"])

    def _carried(self, number: int) -> Any:
        origin, slot = self.links[number]
        if origin == INPUTS and self.around:
            put = self.node["inputs"][slot]
            return self._widgets().get(put["name"]) if put.get("link") is None else self.around.fed(put)
        node = self.nodes[origin]
        if node["type"] in self.inner:
            inside = self._inside(node)
            return inside._carried(inside.given_out[slot])
        if node.get("mode") == BYPASS:
            kind = node["outputs"][slot]["type"]
            return self.fed(next(put for put in node["inputs"] if put["type"] == kind))
        return [self.prefix + str(origin), slot]

    def _inside(self, node: dict[str, Any]) -> Level:
        return Level(self.inner[node["type"]], self.inner, self, node)

    def _widgets(self) -> dict[str, Any]:
        """Older pages keep these values in the nodes within."""
        names = [put["name"] for put in self.node["inputs"] if "widget" in put]
        return dict(zip(names, self.node.get("widgets_values", []), strict=False))


def widgets(about: dict[str, Any]) -> Iterator[str | None]:
    """Names of a node's widgets in the order in which the page keeps their values; None for one of the page's own."""
    for inputs in (about["input"].get("required", {}), about["input"].get("optional", {})):
        for name, (kind, *options) in inputs.items():
            if isinstance(kind, list) or kind in WIDGETS:
                yield name
                if options and options[0].get("control_after_generate"):
                    yield None
