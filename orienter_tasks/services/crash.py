"""Whether a service that starts has crashed below a file watcher, long before its time is up.

A watcher such as `tsx watch` outlives the program that it runs and waits for the next change of a file. A program that
takes long must never be taken for that. So all of this must hold, of what is seen from outside:

- nothing listens on the service's port;
- something of it listened there before, for half a second; or it has run for longer than it may take to start; or one
  of its processes ended about when the last lines were written to its log, these are an error with at most its stack
  trace, and no process was started since: a script that goes on after a failed command starts the next one;
- for a second, no process of it was started, ended or worked, and nothing was logged.

What a program prints and how long it waits prove nothing: many retry, and some need a minute.
"""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

from orienter_tasks.processes.activity import below
from orienter_tasks.stack.component import LogRequest
from orienter_tasks.stack.logfiles import read
from orienter_tasks.stack.reasons import LINES, crash

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Set
    from pathlib import Path

    from orienter_tasks.processes.activity import Activity

LISTENED_SECONDS = 0.5  # less is a test whether the port is free
QUIET_SECONDS = 1.0
LOOK_SECONDS = 0.1
LAST_WORDS_SECONDS = 3.0
WORK, BUSY = 0.1, 0.3  # of a core, and of the moments at which a process is seen at work: a watcher may poll


class CrashDetector:
    """Looks at a service when it was asked in vain, at most every LOOK_SECONDS; `clock` is monotonic.

    `listened`: it is known that the service has listened on its port, or should have; `quiet`: for how long nothing
    must happen.

    Attributes:
        last_words: the error with which its log ends; "" where it does not.
    """

    def __init__(
        self,
        log: Path,
        *,
        listened: bool = False,
        quiet: float = QUIET_SECONDS,
        processes: Callable[[int], Mapping[int, Activity]] = below,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._log = log
        self._processes = processes
        self._clock = clock
        self._listening_since: float | None = None
        self._listened = listened
        self._quiet_seconds = quiet
        self._last: Mapping[int, Activity] = {}
        self._ended_at: float | None = None
        self._before: Set[int] = frozenset()  # the processes that were there when one was last seen to have ended
        self._quiet = _Quiet(0.0, 0.0, None)
        self._looked_at = float("-inf")
        self.last_words = ""

    def listening(self) -> None:
        """Note that something listens on the service's port."""
        now = self._clock()
        if self._listening_since is None:
            self._listening_since = now
        self._listened = self._listened or now - self._listening_since >= LISTENED_SECONDS

    def crashed(self, pid: int) -> bool:
        """Say whether a service has crashed on whose port nothing listens; `pid` is its first process."""
        self._listening_since, now = None, self._clock()
        if now - self._looked_at < LOOK_SECONDS:
            return False
        self._looked_at = now
        processes, written = self._processes(pid), self._written()
        cpu = sum(each.cpu for each in processes.values())
        ended = self._last.keys() - processes.keys() or any(
            each.reaped > self._last[pid].reaped for pid, each in processes.items() if pid in self._last
        )
        if ended:
            self._ended_at, self._before = now, self._last.keys()
        if ended or processes.keys() != self._last.keys() or written != self._quiet.written:
            self._quiet = _Quiet(now, cpu, written)
        elif self._quiet.looks == 1:  # the first since then: while a log grows, it is not read again and again
            self.last_words = crash(read(self._log, LogRequest(lines=LINES)))
        self._last = processes
        busy = any(each.busy for each in processes.values())
        quiet = self._quiet.lasts(self._quiet_seconds, now, cpu, busy=busy)
        if quiet is None:
            self._quiet = _Quiet(now, cpu, written)
        if not quiet:
            return False
        return self._listened or self._left_by_a_crash(now, processes.keys())

    def _left_by_a_crash(self, now: float, processes: Set[int]) -> bool:
        if self._ended_at is None or self._quiet.written is None or processes - self._before:
            return False
        logged_at = now - (time.time() - self._quiet.written[0])
        return abs(logged_at - self._ended_at) <= LAST_WORDS_SECONDS and bool(self.last_words)

    def _written(self) -> tuple[float, int] | None:
        try:
            status = os.stat(self._log)  # noqa: PTH116 - many times a second
        except OSError:
            return None
        return status.st_mtime, status.st_size


class _Quiet:
    """A time in which nothing happens in a service: since when, its CPU seconds by then, and its log's state."""

    def __init__(self, since: float, cpu: float, written: tuple[float, int] | None) -> None:
        self.written = written
        self._since = since
        self._cpu = cpu
        self.looks = self._busy = 0

    def lasts(self, seconds: float, now: float, cpu: float, *, busy: bool) -> bool | None:
        """Take in another look; say whether it has been quiet for so long, None if there was work in that time."""
        self.looks += 1
        self._busy += busy
        if now - self._since < seconds:
            return False
        return (cpu - self._cpu <= WORK * (now - self._since) and self._busy <= BUSY * self.looks) or None
