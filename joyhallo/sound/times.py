"""Parsing of times as people write them, with English or Chinese punctuation."""

from __future__ import annotations

import re
import unicodedata

TIME = re.compile(r"(?:(?:(\d+)\s*:\s*)?(\d+)\s*:\s*)?(\d+\.?\d*|\.\d+)\s*[s秒]?")


def plain(text: str) -> str:
    """Replace the punctuation and digits of a Chinese keyboard by those of an English one."""
    return unicodedata.normalize("NFKC", text).replace("、", ",")


def pieces(text: str) -> list[str]:
    """Split a plain text at commas, semicolons and line ends."""
    return [piece.strip() for piece in re.split(r"[,;\n]", text) if piece.strip()]


def seconds(text: str) -> float | None:
    """Parse 2.5, 2.5s, 1:05 or 1:01:05.5 from a plain text; None for anything else."""
    found = TIME.fullmatch(text.strip())
    if found is None:
        return None
    hours, minutes, rest = (float(part or 0) for part in found.groups())
    return hours * 3600 + minutes * 60 + rest
