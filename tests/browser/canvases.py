"""What is dropped on the page: the demo at its smallest, and with two people of whom one must be chosen."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from tools.demo import WORKFLOWS

Workflow = dict[str, Any]

FINDER = "WhereTheCoupleIs"


def demo(sound: str = "short.wav", **values: Any) -> Workflow:
    """values, by class of node: widgets by their place."""
    workflow = json.loads((WORKFLOWS / "demo.json").read_text(encoding="utf-8"))
    node(workflow, "LoadAudio")["widgets_values"][0] = sound
    change(workflow, "JoyHalloSampler", {3: 4, 4: 3.5, 8: 64, 9: "square"})  # steps, cfg, size, picture
    for kind, changes in values.items():
        change(workflow, kind, changes)
    return workflow


def couple(**values: Any) -> Workflow:
    """Two faces, as large as each other, without masks that would tell which is meant."""
    workflow = demo(**values)
    picture, face = node(workflow, "LoadImage"), node(workflow, "FaceMaskPrep")
    picture["widgets_values"][0] = "joyhallo_couple.png"
    face["widgets_values"][1] = "face"  # framing
    finder = {
        **{"id": 99, "type": FINDER, "pos": [500, 900], "size": [360, 60], "mode": 0, "flags": {}, "order": 3},
        "inputs": [{"name": "image", "type": "IMAGE", "link": None}],
        "outputs": [{"name": "FACE_LANDMARKS", "type": "FACE_LANDMARKS", "links": []}],
        **{"properties": {}, "widgets_values": []},
    }
    workflow["nodes"].append(finder)
    link(workflow, picture, 0, finder, "image")
    link(workflow, finder, 0, face, "landmarks")
    return workflow


def node(workflow: Workflow, kind: str) -> dict[str, Any]:
    return next(node for node in workflow["nodes"] if node["type"] == kind)


def change(workflow: Workflow, kind: str, values: dict[Any, Any]) -> None:
    for place, value in values.items():
        node(workflow, kind)["widgets_values"][place] = value


def link(workflow: Workflow, source: dict[str, Any], output: int, target: dict[str, Any], name: str) -> None:
    number = workflow["last_link_id"] = workflow["last_link_id"] + 1
    place = next(i for i, put in enumerate(target["inputs"]) if put["name"] == name)
    workflow["links"].append([number, source["id"], output, target["id"], place, target["inputs"][place]["type"]])
    source["outputs"][output]["links"] = [*(source["outputs"][output]["links"] or []), number]
    target["inputs"][place]["link"] = number


def install_finder(base: Path, *meshes: np.ndarray) -> None:
    """A node that gives these face meshes for any picture, as ComfyUI's own node would if its model were there."""
    np.save(base / "input" / "meshes.npy", np.stack(meshes).astype(np.float32))
    (base / "custom_nodes" / "finder.py").write_text(CODE, encoding="utf-8")


CODE = f"""
import folder_paths
import numpy as np


class Finder:
    RETURN_TYPES, FUNCTION = ("FACE_LANDMARKS",), "find"

    @classmethod
    def INPUT_TYPES(cls):
        return {{"required": {{"image": ("IMAGE",)}}}}

    def find(self, image):
        meshes = np.load(folder_paths.get_annotated_filepath("meshes.npy"))
        faces = [{{"landmarks_xy": mesh, "score": 0.9}} for mesh in meshes]
        return ({{"frames": [faces], "image_size": tuple(image.shape[1:3]), "connection_sets": {{}}}},)


NODE_CLASS_MAPPINGS = {{"{FINDER}": Finder}}
"""
