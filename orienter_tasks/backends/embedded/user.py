"""Run servers without root's capabilities: PostgreSQL refuses root, initdb a user without a name, nginx needs neither.

`unshare -U` changes what the program sees of itself, not what it is: its pid stays, and its files stay ours.
Where user namespaces are forbidden, root becomes `nobody`, who then owns the data.
"""

from __future__ import annotations

import contextlib
import functools
import os
import pwd
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from orienter_tasks.errors import BackendError

PROBE_SECONDS = 5.0
NOBODY = 65534
DROP = """import os, sys
uid, gid, program = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:]
os.setgroups([])
os.setgid(gid)
os.setuid(uid)
os.execv(program[0], program)"""


@dataclass(frozen=True)
class Account:
    """How PostgreSQL is run.

    Attributes:
        prefix: what stands before its command; every one of them ends in an exec, so the pid stays.
        owner: uid and gid that its files are given to; None: they stay ours.
    """

    prefix: tuple[str, ...] = ()
    owner: tuple[int, int] | None = None

    def command(self, program: Path, *arguments: str) -> list[str]:
        """Return the argv that runs a program under this account."""
        return [*self.prefix, str(program), *arguments]

    def give(self, path: Path) -> None:
        """Give a directory and what is in it to the account's owner."""
        if self.owner is None or (path.stat().st_uid, path.stat().st_gid) == self.owner:
            return
        for directory, _, files in os.walk(path):
            for name in files:
                os.chown(Path(directory, name), *self.owner, follow_symlinks=False)
            os.chown(directory, *self.owner)

    def open_way(self, directory: Path) -> None:
        """Let the account's owner pass through our own directory, and require that it gets that far.

        Raises:
            BackendError: naming the directory that stops it.
        """
        if self.owner is None:
            return
        directory.chmod(directory.stat().st_mode | 0o011)
        for path in (directory, *directory.resolve().parents):
            if not path.stat().st_mode & 0o001:
                raise BackendError(
                    f"PostgreSQL refuses root, and user {_name(self.owner[0])} may not pass through {path}",
                    hint="run inv as an ordinary user, move the checkout, or allow user namespaces to root",
                )


def account_for(data: Path) -> Account:
    """Decide how to run PostgreSQL on a data directory, which need not be there yet.

    Raises:
        BackendError: when this user cannot run it at all.
    """
    uid = os.geteuid()
    if uid != 0:
        return _ordinary(uid)
    owner = _owner(data)
    if owner is not None and owner[0] != 0:
        return _dropped(*owner)
    if user_namespaces():
        return _in_namespace()
    return _dropped(*_nobody())


@functools.cache
def user_namespaces() -> bool:
    """Say whether this user may run a program in a user namespace."""
    prefix = _in_namespace().prefix
    if not sys.platform.startswith("linux") or not shutil.which(prefix[0]):
        return False
    command = [*prefix, "true"]
    with contextlib.suppress(OSError, subprocess.TimeoutExpired):
        return subprocess.run(command, capture_output=True, timeout=PROBE_SECONDS, check=False).returncode == 0
    return False


def account_for_port(port: int) -> Account:
    """Decide how to run a server that only needs a port and our own files: as root without root's capabilities.

    A port that needs them is served by root itself.
    """
    if os.geteuid() == 0 and port >= _first_open_port() and user_namespaces():
        return _in_namespace()
    return Account()


def _first_open_port() -> int:
    with contextlib.suppress(OSError, ValueError):
        return int(Path("/proc/sys/net/ipv4/ip_unprivileged_port_start").read_text(encoding="ascii"))
    return 1024


def _ordinary(uid: int) -> Account:
    with contextlib.suppress(KeyError):
        pwd.getpwuid(uid)
        return Account()
    if user_namespaces():
        return _in_namespace()
    raise BackendError(
        f"initdb refuses user {uid}, who has no name on this system, and user namespaces are forbidden",
        hint=f"give uid {uid} an entry in /etc/passwd",
    )


def _in_namespace() -> Account:
    uid, gid = _nobody()
    return Account(prefix=("unshare", "-U", f"--map-user={uid}", f"--map-group={gid}", "--"))


def _dropped(uid: int, gid: int) -> Account:
    return Account(prefix=(sys.executable, "-I", "-S", "-c", DROP, str(uid), str(gid)), owner=(uid, gid))


def _nobody() -> tuple[int, int]:
    """Return an unprivileged user that has a name here."""
    with contextlib.suppress(KeyError):
        entry = pwd.getpwnam("nobody")
        return entry.pw_uid % 2**32, entry.pw_gid % 2**32
    named = (entry for entry in pwd.getpwall() if entry.pw_uid != 0)
    return next(((entry.pw_uid, entry.pw_gid) for entry in named), (NOBODY, NOBODY))


def _owner(data: Path) -> tuple[int, int] | None:
    with contextlib.suppress(OSError):
        status = (data / "PG_VERSION").stat()
        return status.st_uid, status.st_gid
    return None


def _name(uid: int) -> str:
    with contextlib.suppress(KeyError):
        return pwd.getpwuid(uid).pw_name
    return str(uid)
