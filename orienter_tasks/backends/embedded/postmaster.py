"""postmaster.pid: which server serves a data directory."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from orienter_tasks.errors import ConflictError
from orienter_tasks.processes import census

if TYPE_CHECKING:
    from pathlib import Path

    from orienter_tasks.instance.model import Instance

NAMES = ("postgres", "postmaster")


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
    """Remove a lock that would keep a new server from starting: it names another process by now, or is damaged.

    PostgreSQL itself removes a lock whose pid is not in use.

    Raises:
        ConflictError: a server that is not ours serves this directory.
    """
    pid = _pid(data)
    if pid is not None and not _exists(pid):
        return
    if pid is not None and pid in [process.pid for process in census.take().working_in(data, NAMES)]:
        raise ConflictError(
            f"pid {pid} serves {data} of {instance} and was not started by inv", hint=f"stop it: kill -INT {pid}"
        )
    (data / "postmaster.pid").unlink(missing_ok=True)


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):  # another user's, or no pid at all
        return True
    return True


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
