"""The pack's own pictures, speech and film, copied into ComfyUI's `input` when a workflow first asks for them by name.

The names clash with nobody's files, and what exists is never touched. They lie in no folder of their own, as Load
Image, Load Audio and Load Video list none, and newer pages call missing what is not listed.
"""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import folder_paths

from ..joyhallo.files.scratch import scratch
from .model_folders import DEMO_MODEL

log = logging.getLogger(__name__)

FILES = ("portrait.png", "couple.png", "couple_masks.png", "speech.wav", "clip.mp4", "late.mp4")
EXAMPLES = {f"joyhallo_{file}": DEMO_MODEL / file for file in FILES}


def provide(names: Iterable[str]) -> list[str]:
    """Put examples where Load Image, Load Audio and Load Video look; returns the names that are there."""
    return [name for name in names if name in EXAMPLES and _provided(name)]


def before_prompt(body: dict[str, Any]) -> dict[str, Any]:
    """ComfyUI calls it with each prompt before it checks the inputs."""
    provide(dict.fromkeys(_named(body.get("prompt"))))
    return body


def _named(prompt: Any) -> Iterator[str]:
    nodes = prompt.values() if isinstance(prompt, dict) else ()
    for inputs in (node.get("inputs") for node in nodes if isinstance(node, dict)):
        yield from (value for value in (inputs.values() if isinstance(inputs, dict) else ()) if isinstance(value, str))


def _provided(name: str) -> bool:
    place = Path(folder_paths.get_input_directory(), name)
    if place.exists():
        return True
    try:
        with scratch(place.parent) as unfinished:
            shutil.copyfile(EXAMPLES[name], unfinished / "part")
            os.replace(unfinished / "part", place)  # whole, or not at all
    except OSError as error:
        log.warning("The example %s cannot be written to %s: %s", name, place.parent, error)
        return False
    return True


def register(server: Any) -> None:
    """For prompts from anywhere, and for the page, which shows a picture before it is used."""
    from aiohttp import web  # ComfyUI's own

    server.add_on_prompt_handler(before_prompt)

    @server.routes.post("/joyhallo/examples")
    async def examples(request: web.Request) -> web.Response:
        return web.json_response(provide(EXAMPLES))
