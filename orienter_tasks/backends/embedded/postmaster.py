"""What a data directory shows about its server: postmaster.pid."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import msgspec

from orienter_tasks.errors import ConflictError
from orienter_tasks.machine.files import read_small
from orienter_tasks.processes import census

if TYPE_CHECKING:
    from pathlib import Path

    from orienter_tasks.instance.model import Instance

NAMES = ("postgres", "postmaster")


class Status(msgspec.Struct, frozen=True):
    """Lines 1, 4 and 8 of a running server's postmaster.pid (PostgreSQL ≥ 10, miscadmin.h)."""

    pid: int
    port: int
    ready: bool


def read(data: Path) -> Status | None:
    """Read postmaster.pid; None if it is missing or incomplete."""
    lines = _lines(data)
    try:
        return Status(int(lines[0]), int(lines[3]), lines[7].strip() == "ready")
    except (ValueError, IndexError):
        return None


def clear(instance: Instance, data: Path) -> None:
    """Remove a lock file that would prevent a start because it is damaged or its pid now belongs to another process.

    PostgreSQL itself removes a lock file whose pid is not in use.
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
    except (OSError, OverflowError):  # another user's, or not a pid
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
        return read_small(data / "postmaster.pid").decode("utf-8", "replace").splitlines()
    except OSError:
        return []
