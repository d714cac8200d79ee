"""The log files that processes write to: opened for appending, numbered when replaced, and kept below a size.

Who writes has the file open, so it is emptied in place once its end was copied (`copytruncate` in logrotate(8)).
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from orienter_tasks.errors import CheckError
from orienter_tasks.processes.record import load_all

if TYPE_CHECKING:
    from collections.abc import Callable

    from orienter_tasks.instance.model import Instance
    from orienter_tasks.settings.model import Logs

BLOCK = 1 << 20


def open_log(path: Path, logs: Logs) -> int:
    """Open a new log; former ones get numbers."""
    try:
        limit(path, logs, written=lambda: False)
        if path.exists():
            _number(path, logs.keep)
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise CheckError(f"cannot write the log {path}: {error.strerror}") from error


def limit_all(instance: Instance, logs: Logs, runs: Callable[[str], bool]) -> None:
    """Keep the logs of an instance's recorded processes below their size; `runs`: whether a component does."""
    for record in load_all(instance):
        path = Path(record.log)
        if path.parent == instance.log_dir:
            limit(path, logs, written=partial(runs, record.component))


def too_large(path: Path, logs: Logs) -> int:
    """Return the size of a log that exceeds its limit, else 0."""
    try:
        status = path.lstat()
    except OSError:
        return 0
    return status.st_size if stat.S_ISREG(status.st_mode) and status.st_size > logs.max_bytes else 0


def limit(path: Path, logs: Logs, *, written: Callable[[], bool]) -> None:
    """Cut a log that exceeds its size.

    While something writes to it, it is emptied, and its end becomes the former log; what nothing writes to keeps its
    end. Where that cannot be done, such as on a full disk, it stays as it is.
    """
    if not too_large(path, logs):
        return
    part = path.with_name(f".{path.name}.part")
    with (
        contextlib.suppress(OSError),
        os.fdopen(os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK), "r+b") as file,
    ):
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # another command may do the same
        size = os.fstat(file.fileno()).st_size
        if size <= logs.max_bytes:
            return
        file.seek(size - logs.max_bytes)
        file.readline(BLOCK)  # the rest of a line
        in_use = written()
        if in_use and not logs.keep:
            file.truncate(0)
            return
        part.unlink(missing_ok=True)
        try:
            with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as copy:
                while file.tell() < size + logs.max_bytes and (block := file.read(BLOCK)):
                    copy.write(block)
                copy.flush()
                if in_use:
                    file.truncate(0)
                    _number(path, logs.keep, part)
                else:
                    part.replace(path)
        finally:
            part.unlink(missing_ok=True)


def _number(path: Path, keep: int, newest: Path | None = None) -> None:
    """Give the newest former log, by default the log itself, the number 1; the oldest ones go."""
    for number in range(keep, 1, -1):
        with contextlib.suppress(FileNotFoundError):
            path.with_name(f"{path.name}.{number - 1}").replace(path.with_name(f"{path.name}.{number}"))
    if keep:
        (newest or path).replace(path.with_name(f"{path.name}.1"))
    elif newest is None:
        path.unlink()
