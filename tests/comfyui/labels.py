"""What the page's settings say about labels, and what a film says of who made it."""

from __future__ import annotations

import json
from pathlib import Path

from marked import tags_of


def settle(users: Path, user: str = "default", **settings) -> None:
    """As ComfyUI does what its page asks for."""
    file = users / user / "comfy.settings.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    found = {f"JoyHallo.Labels.{name}": value for name, value in settings.items()}
    file.write_text(json.dumps({"Comfy.Locale": "en", **found}))


def record(path: Path) -> dict[str, str]:
    return json.loads(tags_of(path).get("aigc", "{}"))
