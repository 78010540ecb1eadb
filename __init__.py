"""ComfyUI finds the nodes here; everything else of them is in `nodes`, the method in `joyhallo`.

The page's part is in `web`: it is named here alone, since pages of help are looked for under the folder's name, and a
second name for the same folder, as in pyproject.toml, would run its programs twice.
"""

from .nodes import comfy_entrypoint

WEB_DIRECTORY = "./web"

__all__ = ["WEB_DIRECTORY", "comfy_entrypoint"]
