"""`open_regular` opens files whose names are known beforehand, so that anybody could have put something else there."""

from __future__ import annotations

import os
import stat
from pathlib import Path

# Windows has none of these but the last, and Linux not the last. A pipe would otherwise wait for its other end.
CAREFULLY = sum(getattr(os, name, 0) for name in ("O_NOFOLLOW", "O_NONBLOCK", "O_CLOEXEC", "O_BINARY"))
KINDS = {
    stat.S_IFLNK: "a symbolic link",
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


class IrregularError(OSError):
    """Where a file should be lies something else; the message is for the user."""


def open_regular(path: Path, flags: int) -> int:
    """The descriptor of an ordinary file, which `flags` may create. Links are not followed."""
    size_of(path)
    descriptor = os.open(path, flags | CAREFULLY, 0o666)
    try:
        _expect_regular(path, os.fstat(descriptor).st_mode)  # somebody may have been faster
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def size_of(path: Path) -> int:
    """The bytes of an ordinary file; 0 if there is nothing."""
    try:
        facts = path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return 0
    _expect_regular(path, facts.st_mode)
    return facts.st_size


def _expect_regular(path: Path, mode: int) -> None:
    if not stat.S_ISREG(mode):
        kind = KINDS.get(stat.S_IFMT(mode), "something else")
        raise IrregularError(f"{path} is {kind}, but a file belongs there; remove it and try again.")
