"""What a data directory says of its server: who serves it, what a killed one has left, and which login it accepts."""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import os
import signal
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from orienter_tasks.backends.embedded import leftovers
from orienter_tasks.errors import ConflictError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import psutil

    from orienter_tasks.instance.model import Instance

NAMES = ("postgres", "postmaster")
QUIT_SECONDS = 1.0
LOGIN_FILE = "orienter-login"
# who may log in, and to what: the tables of roles and of databases, whose numbers are fixed, and the rules beside them
LOGIN_TABLES = ("global/1260", "global/1262", "pg_hba.conf")
SALT_BYTES, ROUNDS = 16, 4096  # as many rounds as PostgreSQL's own hash of the password, which is in the same directory


@dataclass(frozen=True)
class Status:
    """What a running server says of itself: lines 1, 4 and 8 of the file (PostgreSQL ≥ 10, miscadmin.h)."""

    pid: int
    port: int
    ready: bool


@dataclass(frozen=True)
class LoginProof:
    """Whether a server on a data directory has accepted the instance's login, and nothing about it changed since.

    A login is worth 0.05 s of a start, all of it the import of pg8000. What is kept of it is a salted hash.
    """

    data: Path
    facts: bytes = field(repr=False)

    @classmethod
    def of(cls, data: Path, variables: Mapping[str, str]) -> LoginProof:
        """Take what a login depends on, as it is now: the server wrote its tables before it was ready."""
        try:
            written = [(data / name).stat().st_mtime_ns for name in LOGIN_TABLES]
        except OSError:
            written = [time.time_ns()]  # rewritten under another name: nothing is proven any more
        names = ("POSTGRES_USER", "POSTGRES_PASSWORD", "POSTGRES_DB")
        return cls(data, repr([*(variables[name] for name in names), *written]).encode())

    def is_known(self) -> bool:
        try:
            kept = (self.data / LOGIN_FILE).read_bytes()
        except OSError:
            return False
        return hmac.compare_digest(kept, self._hash(kept[:SALT_BYTES]))

    def keep(self) -> None:
        with contextlib.suppress(OSError):  # then the next start logs in again
            flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW
            with os.fdopen(os.open(self.data / LOGIN_FILE, flags, 0o600), "wb") as file:
                file.write(self._hash(os.urandom(SALT_BYTES)))

    def _hash(self, salt: bytes) -> bytes:
        return salt + hashlib.pbkdf2_hmac("sha256", self.facts, salt, ROUNDS)


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
