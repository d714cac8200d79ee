"""Locks that a server inherits: the kernel holds them as long as one of its processes lives.

They are seen from every container and namespace that shares the file. The kernel does not tell what holds one: the file
does.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import platform
import stat
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from orienter_tasks.machine.directories import remove
from orienter_tasks.machine.files import read_small
from orienter_tasks.machine.state import failure, private_dir

if TYPE_CHECKING:
    from collections.abc import Iterator

POLL_SECONDS = 0.05
_HELD = (errno.EWOULDBLOCK, errno.EACCES)
_FLAGS = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK


class HeldError(Exception):
    """Somebody else holds a lock; the text says who."""


class LockHolder(msgspec.Struct, frozen=True):
    """Where the process is that holds a lock: pids of another `pid_namespace` mean nothing here."""

    pid: int
    host: str
    boot: str
    pid_namespace: str


@contextmanager
def hold(path: Path, *, within: float = 0.0, shared: bool = False) -> Iterator[int]:
    """Hold a lock, and yield the descriptor that a server may inherit; such a server keeps the lock afterwards.

    A `shared` lock keeps away only those that want it alone.

    Raises:
        HeldError: it is still held elsewhere after `within` seconds.
        ConfigError, CheckError: its file cannot be used, or the disk is full.
    """
    private_dir(path.parent)
    deadline = time.monotonic() + within
    if os.path.lexists(path) and not stat.S_ISREG(os.lstat(path).st_mode):
        remove(path)  # nobody can hold a lock on what is not a file
    try:
        descriptor = os.open(path, _FLAGS, 0o600)
    except OSError as error:
        raise failure(path, f"cannot use the lock {path}", error) from error
    try:
        while not _acquire(descriptor, fcntl.LOCK_SH if shared else fcntl.LOCK_EX):
            if time.monotonic() > deadline:
                raise HeldError(_described(path))
            time.sleep(POLL_SECONDS)
        yield descriptor
    finally:
        os.close(descriptor)


def name_holder(descriptor: int, pid: int) -> None:
    """Write into a lock's file which process has inherited it; in place, since another file would not be locked."""
    text = msgspec.json.encode(LockHolder(pid, platform.node(), _boot(), _pid_namespace()))
    with contextlib.suppress(OSError):  # it only names the holder
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, text, 0)


def holder(path: Path) -> str:
    """Describe what holds a lock; "" while nobody does."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return ""
    try:
        return "" if _acquire(descriptor, fcntl.LOCK_SH) else _described(path)
    finally:
        os.close(descriptor)


def _acquire(descriptor: int, kind: int) -> bool:
    """Take a lock; also True where the file system has none."""
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except OSError as error:
        return error.errno not in _HELD
    return True


def _described(path: Path) -> str:
    try:
        found = msgspec.json.decode(read_small(path), type=LockHolder)
    except (OSError, msgspec.DecodeError, UnicodeDecodeError):
        return "another process"
    if found.boot != _boot():
        return f"pid {found.pid} on {found.host}"
    if found.pid_namespace != _pid_namespace():
        return f"pid {found.pid} of another container or sandbox ({found.host}, pid namespace {found.pid_namespace})"
    return f"pid {found.pid}"


def _boot() -> str:
    with contextlib.suppress(OSError):
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    return ""


def _pid_namespace() -> str:
    with contextlib.suppress(OSError):
        return str(Path("/proc/self/ns/pid").readlink()).strip("pid:[]")
    return ""
