"""postmaster.pid: who serves a data directory, and what a server that was killed has left."""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass
from typing import TYPE_CHECKING

from orienter_tasks.errors import CheckError, ConflictError

if TYPE_CHECKING:
    from pathlib import Path

    import psutil

    from orienter_tasks.instance import Instance

QUIT_SECONDS = 1.0
KILL_SECONDS = 5.0


@dataclass(frozen=True)
class Status:
    """What a running server says of itself: lines 1, 4 and 8 of the file (PostgreSQL ≥ 10, miscadmin.h)."""

    pid: int
    port: int
    ready: bool


def read(data: Path) -> Status | None:
    """Read the file; None when there is none or it is not whole yet."""
    try:
        lines = (data / "postmaster.pid").read_text(encoding="utf-8", errors="replace").splitlines()
        return Status(int(lines[0]), int(lines[3]), lines[7].strip() == "ready")
    except (OSError, ValueError, IndexError):
        return None


def clear(instance: Instance, data: Path) -> None:
    """Remove what keeps a new server from starting: a lock whose pid is a stranger's by now, backends without a server.

    PostgreSQL itself sees to a lock whose pid is nobody's.

    Raises:
        ConflictError: a server that is none of ours serves this directory.
        CheckError: a backend survives SIGKILL.
    """
    lock = data / "postmaster.pid"
    if lock.is_file():
        pid = _pid(lock)
        if pid is None or (_exists(pid) and not _serves(pid, data)):
            lock.unlink(missing_ok=True)
        elif _exists(pid):
            raise ConflictError(
                f"pid {pid} serves {data} of {instance} and was not started by inv", hint=f"stop it: kill -INT {pid}"
            )
    end_backends(instance, data)


def end_backends(instance: Instance, data: Path) -> None:
    """End processes that a killed server left behind: they hold its shared memory until they next look up.

    Each has a session of its own and its title in place of its environment: PostgreSQL's name and its working
    directory, which is the data directory, are what tells them.
    """
    import psutil

    left = _backends(data)
    for number, seconds in ((signal.SIGQUIT, QUIT_SECONDS), (signal.SIGKILL, KILL_SECONDS)):
        for process in left:
            try:
                process.send_signal(number)
            except psutil.Error:
                continue
        left = psutil.wait_procs(left, timeout=seconds)[1] if left else []
    if left:
        pids = ", ".join(str(process.pid) for process in left)
        raise CheckError(f"PostgreSQL backends of {instance} survive SIGKILL: {pids}")


def _backends(data: Path) -> list[psutil.Process]:
    import psutil

    return [process for process in psutil.process_iter() if _works_in(process, data)]


def _works_in(process: psutil.Process, data: Path) -> bool:
    import psutil

    try:
        return process.name() in ("postgres", "postmaster") and process.cwd() == os.path.realpath(data)
    except (psutil.Error, OSError):
        return False


def _serves(pid: int, data: Path) -> bool:
    import psutil

    try:
        return _works_in(psutil.Process(pid), data)
    except psutil.Error:
        return False


def _exists(pid: int) -> bool:
    import psutil

    return bool(psutil.pid_exists(pid))


def _pid(lock: Path) -> int | None:
    try:
        pid = int(lock.read_text(encoding="utf-8", errors="replace").splitlines()[0])
    except (OSError, ValueError, IndexError):
        return None
    return pid if pid > 0 else None
