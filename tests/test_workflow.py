"""Workflows of the page become prompts: what its page holds, and in which order, is written out by hand here."""

from demo.workflow import Graph, as_prompt

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
