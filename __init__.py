"""ComfyUI finds the nodes here; everything else of them is in `nodes`, the method in `joyhallo`."""

from .nodes import comfy_entrypoint

__all__ = ["comfy_entrypoint"]
