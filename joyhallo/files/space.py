"""Whether there is room for what is to be made: asked before the work begins, not when it is lost."""

from __future__ import annotations

import errno
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

pass

DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)  # what the system says of a disk that takes no more
MARGIN = 256 << 20  # bytes that a disk keeps free for everything else


class RoomError(ValueError):
    """Too little of something, in words for whoever wanted it."""


@dataclass(frozen=True)
class Need:
    what: str
    folder: Path  # on whose disk it will lie
    size: int  # bytes


SMALLER = "make room, or make the sound shorter or the picture smaller"


def check_disks(needs: Iterable[Need], remedy: str = SMALLER) -> None:
    """Raise a RoomError if the needs of one disk are together more than it has."""
    wanted: dict[int, list[Need]] = {}  # by disk
    for need in needs:
        wanted.setdefault(_existing(need.folder).stat().st_dev, []).append(need)
    for some in wanted.values():
        folder, total = some[0].folder, sum(need.size for need in some) + MARGIN
        there = free(folder)
        if there < total:
            raise RoomError(
                f"The disk of {folder} has {amount(there)} free, but {_summed(some)} are needed, and another "
                f"{amount(MARGIN)} should stay free; {remedy}."
            )


def _summed(needs: Iterable[Need]) -> str:
    sizes: dict[str, int] = {}
    for need in needs:
        sizes[need.what] = sizes.get(need.what, 0) + need.size
    return " and ".join(f"{amount(size)} for {what}" for what, size in sizes.items())


def free(folder: Path) -> int:
    """Bytes on the disk of a folder, which need not be there yet."""
    return shutil.disk_usage(_existing(folder)).free


def check_memory(what: str, needed: int, there: int, remedy: str) -> None:
    if there < needed:
        raise RoomError(f"{what} needs {amount(needed)} of memory, but {amount(there)} are there; {remedy}.")


def _existing(folder: Path) -> Path:
    """The folder, or the nearest above it that is there."""
    return next(path for path in (folder, *folder.absolute().parents) if path.exists())


def amount(size: int) -> str:
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.3g} MB"
