"""Processes that no record and no environment tells any more.

nginx and PostgreSQL write their titles over their environments, and PostgreSQL's backends have sessions of their own.
What they cannot lose is the directory they work in, which is one of this instance's own.
"""

from __future__ import annotations

import contextlib
import os
import platform
import signal
from typing import TYPE_CHECKING

from orienter_tasks.errors import CheckError
from orienter_tasks.processes import tree
from orienter_tasks.processes.describe import describe
from orienter_tasks.processes.ending import await_end

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    import psutil

KILL_SECONDS = 5.0


def working_in(directory: Path, names: Sequence[str]) -> list[psutil.Process]:
    """Return this user's living processes of the given names whose working directory is the given one."""
    real = os.path.realpath(directory)
    return [process for process in _candidates(real) if _works_in(process, real, names)]


def end(processes: Sequence[psutil.Process], number: int, grace: float) -> None:
    """Signal processes, and kill those that are left after `grace` seconds.

    Raises:
        CheckError: naming who survives.
    """
    left = list(processes)
    if not left:
        return  # as before nearly every start, which has no other use for psutil
    for signal_number, seconds in ((number, grace), (signal.SIGKILL, KILL_SECONDS)):
        tree.send(left, signal_number)
        left = await_end(left, seconds)
        if not left:
            return
    raise CheckError(f"{', '.join(describe(process) for process in left)} survives SIGKILL")


def _candidates(directory: str) -> Iterator[psutil.Process]:
    """Return what may work in a directory: on Linux one look at each process leaves hardly any."""
    if platform.system() != "Linux":
        import psutil

        yield from psutil.process_iter()
        return
    wanted = (directory, f"{directory} (deleted)")
    for name in os.listdir("/proc"):  # noqa: PTH208 - no Path for each process
        with contextlib.suppress(OSError):
            if name.isdecimal() and os.readlink(f"/proc/{name}/cwd") in wanted:  # noqa: PTH115
                yield from _process(int(name))


def _process(pid: int) -> Iterator[psutil.Process]:
    import psutil

    with contextlib.suppress(psutil.Error):
        yield psutil.Process(pid)


def _works_in(process: psutil.Process, directory: str, names: Sequence[str]) -> bool:
    import psutil

    try:
        return process.name() in names and process.cwd() == directory and process.status() != psutil.STATUS_ZOMBIE
    except (psutil.Error, OSError):
        return False
