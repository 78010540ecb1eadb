"""Lines that nodes tell of their work, as the page knows them."""

import re
from pathlib import Path

SOURCE = Path(__file__).resolve().parents[2] / "web" / "progress.js"


def known_as(text: str) -> list[str]:
    """By which names of words."""
    lines = re.findall(r'^  \["(\w+)", /(.+)/\],$', SOURCE.read_text(encoding="utf-8"), re.MULTILINE)
    return [name for name, line in lines if re.search(line, text)]
