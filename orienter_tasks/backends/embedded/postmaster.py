"""What a data directory shows about its server: postmaster.pid, and the last login that the server accepted."""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import os
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from orienter_tasks.errors import ConflictError, OrienterError
from orienter_tasks.machine.files import read_small
from orienter_tasks.machine.state import write_private
from orienter_tasks.processes import census

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from orienter_tasks.instance.model import Instance

NAMES = ("postgres", "postmaster")
LOGIN_FILE = "orienter-login"
# what a login depends on: the catalogs of roles and databases (their OIDs are fixed), and the authentication rules
LOGIN_FILES = ("global/1260", "global/1262", "pg_hba.conf")
SALT_BYTES, ROUNDS = 16, 4096  # as PostgreSQL's own hash of the password in the same directory


@dataclass(frozen=True)
class Status:
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


@dataclass(frozen=True)
class LoginProof:
    """Proof that a server accepted the instance's login, and that everything the login depends on is unchanged.

    This saves the import of pg8000, 0.05 s of a start. Only a salted hash of the facts is stored.
    """

    data: Path
    facts: bytes = field(repr=False)

    @classmethod
    def of(cls, data: Path, variables: Mapping[str, str]) -> LoginProof:
        """Collect the present facts; a server that is ready has written all earlier changes to its files."""
        try:
            written = [(data / name).stat().st_mtime_ns for name in LOGIN_FILES]
        except OSError:
            written = [time.time_ns()]  # VACUUM FULL moved a catalog to another file: never proven
        names = ("POSTGRES_USER", "POSTGRES_PASSWORD", "POSTGRES_DB")
        return cls(data, repr([*(variables[name] for name in names), *written]).encode())

    def exists(self) -> bool:
        try:
            stored = read_small(self.data / LOGIN_FILE)
        except OSError:
            return False
        return hmac.compare_digest(stored, self._hash(stored[:SALT_BYTES]))

    def store(self) -> None:
        with contextlib.suppress(OrienterError):  # the next start logs in again
            write_private(self.data / LOGIN_FILE, self._hash(os.urandom(SALT_BYTES)), durable=False)

    def _hash(self, salt: bytes) -> bytes:
        return salt + hashlib.pbkdf2_hmac("sha256", self.facts, salt, ROUNDS)


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
