"""Proof that a server accepted the instance's login, while nothing that a login depends on has changed."""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import os
import time
from typing import TYPE_CHECKING

import msgspec

from orienter_tasks.errors import OrienterError
from orienter_tasks.machine.files import read_small
from orienter_tasks.machine.state import write_private

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

# below the data directory: the catalogs of roles and databases (their OIDs are fixed), and the authentication rules
LOGIN_FILES = ("global/1260", "global/1262", "pg_hba.conf")
SALT_BYTES, ROUNDS = 16, 4096  # as PostgreSQL's own hash of the password


class LoginProof(msgspec.Struct, frozen=True):
    """Saves the import of pg8000, 0.05 to 0.1 s of a start. Only a salted hash of the facts is stored."""

    path: Path
    facts: bytes

    def __repr__(self) -> str:  # without the password
        return f"LoginProof({self.path!r})"

    @classmethod
    def of(
        cls, path: Path, variables: Mapping[str, str], modified: Callable[[str], object], further: Sequence[str] = ()
    ) -> LoginProof:
        """Collect the present facts and `further` ones; `modified` returns when one of LOGIN_FILES was modified.

        A server that has started has written all earlier changes to its files. While it runs, it writes the removal of
        a database at once, and other changes at its next checkpoint.
        """
        try:
            written = [modified(name) for name in LOGIN_FILES]
        except (OSError, OrienterError):
            written = [time.time_ns()]  # such as after VACUUM FULL, which moves a catalog to another file: never proven
        names = ("POSTGRES_USER", "POSTGRES_PASSWORD", "POSTGRES_DB")
        return cls(path, repr([*(variables[name] for name in names), *written, *further]).encode())

    def exists(self) -> bool:
        try:
            stored = read_small(self.path)
        except OSError:
            return False
        return hmac.compare_digest(stored, self._hash(stored[:SALT_BYTES]))

    def store(self) -> None:
        with contextlib.suppress(OrienterError):  # the next start logs in again
            write_private(self.path, self._hash(os.urandom(SALT_BYTES)), durable=False)

    def _hash(self, salt: bytes) -> bytes:
        return salt + hashlib.pbkdf2_hmac("sha256", self.facts, salt, ROUNDS)
