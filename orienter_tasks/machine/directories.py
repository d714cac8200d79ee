"""Directories of an instance: their size, and the one way to remove them."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from orienter_tasks.errors import CheckError
from orienter_tasks.machine.signals import raise_unheard
from orienter_tasks.machine.state import private_dir

if TYPE_CHECKING:
    from collections.abc import Iterator

LINKED = "it is reached through a symbolic link"
ATTEMPTS = 5

_DIRECTORY = os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_NOT_A_DIRECTORY = (errno.ENOTDIR, errno.ELOOP)
_CHANGED = (errno.ENOENT, errno.ENOTEMPTY, errno.EEXIST, errno.EISDIR, *_NOT_A_DIRECTORY)


def is_direct(path: Path) -> bool:
    """Whether a path leads through no symbolic link; the path itself may be one."""
    return os.path.realpath(path.parent) == str(path.parent)


def remove(path: Path) -> bool:
    """Remove a directory with everything in it, and return whether there was one.

    No symbolic link is followed, neither on the way to the directory nor within it, not even a link that appears
    meanwhile: one at `path` itself is removed, and what it points to stays. What is mounted in it stays, too. Nothing
    more is removed after a signal.

    Raises:
        CheckError: a symbolic link leads to it, or something in it is mounted or cannot be removed.
    """
    if not os.path.lexists(path):
        return False
    removal = _Removal()
    with _opened_parent(path) as parent:
        removal.remove(path, parent, _mount_of(parent))
    if removal.mounted:
        places = ", ".join(map(str, removal.mounted))
        raise CheckError(
            f"{places} is not removed: another file system is mounted there",
            hint=f"unmount it (umount {removal.mounted[0]}), then run this again",
        )
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


def move(source: Path, target: Path) -> None:
    """Move a directory, also to another file system: there it is copied, and removed once the copy is whole.

    Of a symbolic link the link is moved.

    Raises:
        CheckError: it cannot be moved; `source` is as before.
    """
    partial = target.with_name(f".{target.name}.new")
    try:
        private_dir(target.parent)
        if source.is_symlink():
            target.symlink_to(os.path.realpath(source))
            source.unlink()
            return
        try:
            source.rename(target)
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
        else:
            return
        shutil.rmtree(partial, ignore_errors=True)
        shutil.copytree(source, partial, symlinks=True)
        os.sync()
        partial.rename(target)
    except (OSError, shutil.Error) as error:
        shutil.rmtree(partial, ignore_errors=True)
        raise CheckError(f"cannot move {source} to {target}: {getattr(error, 'strerror', '') or error}") from error
    remove(source)


class _Removal:
    """Removes what it reaches from open directories, and remembers what is `mounted` in them."""

    def __init__(self) -> None:
        self.mounted: list[Path] = []

    def remove(self, path: Path, parent: int, mount: str) -> None:
        """Remove a name from its open parent; retry where that changes, as with a server's last file."""
        for _ in range(ATTEMPTS):
            raise_unheard()
            try:
                directory = _opened_or_unlinked(path.name, parent)
                if directory is None:
                    return
                with _closing(directory):
                    if _mount_of(directory) != mount:
                        self.mounted.append(path)
                        return
                    for name in os.listdir(directory):  # noqa: PTH208 - the directory that was opened
                        self.remove(path / name, directory, mount)
                os.rmdir(path.name, dir_fd=parent)
            except OSError as error:
                if error.errno not in _CHANGED:
                    raise CheckError(f"{path} cannot be removed: {error.strerror}") from error
            else:
                return
            if self.mounted:
                return
            time.sleep(0.1)
        raise CheckError(f"{path} cannot be removed: something in it changes all the time")


def _opened_or_unlinked(name: str, parent: int) -> int | None:
    """Open a directory; unlink anything else, also a link to one."""
    try:
        return os.open(name, os.O_RDONLY | _DIRECTORY, dir_fd=parent)
    except FileNotFoundError:
        return None
    except OSError as error:
        if error.errno not in _NOT_A_DIRECTORY:
            raise
    os.unlink(name, dir_fd=parent)
    return None


@contextmanager
def _closing(descriptor: int) -> Iterator[None]:
    try:
        yield
    finally:
        os.close(descriptor)


@contextmanager
def _opened_parent(path: Path) -> Iterator[int]:
    """Open a path's parent step by step, following no link."""
    way = getattr(os, "O_PATH", os.O_RDONLY) | _DIRECTORY
    directory = os.open(path.anchor, way)
    try:
        for name in path.parts[1:-1]:
            step = os.open(name, way, dir_fd=directory)
            os.close(directory)
            directory = step
        yield directory
    except OSError as error:
        linked = error.errno in _NOT_A_DIRECTORY
        raise CheckError(
            f"{path} is not removed: {LINKED if linked else error.strerror}",
            hint="remove it yourself where the link points to" if linked else "",
        ) from error
    finally:
        os.close(directory)


def _mount_of(directory: int) -> str:
    """Identify the mount of an open directory: a bind mount has the device of what it shows."""
    with contextlib.suppress(OSError):
        lines = Path(f"/proc/self/fdinfo/{directory}").read_text(encoding="ascii").splitlines()
        return next(line for line in lines if line.startswith("mnt_id:"))
    return str(os.fstat(directory).st_dev)
