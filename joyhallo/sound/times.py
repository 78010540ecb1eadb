"""Times as people write them."""

from __future__ import annotations

import re
import unicodedata

TIME = re.compile(r"(?:(?:(\d+)\s*:\s*)?(\d+)\s*:\s*)?(\d+\.?\d*|\.\d+)\s*[s秒]?")


def plain(text: str) -> str:
    """With the punctuation and the digits of an English keyboard instead of a Chinese one's."""
    return unicodedata.normalize("NFKC", text).replace("、", ",")


def pieces(text: str) -> list[str]:
    """What commas, semicolons and ends of lines part in a plain text."""
    return [piece.strip() for piece in re.split(r"[,;\n]", text) if piece.strip()]


def seconds(text: str) -> float | None:
    """2.5, 2.5s, 1:05 or 1:01:05.5 in a plain text; None for anything else."""
    found = TIME.fullmatch(text.strip())
    if found is None:
        return None
    hours, minutes, rest = (float(part or 0) for part in found.groups())
    return hours * 3600 + minutes * 60 + rest
