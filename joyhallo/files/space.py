"""Checks of disk space and memory before work begins: `check_disks` and `check_memory`."""

from __future__ import annotations

import errno
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

pass

DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)  # errors of the system for a disk that takes no more
MARGIN = 256 << 20  # bytes to leave free on a disk


class RoomError(ValueError):
    """Too little disk space or memory; the message is for the user."""


@dataclass(frozen=True)
class Need:
    what: str
    folder: Path  # a folder on the disk
    size: int  # bytes


SMALLER = "make room, or make the sound shorter or the picture smaller"


def check_disks(needs: Iterable[Need], remedy: str = SMALLER) -> None:
    """Raise a RoomError if the needs on one disk add up to more than it has free."""
    wanted: dict[int, list[Need]] = {}  # by disk
    for need in needs:
        wanted.setdefault(_existing(need.folder).stat().st_dev, []).append(need)
    for some in wanted.values():
        folder, total = some[0].folder, sum(need.size for need in some) + MARGIN
        there = free(folder)
        if there < total:
            raise RoomError(
                f"The disk of {folder} has {amount(there)} free, but this needs {_summed(some)}, and another "
                f"{amount(MARGIN)} should stay free; {remedy}."
            )


def _summed(needs: Iterable[Need]) -> str:
    sizes: dict[str, int] = {}
    for need in needs:
        sizes[need.what] = sizes.get(need.what, 0) + need.size
    return " and ".join(f"{amount(size)} for {what}" for what, size in sizes.items())


def free(folder: Path) -> int:
    """Free bytes on the disk of a folder, which need not exist yet."""
    return shutil.disk_usage(_existing(folder)).free


def check_memory(what: str, needed: int, there: int, remedy: str) -> None:
    if there < needed:
        raise RoomError(f"{what} needs {amount(needed)} of memory, but only {amount(there)} are available; {remedy}.")


def _existing(folder: Path) -> Path:
    """The folder, or its nearest parent that exists."""
    return next(path for path in (folder, *folder.absolute().parents) if path.exists())


def amount(size: int) -> str:
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.3g} MB"
