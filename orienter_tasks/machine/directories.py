"""Directories of an instance: their size, and the one way to remove them."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import time
from typing import TYPE_CHECKING

from orienter_tasks.errors import CheckError

if TYPE_CHECKING:
    from pathlib import Path

LINKED = "it is reached through a symbolic link"
ATTEMPTS = 5


def is_direct(path: Path) -> bool:
    """Whether a path leads through no symbolic link; the path itself may be one."""
    return os.path.realpath(path.parent) == str(path.parent)


def remove(path: Path) -> bool:
    """Remove a directory with everything in it, and return whether there was one.

    No symbolic link is followed, neither on the way to the directory nor within it: one at `path` itself is removed,
    and what it points to stays.

    Raises:
        CheckError: a symbolic link leads to it, or something in it cannot be removed.
    """
    if not os.path.lexists(path):
        return False
    if not is_direct(path):
        raise CheckError(f"{path} is not removed: {LINKED}", hint="remove it yourself where the link points to")
    try:
        if path.is_symlink():
            path.unlink()
        else:
            _remove_tree(path)
    except OSError as error:
        raise CheckError(f"{error.filename or path} cannot be removed: {error.strerror}") from error
    return True


def size_of(path: Path, *, within: float | None = None) -> int | None:
    """Sum the sizes of the files in a directory that can be seen.

    Returns None for a symbolic link, and when it takes longer than `within` seconds.
    """
    if path.is_symlink():
        return None
    deadline, total = None if within is None else time.monotonic() + within, 0
    for directory, _, names in os.walk(path):
        for name in names:
            with contextlib.suppress(OSError):
                total += os.lstat(os.path.join(directory, name)).st_size  # noqa: PTH118 - quick for many files
        if deadline is not None and time.monotonic() > deadline:
            return None
    return total


def _remove_tree(path: Path) -> None:
    """Retry when something vanishes or appears meanwhile, such as a server's last file."""
    for attempt in range(ATTEMPTS):
        try:
            shutil.rmtree(path)
        except OSError as error:
            changing = error.errno in (errno.ENOENT, errno.ENOTEMPTY)
            if not changing or attempt == ATTEMPTS - 1:
                raise
            time.sleep(0.1)
        if not path.exists():
            return
