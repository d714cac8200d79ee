"""End processes: signal, wait, SIGKILL, look again, and name what survives. Nobody else's process is ever signalled."""

from __future__ import annotations

import os
import select
import signal
import time
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING

from orienter_tasks.errors import CheckError
from orienter_tasks.processes import census
from orienter_tasks.processes.record import began, forget, load, of_this_boot, start_mark
from orienter_tasks.processes.table import describe
from orienter_tasks.settings import catalog

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from orienter_tasks.instance.model import Instance
    from orienter_tasks.processes.record import Record
    from orienter_tasks.processes.table import Process

KILL_SECONDS = 5.0
PORT_SECONDS = 2.0
POLL_SECONDS = 0.01
ONLY_WAIT = 0
"""In place of a signal's number: kill(2) sends nothing then."""


def end(
    orders: Mapping[Process, int],
    grace: float,
    *,
    late: Callable[[], Iterable[Process]] = tuple,
    whose: str = "",
) -> None:
    """End processes.

    Args:
        orders: each with the signal that ends it gracefully.
        grace: seconds between that and SIGKILL.
        late: finds what should have ended, too, and is there now.
        whose: a component, for the message.

    Raises:
        CheckError: naming what survives.
    """
    for process, number in orders.items():
        send([process], number)
    left = _oldest_first([*await_end(orders, grace), *late()])
    deadline = time.monotonic() + KILL_SECONDS
    while left and time.monotonic() < deadline:
        send(left, signal.SIGKILL)
        left = _oldest_first([*await_end(left, 1.0), *late()])
    if left:
        names = ", ".join(describe(process.pid) for process in left)
        raise CheckError(
            f"{whose} survives SIGKILL: {names}" if whose else f"{names} survives SIGKILL",
            hint="look at it with: ps -o pid,stat,wchan,args -p PID",
        )


def send(processes: Iterable[Process], number: int) -> None:
    """Signal processes; ended ones, and pids that belong to another process by now, are skipped."""
    for process in processes:
        if process.alive():
            with suppress(ProcessLookupError, PermissionError):
                os.kill(process.pid, number)


def await_end(processes: Iterable[Process], timeout: float) -> list[Process]:
    """Wait until processes have ended, at most `timeout` seconds for all of them; return those that have not.

    A zombie has ended: psutil's own wait also waits for its parent to take notice, which may be never.
    """
    deadline = time.monotonic() + timeout
    with ExitStack() as opened:
        try:
            left = {_pidfd(process, opened): process for process in processes if process.alive()}
        except (AttributeError, OSError):  # a system or kernel without, or no file descriptor left
            return _poll([process for process in processes if process.alive()], deadline)
        left.pop(-1, None)
        poll = select.poll()
        for descriptor in left:
            poll.register(descriptor, select.POLLIN)
        while left and (seconds := deadline - time.monotonic()) > 0:
            for descriptor, _ in poll.poll(seconds * 1000):
                poll.unregister(descriptor)
                del left[descriptor]
    return list(left.values())


def _pidfd(process: Process, opened: ExitStack) -> int:
    """Open what becomes readable when a process ends with its last thread, see pidfd_open(2); -1 when it has ended."""
    try:
        descriptor = os.pidfd_open(process.pid)
    except ProcessLookupError:
        return -1
    opened.callback(os.close, descriptor)
    return descriptor if process.alive() else -1  # else the pid may be another's by now


def _poll(processes: Sequence[Process], deadline: float) -> list[Process]:
    left = list(processes)
    while left and time.monotonic() < deadline:
        time.sleep(POLL_SECONDS)
        left = [process for process in left if process.alive()]
    return left


def stop_component(instance: Instance, component: str, grace: float) -> None:
    """End all processes of a component, forget its record, and require that its port is free.

    Raises:
        CheckError: naming what survives, what holds its port, or that it runs this very command.
    """
    record, seen = load(instance, component), census.take()
    if record is not None and record.alive() and record.pid in seen.ancestry:
        raise CheckError(
            f"{component} of {instance} runs this very command, and so is not stopped by it",
            hint="run it in a terminal of its own",
        )
    processes = seen.of(instance, component)
    if processes:
        end(
            orders(processes, component, record),
            grace,
            late=lambda: census.take().of(instance, component),
            whose=f"{component} of {instance}",
        )
    forget(instance, component)
    if record is not None and record.port:
        _require_freed(instance, record)


def orders(processes: Sequence[Process], component: str, record: Record | None) -> dict[Process, int]:
    """Return the signal that each process of a component gets to end it gracefully; a server ends its own children."""
    if record is None:
        server = catalog.component_of(component)
        number = catalog.entry_of(server).stop_signal if server else signal.SIGTERM
        parents = {process.pid for process in processes} if server else set()
        return {process: ONLY_WAIT if process.parent in parents else number for process in processes}
    told = record.pid if record.alive() and not record.group else None
    return {process: record.stop_signal if told in (None, process.pid) else ONLY_WAIT for process in processes}


def _require_freed(instance: Instance, record: Record) -> None:
    """Require that nothing that started after a component listens on its port.

    A process that gave up group, session, parents and environment is found by nothing else. It may still be somebody
    else's, so it is named and not ended.
    """
    from orienter_tasks.machine import ports
    from orienter_tasks.processes.listeners import listeners

    deadline = time.monotonic() + PORT_SECONDS
    while not ports.is_free(record.port):
        late = [found for found in listeners([record.port]) if found.pid and _came_after(found.pid, record)]
        if not late:
            return
        if time.monotonic() > deadline:
            raise CheckError(
                f"{record.component} of {instance} is stopped, but its port {record.port} is held by "
                f"{', '.join(found.description for found in late)}, which came after it and has nothing that marks "
                "it as ours",
                hint="end it yourself",
            )
        time.sleep(POLL_SECONDS)


def _came_after(pid: int, record: Record) -> bool:
    mark = start_mark(pid)
    return mark is not None and (not of_this_boot(record.mark) or began(mark) >= began(record.mark))


def _oldest_first(processes: Iterable[Process]) -> list[Process]:
    """Sort so that parents are signalled before their children, whom they might start anew."""
    return sorted(dict.fromkeys(processes), key=lambda process: process.age)
