"""The per-user state directory: where it is, its locks, and files that are replaced atomically.

It does not depend on $TMPDIR, so that a person and an agent see the same claims. ORIENTER_STATE_DIR moves it.
"""

from __future__ import annotations

import errno
import fcntl
import os
import re
import shlex
import stat
import sys
import threading
import time
from contextlib import contextmanager, suppress
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING

from orienter_tasks.errors import CheckError, ConfigError, ConflictError, OrienterError
from orienter_tasks.machine.files import open_regular, read_small

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SCHEMA_VERSION = 1
HOLDER_LOOKS = 5
LOCK_POLL_SECONDS = 0.05
_OWN = r"/(?:\.dev-data|\.dev-pids|logs)(?:/instance-\d+)?$"


def state_dir() -> Path:
    """Return the state directory, which may not exist yet."""
    override = os.environ.get("ORIENTER_STATE_DIR")
    if override:
        return Path(override).expanduser().absolute()
    import platformdirs

    return Path(platformdirs.user_state_dir("orienter", appauthor=False))


def volume_dir() -> Path:
    """Return the directory of the embedded servers' data; ORIENTER_VOLUME_DIR moves it, else ORIENTER_STATE_DIR."""
    override = os.environ.get("ORIENTER_VOLUME_DIR")
    if override:
        return Path(override).expanduser().absolute()
    if os.environ.get("ORIENTER_STATE_DIR"):
        return state_dir() / "volumes"
    import platformdirs

    return Path(platformdirs.user_data_dir("orienter", appauthor=False)) / "volumes"


def snapshot_dir() -> Path:
    """Return the directory of the snapshots, beside the volumes; in a directory that was named, with them."""
    volumes = volume_dir()
    return volumes / ".snapshots" if os.environ.get("ORIENTER_VOLUME_DIR") else volumes.with_name("snapshots")


def private_dir(path: Path) -> Path:
    """Make a directory that only its owner may enter (0700), with its parents; existing ones keep their modes.

    Git ignores an instance's directories: the first that is made gets a `.gitignore`.
    Raises ConfigError where it cannot be made, CheckError where the disk is full.
    """
    try:
        made = list(takewhile(lambda each: not each.exists(), (path, *path.parents)))
        for each in (*reversed(made), path):
            each.mkdir(mode=0o700, exist_ok=True)  # one by one: `parents` leaves their modes to the umask
            if each in made:
                hand_over(each)
            if made and each == made[-1] and re.search(_OWN, str(each)):
                with suppress(OSError):
                    (each / ".gitignore").write_text("*\n", encoding="ascii")
                    hand_over(each / ".gitignore")
    except OSError as error:
        raise failure(path, f"cannot make the directory {path}", error) from error
    return path


def write_private(path: Path, content: str | bytes, mode: int = 0o600, *, durable: bool = True) -> None:
    """Replace a file atomically: a reader sees the old content or the new one, never a part.

    `durable` files survive a power cut, which a description of processes need not.
    Raises ConfigError where it cannot be written, CheckError where the disk is full; the old file stays.
    """
    private_dir(path.parent)
    data = content.encode() if isinstance(content, str) else content
    temporary = path.with_name(f".{path.name}.{threading.get_ident()}.{os.getpid()}.tmp")
    sweep(path)
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, mode)
        with os.fdopen(descriptor, "wb") as file:
            os.fchmod(file.fileno(), mode)
            file.write(data)
            file.flush()
            if durable:
                os.fsync(file.fileno())
        hand_over(temporary)
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise failure(path, f"cannot write {path}", error) from error


def is_under_sudo(path: Path) -> bool:
    """Whether the owner of a path has made themselves root."""
    sudo = os.environ.get("SUDO_UID", "")
    return os.geteuid() == 0 and sudo.isdecimal() and 0 < int(sudo) == path.stat().st_uid


def hand_over(path: Path) -> None:
    """Give what was made under sudo to the directory's owner, who could not use it otherwise."""
    if is_under_sudo(path.parent):
        owner = path.parent.stat()
        os.chown(path, owner.st_uid, owner.st_gid, follow_symlinks=False)


