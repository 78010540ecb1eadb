"""The ComfyUI side: the only place that imports ComfyUI."""

from __future__ import annotations

from comfy_api.latest import ComfyExtension, io

from .save_video import SaveTalkingVideo


class JoyHallo(ComfyExtension):
    async def get_node_list(self) -> list[type[io.ComfyNode]]:
        return [SaveTalkingVideo]


async def comfy_entrypoint() -> JoyHallo:
    return JoyHallo()
