"""The shim: a shell that is a service's parent and writes down its exit code, which only a parent can read.

It lives as long as its service and no longer, so a detached instance has no process of ours that could outlive it. A
shell takes 0.14 MB, a twentieth of what the smallest Python would. Its script is constant: program and arguments are
its positional parameters, and no value is ever read as shell. It writes to its standard input, which is a file that was
opened for it: it needs to know no path, and once that file was removed it can harm no later one.
"""

from __future__ import annotations

import os
import re
import signal
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from orienter_tasks.errors import CheckError
from orienter_tasks.machine.files import read_small
from orienter_tasks.processes.record import exit_path

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from orienter_tasks.instance.model import Instance
    from orienter_tasks.processes.program import Program
from orienter_tasks.processes.record import Record

SHELL = "/bin/sh"
# Signals are caught and not ignored: the service gets their defaults, and the shell outlives signals to the group.
# It keeps the service's standard error away from itself, or it would write «Killed» into the log. A word for the
# service is `exec`'s: no builtin, and no second process.
SCRIPT = (
    "trap : HUP INT QUIT TERM; exec 3>&2 2>/dev/null; "
    'if (exec "$@" </dev/null 2>&3 3>&-); then set -- 0; else set -- "$?"; fi; '
    'printf "%s %s\\n" "$$" "$1" >&0; exit "$1"'
)
ROOM = b" " * 24  # what is there already can be overwritten on a full disk, too
SIGNALLED = 128
_NAME = r"[A-Za-z_][A-Za-z0-9_]*"
_WORDS = r"(\d{1,10}) (\d{1,3})\n *"


def wrap_argv(program: Program) -> list[str]:
    return [SHELL, "-c", SCRIPT, program.component, *program.command]


def unwrap_argv(words: Sequence[str]) -> Sequence[str]:
    """Return the argv of a shim's service; any other argv as it is."""
    return words[4:] if list(words[:3]) == [SHELL, "-c", SCRIPT] else words


def can_hand_on(names: Iterable[str]) -> bool:
    """Say whether the shell hands on variables of these names: all but bash drop what they could not set."""
    return Path(SHELL).resolve().name == "bash" or all(re.fullmatch(_NAME, name) for name in names)


def open_exit_file(instance: Instance, component: str) -> int:
    """Make the file that a shim writes to; the former one's is removed."""
    path = exit_path(instance, component)
    try:
        path.unlink(missing_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        try:
            os.pwrite(descriptor, ROOM, 0)
        except OSError:
            os.close(descriptor)
            path.unlink()
            raise
    except OSError as error:
        raise CheckError(f"cannot write {path}: {error.strerror}") from error
    return descriptor


def exit_code(instance: Instance, record: Record) -> int | None:
    """Return the exit code that the shim of a record wrote, 128 + N for signal N; None when there is none."""
    if not record.has_shim:
        return None
    try:
        text = read_small(exit_path(instance, record.component)).decode("ascii")
    except (OSError, UnicodeDecodeError):
        return None
    found = re.fullmatch(_WORDS, text)
    return int(found[2]) if found and int(found[1]) == record.pid else None


def ended_at(instance: Instance, record: Record) -> float | None:
    """Return when a shim's service ended, in seconds since the epoch; None where its exit code is not known either."""
    if exit_code(instance, record) is None:
        return None
    with suppress(OSError):
        return exit_path(instance, record.component).stat().st_mtime
    return None


def as_child(code: int) -> int:
    """Put a shell's exit code as `subprocess` does: -N for signal N.

    A program that itself exits with 143, as some do on SIGTERM, looks like a program that SIGTERM ended.
    """
    signals = signal.Signals._value2member_map_
    return SIGNALLED - code if code > SIGNALLED and code - SIGNALLED in signals else code


def service_pid(record: Record) -> int:
    """Return the pid of a service itself, or the recorded process's where that has no shim."""
    return _only_child(record.pid) if record.has_shim else record.pid


def service_of(pid: int) -> int:
    """Return the pid of a shim's service, or of any other process as it is."""
    import psutil

    try:
        words = psutil.Process(pid).cmdline()
    except psutil.Error:
        return pid
    return pid if unwrap_argv(words) is words else _only_child(pid)


def _only_child(pid: int) -> int:
    with suppress(OSError, ValueError):
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()
        if len(children) == 1:
            return int(children[0])
    import psutil

    try:
        found = psutil.Process(pid).children()
    except psutil.Error:
        return pid
    return found[0].pid if len(found) == 1 else pid
