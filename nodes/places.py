"""Folders of ours within ComfyUI's: finished chunks, and videos that following nodes may still want."""

from __future__ import annotations

from pathlib import Path

import folder_paths

from ..joyhallo.files.scratch import lasting_scratch
from ..joyhallo.film.write import VideoError
from ..joyhallo.libraries import brief


def _ours(name: str) -> Path:
    """In a system user directory, which ComfyUI's web server serves to nobody."""
    return Path(folder_paths.get_system_user_directory("joyhallo"), name)


def journal_folder() -> Path:
    return _ours("journal")


def working_place() -> Path:
    """Not ComfyUI's temporary folder: every server that starts empties it, though another may still need its files."""
    return _ours("working")


def working_folder() -> Path:
    """For files of this process, removed when it ends, or by the next one if it is killed."""
    try:
        return lasting_scratch(working_place())
    except OSError as error:
        raise VideoError(f"{working_place()} cannot be written to ({brief(error)}); check that folder.") from error