def failure(path: Path, what: str, error: OSError) -> OrienterError:
    """Describe why a file could not be used: the disk is full, or `what` and the reason."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return CheckError(f"no space is left for {path}", hint="free some space, then run this again")
    return ConfigError(f"{what}: {error.strerror}")


def sweep(path: Path) -> None:
    """Remove what writers of a file left half-written when they were killed."""
    _sweep(path.parent, f".{path.name}.")


def sweep_all(directory: Path) -> None:
    """Remove the same of all files in a directory."""
    _sweep(directory, ".")


def _sweep(directory: Path, beginning: str) -> None:
    try:
        names = os.listdir(directory)  # noqa: PTH208 - each write looks, and a pattern would be compiled for each name
    except OSError:
        return
    for name in names:
        if name.startswith(beginning) and name.endswith(".tmp"):
            pid = name.split(".")[-2]
            if pid.isdecimal() and not _exists(int(pid)):
                (directory / name).unlink(missing_ok=True)


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):
        pass
    return True


@contextmanager
def locked(name: str, *, timeout: float, on_wait: Callable[[str], None] | None = None) -> Iterator[None]:
    """Hold the machine-wide lock of that name, such as `claims` or `orienter-3`; the system frees it if we die.

    `on_wait` is called once with the holder's name if the lock is taken.

    Raises:
        ConflictError: it is still held after `timeout` seconds; names the holder.
    """
    directory = private_dir(state_dir() / "locks")
    path, holder = directory / f"{name}.lock", directory / f"{name}.holder"
    _require_lock_file(path)
    try:
        lock = _lock(path)
        if lock is None and on_wait is not None:
            on_wait(_holder(holder))
        deadline = time.monotonic() + timeout
        while lock is None:
            if time.monotonic() > deadline:
                raise ConflictError(
                    f"the lock {name!r} is held by {_holder(holder)}", hint="wait until it ends, then run this again"
                )
            time.sleep(LOCK_POLL_SECONDS)
            lock = _lock(path)
    except OSError as error:
        raise failure(path, f"cannot use the lock {path}", error) from error
    hand_over(path)
    try:
        with suppress(OrienterError):  # it only names the holder, and a stop must work on a full disk
            write_private(holder, f"{os.getpid()}\n{time.time():.0f}\n{_command()}\n", durable=False)
        yield
    finally:
        with suppress(OSError):
            holder.unlink(missing_ok=True)
        os.close(lock)


def _lock(path: Path) -> int | None:
    """Return the descriptor that holds a lock, or None while another does."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.fstat(descriptor).st_nlink:  # else it was removed between the two, and the next one makes another
            return descriptor
    except BlockingIOError:
        pass
    except BaseException:
        os.close(descriptor)
        raise
    os.close(descriptor)
    return None


def _require_lock_file(path: Path) -> None:
    """Require that a lock's file is one, if it is there: else locking would change what it links to."""
    if os.path.lexists(path) and not stat.S_ISREG(os.lstat(path).st_mode):
        raise ConfigError(f"the lock {path} is not a regular file", hint=f"remove it: rm -r {shlex.quote(str(path))}")


def is_locked(name: str) -> bool:
    try:
        with open_regular(state_dir() / "locks" / f"{name}.lock") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except OSError:
        return True
    return False


def lock_holder(name: str) -> tuple[str, float]:
    """Describe the process that holds a lock, and since when (seconds since the epoch); "" while nobody does."""
    path = state_dir() / "locks" / f"{name}.holder"
    for _ in range(HOLDER_LOOKS):
        if not is_locked(name):
            return "", 0.0
        with suppress(OSError):
            return _holder(path), path.stat().st_mtime
        time.sleep(0.01)  # it has just been taken, or another process looks whether it is
    return _holder(path), time.time()


def _command() -> str:
    words = " ".join(["inv", *sys.argv[1:]])
    return " ".join(words.encode(errors="replace").decode().split())[:200]


def _holder(path: Path) -> str:
    try:
        pid, since, command = read_small(path).decode().splitlines()[:3]
        clock = time.strftime("%H:%M:%S", time.localtime(float(since)))
    except (OSError, ValueError, OverflowError):
        return "another process"
    return f"pid {pid} ({command}) since {clock}"
