"""What commands print: names in letters that an output may lack, such as a file's on Windows, are no reason to fail."""

from __future__ import annotations

import io
import sys
from typing import TextIO


def escape_what_is_lacking() -> None:
    """Such letters appear as \\u738b."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def has_all_letters(stream: TextIO) -> bool:
    return (getattr(stream, "encoding", None) or "").lower().startswith("utf")
