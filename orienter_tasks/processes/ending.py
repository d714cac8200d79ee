"""Wait until processes end that are no children of ours: the kernel tells where it can, else we look and look."""

from __future__ import annotations

import contextlib
import os
import select
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import psutil

POLL_SECONDS = 0.01


def await_end(processes: Iterable[psutil.Process], timeout: float) -> list[psutil.Process]:
    """Wait until processes have ended; return those that have not.

    A zombie has ended: psutil's own wait also waits for its parent to take notice, which may be never.

    Args:
        processes: which.
        timeout: seconds for all of them together.
    """
    deadline = time.monotonic() + timeout
    left = [process for process in processes if _runs(process)]
    if hasattr(os, "pidfd_open"):
        with contextlib.suppress(OSError):  # a kernel without, or no file descriptor left
            return _told(left, deadline)
    return _seen(left, deadline)


def _told(processes: Sequence[psutil.Process], deadline: float) -> list[psutil.Process]:
    """Wait by pidfd_open(2), which becomes readable when a process ends with its last thread."""
    poll = select.poll()
    left = {}
    with contextlib.ExitStack() as opened:
        for process in processes:
            try:
                descriptor = os.pidfd_open(process.pid)
            except ProcessLookupError:
                continue
            opened.callback(os.close, descriptor)
            if _runs(process):  # else the pid may be another's by now
                left[descriptor] = process
                poll.register(descriptor, select.POLLIN)
        while left:
            seconds = deadline - time.monotonic()
            if seconds <= 0:
                break
            for descriptor, _ in poll.poll(seconds * 1000):
                poll.unregister(descriptor)
                del left[descriptor]
    return list(left.values())


def _seen(processes: Sequence[psutil.Process], deadline: float) -> list[psutil.Process]:
    left = list(processes)
    while left and time.monotonic() < deadline:
        time.sleep(POLL_SECONDS)
        left = [process for process in left if _runs(process)]
    return left


def _runs(process: psutil.Process) -> bool:
    import psutil

    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False
