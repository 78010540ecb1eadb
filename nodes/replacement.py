"""Workflows that were made for another JoyHallo node: newer versions of ComfyUI offer to put ours in its place."""

from __future__ import annotations

from typing import Any

import comfy_api.latest

OLD = "JoyHallo_wrapper"  # of the pack ComfyUI-JoyHallo_wrapper: sound and picture in, frames out
OLD_WIDGETS = ["inference_steps", "cfg_scale", "if_fp8", "seed"]  # in the order in which workflows hold their values
NEW = "JoyHalloSampler"
KEPT = {"steps": "inference_steps", "cfg": "cfg_scale", "seed": "seed"}  # if_fp8 never had an effect


async def register() -> None:
    """Nothing where ComfyUI replaces no nodes: the page then says that the old one is missing."""
    replacement = getattr(comfy_api.latest.io, "NodeReplace", None)
    if replacement is not None:
        offered = getattr(comfy_api.latest.ComfyAPI(), "node_replacement", None)
        if offered is not None:
            await offered.register(_replacement(replacement))


def _replacement(kind: Any) -> Any:
    """What is left to the user are the nodes before it and after it, which the old one contained.

    Its frames are not ours, which come as a video, so no output is mapped.
    """
    return kind(
        new_node_id=NEW,
        old_node_id=OLD,
        old_widget_ids=OLD_WIDGETS,
        input_mapping=[{"new_id": new, "old_id": old} for new, old in KEPT.items()],
        output_mapping=[],
    )
