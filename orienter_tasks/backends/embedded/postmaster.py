"""postmaster.pid: who serves a data directory, and what a server that was killed has left."""

from __future__ import annotations

import signal
from dataclasses import dataclass
from typing import TYPE_CHECKING

from orienter_tasks.backends.embedded import leftovers
from orienter_tasks.errors import ConflictError

if TYPE_CHECKING:
    from pathlib import Path

    import psutil

    from orienter_tasks.instance.model import Instance

NAMES = ("postgres", "postmaster")
QUIT_SECONDS = 1.0


@dataclass(frozen=True)
class Status:
    """What a running server says of itself: lines 1, 4 and 8 of the file (PostgreSQL ≥ 10, miscadmin.h)."""

    pid: int
    port: int
    ready: bool


def read(data: Path) -> Status | None:
    """Read the file; None when there is none or it is not whole yet."""
    lines = _lines(data)
    try:
        return Status(int(lines[0]), int(lines[3]), lines[7].strip() == "ready")
    except (ValueError, IndexError):
        return None


def clear(instance: Instance, data: Path) -> None:
    """Remove what keeps a new server from starting: a lock that names a stranger by now, backends without a server.

    PostgreSQL itself sees to a lock whose pid is nobody's.

    Raises:
        ConflictError: a server that is none of ours serves this directory.
        CheckError: a backend survives SIGKILL.
    """
    pid = _pid(data)
    serving = {process.pid for process in leftovers.working_in(data, NAMES)}
    if pid in serving:
        raise ConflictError(
            f"pid {pid} serves {data} of {instance} and was not started by inv", hint=f"stop it: kill -INT {pid}"
        )
    if pid is None or _exists(pid):
        (data / "postmaster.pid").unlink(missing_ok=True)
    end_backends(data)


def end_backends(data: Path) -> None:
    """End backends whose server was killed: busy ones notice it late, and hold its shared memory until then.

    A server that somebody runs on this directory by hand is left alone, and so are its backends.
    """
    found = leftovers.working_in(data, NAMES)
    known = {process.pid for process in found}
    orphans = [process for process in found if process.pid != _pid(data) and _parent(process) not in known]
    leftovers.end(orphans, signal.SIGQUIT, QUIT_SECONDS)


def _exists(pid: int) -> bool:
    import psutil

    return psutil.pid_exists(pid)


def _parent(process: psutil.Process) -> int | None:
    import psutil

    try:
        return process.ppid()
    except psutil.Error:
        return None


def _pid(data: Path) -> int | None:
    try:
        pid = int(_lines(data)[0])
    except (ValueError, IndexError):
        return None
    return pid if pid > 0 else None


def _lines(data: Path) -> list[str]:
    try:
        return (data / "postmaster.pid").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []
