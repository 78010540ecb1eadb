"""Workflows of the page become prompts: what its page holds, and in which order, is written out by hand here."""

from tools.comfyui.workflow import Graph, as_prompt

NODES = {
    "Load": {"input": {"required": {"file": [["a.png", "b.png"], {"image_upload": True}]}}},
    "Draw": {
        "input": {
            "required": {
                "picture": ["IMAGE"],
                "seed": ["INT", {"control_after_generate": True}],
                "strength": ["FLOAT", {"default": 1.0}],
                "kind": ["COMBO", {"options": ["soft", "hard"]}],
            },
            "optional": {"mask": ["MASK"], "title": ["STRING", {}], "loud": ["BOOLEAN", {}]},
        }
    },
}
WORKFLOW = {
    "nodes": [
        {"id": 3, "type": "Load", "inputs": [], "widgets_values": ["b.png", "image"]},
        {"id": 4, "type": "Note", "widgets_values": ["Nothing runs here."]},
        {"id": 5, "type": "MarkdownNote", "widgets_values": ["Nor here."]},
        {
            "id": 7,
            "type": "Draw",
            "inputs": [
                {"name": "picture", "type": "IMAGE", "link": 1},
                {"name": "mask", "type": "MASK", "link": None},
                {"name": "strength", "type": "FLOAT", "link": 2, "widget": {"name": "strength"}},
            ],
            "widgets_values": [42, "fixed", 0.5, "hard", "Someone", False],
        },
    ],
    "links": [[1, 3, 0, 7, 0, "IMAGE"], [2, 3, 1, 7, 2, "FLOAT"]],
}


def test_a_workflow_becomes_a_prompt():
    assert as_prompt(WORKFLOW, NODES) == {
        "3": {"class_type": "Load", "inputs": {"file": "b.png"}},
        "7": {
            "class_type": "Draw",
            "inputs": {
                "picture": ["3", 0],
                "seed": 42,
                "strength": ["3", 1],  # what its widget holds is not used
                "kind": "hard",
                "title": "Someone",
                "loud": False,
            },
        },
    }


def test_a_prompt_by_hand():
    graph = Graph()
    loaded = graph.add("Load", file="a.png")
    graph.add("Draw", picture=loaded[0], mask=None, seed=0)
    assert graph == {
        "1": {"class_type": "Load", "inputs": {"file": "a.png"}},
        "2": {"class_type": "Draw", "inputs": {"picture": ["1", 0], "seed": 0}},
    }


def subgraph(name, links, **node):
    """One node of `Draw` behind the sockets of another."""
    puts = [
        {"name": "picture", "link": 1},
        {"name": "strength", "link": 2, "widget": {"name": "strength"}},
        {"name": "seed", "link": None, "widget": {"name": "seed"}},
    ]
    inside = {"id": 5, "type": "Draw", "inputs": puts, "widgets_values": [42, "fixed", 0.5, "hard"], **node}
    keys = ("id", "origin_id", "origin_slot", "target_id", "target_slot", "type")
    return {"id": name, "nodes": [inside], "links": [dict(zip(keys, link, strict=True)) for link in links]}


def test_subgraphs_are_run_as_what_they_hold():
    """Numbers of nodes within, and where a value comes from, as ComfyUI's page sends them."""
    drawing = subgraph("drawing", [(1, -10, 0, 5, 0, "IMAGE"), (2, -10, 1, 5, 2, "FLOAT"), (3, 5, 0, -20, 0, "IMAGE")])
    sockets = [{"name": "picture", "link": 1}, {"name": "strength", "link": None, "widget": {"name": "strength"}}]
    workflow = {
        "nodes": [
            {"id": 1, "type": "Load", "widgets_values": ["a.png"]},
            {"id": 2, "type": "drawing", "inputs": sockets, "widgets_values": [0.75]},
            {"id": 3, "type": "drawing", "inputs": [{**sockets[0], "link": 2}, sockets[1]], "widgets_values": []},
        ],
        "links": [[1, 1, 0, 2, 0, "IMAGE"], [2, 2, 0, 3, 0, "IMAGE"]],
        "definitions": {"subgraphs": [drawing]},
    }
    assert as_prompt(workflow, NODES) == {
        "1": {"class_type": "Load", "inputs": {"file": "a.png"}},
        "2:5": {
            "class_type": "Draw",
            "inputs": {"picture": ["1", 0], "seed": 42, "strength": 0.75, "kind": "hard"},
        },
        "3:5": {
            "class_type": "Draw",
            "inputs": {"picture": ["2:5", 0], "seed": 42, "strength": 0.5, "kind": "hard"},
        },
    }


def test_subgraphs_within_subgraphs():
    inner = subgraph("inner", [(1, -10, 0, 5, 0, "IMAGE"), (2, -10, 1, 5, 2, "FLOAT"), (3, 5, 0, -20, 0, "IMAGE")])
    outer = subgraph(
        "outer", [(1, -10, 0, 5, 0, "IMAGE"), (2, -10, 1, 5, 1, "FLOAT")], type="inner", widgets_values=[0.25]
    )
    workflow = {
        "nodes": [
            {"id": 1, "type": "Load", "widgets_values": ["a.png"]},
            {"id": 9, "type": "outer", "inputs": [{"name": "picture", "link": 1}, {"name": "strength", "link": 2}]},
        ],
        "links": [[1, 1, 0, 9, 0, "IMAGE"], [2, 1, 1, 9, 1, "FLOAT"]],
        "definitions": {"subgraphs": [outer, inner]},
    }
    drawn = as_prompt(workflow, NODES)["9:5:5"]
    assert drawn["inputs"] == {"picture": ["1", 0], "seed": 42, "strength": ["1", 1], "kind": "hard"}
