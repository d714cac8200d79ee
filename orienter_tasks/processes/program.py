"""What to start, and how."""

from __future__ import annotations

import errno
import os
import shutil
import signal
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from orienter_tasks.machine.files import open_regular
from orienter_tasks.settings.model import Logs

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

INTERPRETER_BYTES = 256


class Program(msgspec.Struct, frozen=True):
    """What to start.

    Attributes:
        env: its whole environment.
        log: its log file; the previous run's is kept as `.1`.
        logs: how large it may grow, and how many former ones are kept.
        stop_signal: the signal that ends it gracefully.
        group: whether that signal goes to the whole group or to the leader alone.
        stdout: a subprocess constant where its standard output is not to go into the log.
        needs: the components that it needs.
        port: the port that it is to listen on; 0 where it has none, or checks itself that it was released.
        with_shim: start it under a shim, so that later runs know its exit code, too.
        lock: the descriptor of a lock that it inherits.
    """

    component: str
    command: Sequence[str]
    cwd: Path
    env: Mapping[str, str]
    log: Path
    stop_signal: int = signal.SIGTERM
    group: bool = True
    stdout: int | None = None
    needs: Sequence[str] = ()
    port: int = 0
    with_shim: bool = False
    lock: int | None = None
    logs: Logs = msgspec.field(default_factory=Logs)


def find_program(name: str, cwd: Path, env: Mapping[str, str]) -> str:
    """Find what a process in a directory and with an environment would run by this name.

    Raises:
        OSError: as starting it would; also for a script whose interpreter is missing.
    """
    path = env.get("PATH")
    found = str(cwd / name) if os.sep in name else shutil.which(name, path=path) or shutil.which(name, os.F_OK, path)
    if found is None or not os.path.exists(found):  # noqa: PTH110 - a text all along
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), name)
    if os.path.isdir(found) or not os.access(found, os.X_OK):  # noqa: PTH112
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), name)
    interpreter = _interpreter(Path(found))
    if interpreter and not (cwd / interpreter).exists():
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), name)
    return found


def _interpreter(path: Path) -> str:
    """Return the program that a script's first line names; "" where there is none."""
    try:
        with open_regular(path) as file:
            line = file.read(INTERPRETER_BYTES).partition(b"\n")[0]
    except OSError:  # executable, but not readable
        return ""
    words = line[2:].split() if line.startswith(b"#!") else []
    return os.fsdecode(words[0]) if words else ""
