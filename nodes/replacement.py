"""Migration of workflows from another JoyHallo node: newer versions of ComfyUI offer ours as a replacement."""

from __future__ import annotations

import logging
from typing import Any

import comfy_api.latest

log = logging.getLogger(__name__)

OLD = "JoyHallo_wrapper"  # of the pack ComfyUI-JoyHallo_wrapper: sound and picture in, frames out
OLD_WIDGETS = ["inference_steps", "cfg_scale", "if_fp8", "seed"]  # in the order in which workflows store their values
NEW = "JoyHalloSampler"
KEPT = {"steps": "inference_steps", "cfg": "cfg_scale", "seed": "seed"}  # if_fp8 never had an effect


async def register() -> None:
    """Register the replacement, if this ComfyUI supports it; otherwise its page reports a missing node."""
    replacement = getattr(comfy_api.latest.io, "NodeReplace", None)
    if replacement is not None:
        offered = getattr(comfy_api.latest.ComfyAPI(), "node_replacement", None)
        if offered is not None:
            try:
                await offered.register(_replacement(replacement))
            except (ImportError, AttributeError) as error:  # no server runs: nobody asks for replacements, either
                log.debug("%s is not offered as a replacement of %s: %s", NEW, OLD, error)


def _replacement(kind: Any) -> Any:
    """The replacement for the old node; the user must add the nodes around the sampler, which the old one contained.

    No output is mapped: the old one gives frames, ours a video.
    """
    return kind(
        new_node_id=NEW,
        old_node_id=OLD,
        old_widget_ids=OLD_WIDGETS,
        input_mapping=[{"new_id": new, "old_id": old} for new, old in KEPT.items()],
        output_mapping=[],
    )
