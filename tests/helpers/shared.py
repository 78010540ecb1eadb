"""The full set of golden data and key lists lies beside the repository, where it is to be had."""

from __future__ import annotations

import os
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
CARRIED = REPOSITORY / "tests" / "golden"


def shared_folder() -> Path | None:
    folder = Path(os.environ.get("JOYHALLO_SHARED", REPOSITORY.parent / "shared"))
    return folder if folder.is_dir() else None
