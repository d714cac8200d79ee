"""What a process and its descendants are doing, cheaply enough to be asked ten times a second."""

from __future__ import annotations

import os
import platform
from typing import TYPE_CHECKING, NamedTuple

from orienter_tasks.processes.record import linux_stat

if TYPE_CHECKING:
    from collections.abc import Iterator

CPU, CHILDREN_FAULTS = slice(11, 13), 8  # of what follows the name in /proc/PID/stat, see proc(5)
BUSY = ("R", "D", "running", "disk-sleep")


class Activity(NamedTuple):
    """A process at one moment.

    Attributes:
        busy: it runs, or waits for a disk.
        cpu: seconds that it has used.
        reaped: a number that grows when a child of it has ended, by what that has used.
    """

    busy: bool
    cpu: float
    reaped: float


def below(pid: int) -> dict[int, Activity]:
    """Return a process and its descendants, by pid."""
    return dict(_linux(pid) if platform.system() == "Linux" else _psutil(pid))


def _linux(top: int) -> Iterator[tuple[int, Activity]]:
    tick = os.sysconf("SC_CLK_TCK")
    found = [top]
    for pid in found:  # it grows while it is read
        _, fields = linux_stat(pid)
        if not fields or fields[0] == "Z":
            continue
        yield pid, Activity(fields[0] in BUSY, sum(map(int, fields[CPU])) / tick, int(fields[CHILDREN_FAULTS]))
        found += _children(pid)


def _children(pid: int) -> list[int]:
    """Return the children of a process, whichever of its threads started them."""
    found: list[int] = []
    try:
        for thread in os.listdir(f"/proc/{pid}/task"):  # noqa: PTH208 - no Path for each
            with open(f"/proc/{pid}/task/{thread}/children", encoding="ascii") as file:  # noqa: PTH123
                found += map(int, file.read().split())
    except OSError:  # it has ended, or the kernel has no such files
        pass
    return found


def _psutil(top: int) -> Iterator[tuple[int, Activity]]:
    import psutil

    try:
        parent = psutil.Process(top)
        for process in (parent, *parent.children(recursive=True)):
            with process.oneshot():
                times = process.cpu_times()
                reaped = getattr(times, "children_user", 0.0) + getattr(times, "children_system", 0.0)
                yield process.pid, Activity(process.status() in BUSY, times.user + times.system, reaped)
    except psutil.Error:
        return
