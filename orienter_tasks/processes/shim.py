"""The keeper: a shell that is a service's parent and writes down its exit code, which the system tells to nobody else.

It is there as long as its service and no longer, so a detached instance has no process of ours that could go on without
it. A shell takes 0.14 MB, a twentieth of what the smallest Python would. Its script is constant: program and arguments
are its positional parameters, and no value is ever read as shell. What it writes goes to its standard input, which is a
file that was opened for it: it needs to know no path, and once that file was removed it can harm no later one.
"""

from __future__ import annotations

import errno
import os
import re
import shutil
import signal
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from orienter_tasks.errors import CheckError
from orienter_tasks.processes.record import exit_path

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from orienter_tasks.instance.model import Instance
    from orienter_tasks.processes.program import Program
    from orienter_tasks.processes.record import Record

SHELL = "/bin/sh"
# Signals are caught and not ignored: the service gets their defaults, and the shell outlives what is told to the group.
# It keeps the service's standard error away from itself, or it would write «Killed» into the log. A word for the
# service is `exec`'s: no builtin, and no second process.
SCRIPT = (
    "trap : HUP INT QUIT TERM; exec 3>&2 2>/dev/null; "
    'if (exec "$@" </dev/null 2>&3 3>&-); then set -- 0; else set -- "$?"; fi; '
    'printf "%s %s\\n" "$$" "$1" >&0; exit "$1"'
)
ROOM = b" " * 24  # what is there already can be overwritten on a full disk, too
SIGNALLED = 128
INTERPRETER_BYTES = 256
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_WORDS = re.compile(r"(\d{1,10}) (\d{1,3})\n *")


def command(program: Program) -> list[str]:
    """Return the argv of a program's keeper."""
    return [SHELL, "-c", SCRIPT, program.component, *program.command]


def told(words: Sequence[str]) -> Sequence[str]:
    """Return what a keeper keeps; any other argv as it is."""
    return words[4:] if list(words[:3]) == [SHELL, "-c", SCRIPT] else words


def can_keep(names: Iterable[str]) -> bool:
    """Say whether the shell hands on variables of these names: but for bash they drop what they could not set."""
    return Path(SHELL).resolve().name == "bash" or all(_NAME.fullmatch(name) for name in names)


def require_program(program: Program) -> None:
    """Require of a program what starting it would, where a shell could only say so in the log.

    Raises:
        OSError: as `subprocess` does.
    """
    name, path = program.command[0], program.env.get("PATH")
    if not program.cwd.is_dir():
        return  # the keeper cannot be started there either
    found = program.cwd / name if os.sep in name else shutil.which(name, os.F_OK, path)
    if found is None or not os.path.exists(found):  # noqa: PTH110 - either kind of path
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), name)
    if os.sep not in name:
        found = shutil.which(name, path=path) or found
    if Path(found).is_dir() or not os.access(found, os.X_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), name)
    interpreter = _interpreter(Path(found))
    if interpreter and not (program.cwd / interpreter).exists():
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), name)


def _interpreter(path: Path) -> str:
    """Return the program that a script's first line names; "" where there is none."""
    try:
        with path.open("rb") as file:
            line = file.read(INTERPRETER_BYTES).partition(b"\n")[0]
    except OSError:  # one that may be run and not read
        return ""
    words = line[2:].split() if line.startswith(b"#!") else []
    return os.fsdecode(words[0]) if words else ""


def open_file(instance: Instance, component: str) -> int:
    """Make the file that a keeper writes to; the former one's is removed."""
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
    """Return the exit code that the keeper of a record wrote, 128 + N for signal N; None when there is none."""
    if not record.kept:
        return None
    try:
        text = exit_path(instance, record.component).read_text(encoding="ascii")
    except (OSError, UnicodeDecodeError):
        return None
    found = _WORDS.fullmatch(text)
    return int(found[2]) if found and int(found[1]) == record.pid else None


def as_child(code: int) -> int:
    """Put a shell's exit code as `subprocess` does: -N for signal N.

    A program that itself ends with 143, as some do when they are told to end, cannot be told from one that was ended.
    """
    signals = signal.Signals._value2member_map_
    return SIGNALLED - code if code > SIGNALLED and code - SIGNALLED in signals else code


def served(record: Record) -> int:
    """Return the pid of a service itself: the only child of its keeper, or the recorded process where it has none."""
    if not record.kept:
        return record.pid
    with suppress(OSError, ValueError):
        children = Path(f"/proc/{record.pid}/task/{record.pid}/children").read_text(encoding="ascii").split()
        if len(children) == 1:
            return int(children[0])
    import psutil

    try:
        found = psutil.Process(record.pid).children()
    except psutil.Error:
        return record.pid
    return found[0].pid if len(found) == 1 else record.pid
