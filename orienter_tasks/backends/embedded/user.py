"""Run servers without root's capabilities: PostgreSQL refuses root, and initdb refuses a user without a name.

`unshare -U` changes only which user a program believes to be: its pid stays the same, and its files stay ours.
"""

from __future__ import annotations

import contextlib
import functools
import os
import pwd
import shutil
import subprocess
import sys
from pathlib import Path

from orienter_tasks.errors import BackendError

PROBE_SECONDS = 5.0
NOBODY = 65534


def prefix_for_postgres(data: Path) -> tuple[str, ...]:
    """Return the prefix of PostgreSQL's commands that lets this user run it on a data directory, existing or not."""
    uid = os.geteuid()
    if uid != 0 and _has_name(uid):
        return ()
    if uid == 0:
        _require_own(data)
    if user_namespaces():
        return _in_namespace()
    if uid == 0:
        raise BackendError(
            "PostgreSQL refuses root, and root may not use user namespaces on this machine",
            hint="run inv as an ordinary user, or allow user namespaces",
        )
    raise BackendError(
        f"initdb refuses user {uid}, which has no name on this system, and user namespaces are not allowed",
        hint=f"give uid {uid} an entry in /etc/passwd",
    )


def prefix_for_port(port: int) -> tuple[str, ...]:
    """Return the prefix that drops root's capabilities for a server, unless its port needs them."""
    return _in_namespace() if os.geteuid() == 0 and port >= _first_open_port() and user_namespaces() else ()


@functools.cache
def user_namespaces() -> bool:
    """Whether this user may run a program in a user namespace."""
    prefix = _in_namespace()
    if not sys.platform.startswith("linux") or not shutil.which(prefix[0]):
        return False
    with contextlib.suppress(OSError, subprocess.TimeoutExpired):
        done = subprocess.run([*prefix, "true"], capture_output=True, timeout=PROBE_SECONDS, check=False)
        return done.returncode == 0
    return False


def _in_namespace() -> tuple[str, ...]:
    uid, gid = _named_user()
    return ("unshare", "-U", f"--map-user={uid}", f"--map-group={gid}", "--")


def _named_user() -> tuple[int, int]:
    """Return an unprivileged user with a name."""
    with contextlib.suppress(KeyError):
        nobody = pwd.getpwnam("nobody")
        return nobody.pw_uid % 2**32, nobody.pw_gid % 2**32
    named = (entry for entry in pwd.getpwall() if entry.pw_uid != 0)
    return next(((entry.pw_uid, entry.pw_gid) for entry in named), (NOBODY, NOBODY))


def _has_name(uid: int) -> bool:
    with contextlib.suppress(KeyError):
        return bool(pwd.getpwuid(uid))
    return False


def _require_own(data: Path) -> None:
    """Root in a user namespace cannot read another user's files."""
    with contextlib.suppress(OSError):  # it does not exist yet, or `prepare` reports what is wrong
        owner = (data / "PG_VERSION").stat().st_uid
        if owner != 0:
            who = pwd.getpwuid(owner).pw_name if _has_name(owner) else str(owner)
            raise BackendError(
                f"{data} belongs to user {who}, and PostgreSQL refuses root",
                hint=f"run inv as user {who}, or give the data to root: chown -R root {data}",
            )


def _first_open_port() -> int:
    with contextlib.suppress(OSError, ValueError):
        return int(Path("/proc/sys/net/ipv4/ip_unprivileged_port_start").read_text(encoding="ascii"))
    return 1024
