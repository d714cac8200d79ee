"""Find every process that belongs to a component, also those that left its group, and stop them all.

Nobody else's process is ever signalled. A process counts by the marker in its environment, in the session of a leader
whose record matches (or of a dead one, with its directory), or as a descendant of such a process that does not say
itself that it was started for somebody else.
"""

from __future__ import annotations

import math
import os
import signal
import time
from typing import TYPE_CHECKING

from orienter_tasks.errors import CheckError
from orienter_tasks.processes.census import read
from orienter_tasks.processes.describe import describe
from orienter_tasks.processes.ending import POLL_SECONDS, await_end
from orienter_tasks.processes.record import Record, forget, load, of_this_boot, start_mark

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    import psutil

    from orienter_tasks.instance.model import Instance
    from orienter_tasks.processes.census import Entry

KILL_SECONDS = 5.0
PORT_SECONDS = 2.0


def members(instance: Instance, component: str | None = None) -> list[psutil.Process]:
    """Return the living processes of one component, or of all components of an instance, the oldest first."""
    return _oldest_first(_known(entry) for entry in _entries(instance, component))


def any_left(instance: Instance, component: str | None = None) -> bool:
    """Say whether anything of a component, or of an instance, runs."""
    return bool(_entries(instance, component))


def alive(instance: Instance, components: Iterable[str]) -> set[str]:
    """Return those of some components of which anything runs, by one look at the machine."""
    seen = read()
    return {component for component in components if _entries(instance, component, seen)}


def pids(instance: Instance, component: str | None = None) -> list[int]:
    """Return the pids of `members`, in no order; without making objects that can be signalled."""
    return [entry.pid for entry in _entries(instance, component)]


def _entries(instance: Instance, component: str | None, seen: Mapping[int, Entry] | None = None) -> list[Entry]:
    seen = read() if seen is None else seen
    records = _records(instance, component)
    alive = {record.pid for record in records if record.alive()}
    found = {pid for pid, it in seen.items() if pid in alive or _belongs(it, instance, component, records, alive)}
    spared = _self_and_ancestors(seen)
    queue = [*(found - spared)]
    while queue:
        parent = queue.pop()
        for pid, it in seen.items():
            if it.parent == parent and pid not in found and not _is_anothers(it, instance, component):
                found.add(pid)
                queue.append(pid)
    return [seen[pid] for pid in found - spared]


def _known(entry: Entry) -> psutil.Process | None:
    """Return the object to signal a process by; None when it has ended, or its pid is another's by now."""
    import psutil

    try:
        process = psutil.Process(entry.pid)  # it notes its start now, and signals no other
    except psutil.Error:
        return None
    return process if start_mark(entry.pid) == entry.mark else None


def _oldest_first(processes: Iterable[psutil.Process | None]) -> list[psutil.Process]:
    """Sort so that parents are signalled before their children, whom they might start anew."""
    found = {process for process in processes if process is not None}
    if not found:
        return []  # as before nearly every start, which has no other use for psutil
    import psutil

    def age(process: psutil.Process) -> tuple[float, int]:
        try:
            return process.create_time(), process.pid
        except psutil.Error:
            return math.inf, process.pid

    return sorted(found, key=age)


def stop(instance: Instance, component: str, grace: float) -> None:
    """End a component's whole tree: its own signal, then KILL, then look again.

    Args:
        instance: whose component.
        component: its name.
        grace: seconds between the graceful signal and KILL.

    Raises:
        CheckError: naming who survives.
    """
    record = load(instance, component)
    seen = read()
    if record is not None and record.alive() and record.pid in _self_and_ancestors(seen):
        raise CheckError(
            f"{component} of {instance} runs this very command, and so is not stopped by it",
            hint="run it in a terminal of its own",
        )
    processes = _oldest_first(_known(entry) for entry in _entries(instance, component, seen))
    if processes:
        _signal_gracefully(record, processes)
        stubborn = _oldest_first([*await_end(processes, grace), *members(instance, component)])
        deadline = time.monotonic() + KILL_SECONDS
        while stubborn and time.monotonic() < deadline:
            send(stubborn, signal.SIGKILL)
            stubborn = _oldest_first([*await_end(stubborn, 1.0), *members(instance, component)])
        if stubborn:
            raise CheckError(
                f"{component} of {instance} survives SIGKILL: {', '.join(describe(p) for p in stubborn)}",
                hint="look at it with: ps -o pid,stat,wchan,args -p PID",
            )
    forget(instance, component)
    if record is not None and record.port:
        _require_freed(instance, record)


def _require_freed(instance: Instance, record: Record) -> None:
    """Require that nobody who came after a component listens on its port.

    A process that gave up group, session, parents and environment is found by nothing else. It may be a stranger all
    the same, so it is named and not ended.
    """
    from orienter_tasks.machine import ports
    from orienter_tasks.processes.listeners import listeners

    deadline = time.monotonic() + PORT_SECONDS
    while not ports.is_free(record.port):
        late = [found for found in listeners([record.port]) if _came_after(found.pid, record)]
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


def _came_after(pid: int | None, record: Record) -> bool:
    import psutil

    try:
        return pid is not None and psutil.Process(pid).create_time() >= record.started_at - 1.0
    except psutil.Error:
        return False


def names(instance: Instance) -> set[str]:
    """Return the components of an instance that have a record or a living process."""
    found = {record.component for record in _records(instance, None)}
    return found | {entry.owner.component for entry in _entries(instance, None) if entry.owner is not None} - {""}


def _records(instance: Instance, component: str | None) -> list[Record]:
    from orienter_tasks.processes.record import load_all

    return [record for record in load_all(instance) if component in (None, record.component)]


def _belongs(it: Entry, instance: Instance, component: str | None, records: Sequence[Record], alive: set[int]) -> bool:
    """Whether a process is a component's own without regard to its parents: by its environment, or its session."""
    if it.owner is not None:
        return not _is_anothers(it, instance, component)
    return any(it.session == record.pid and (record.pid in alive or _left_behind(it.pid, record)) for record in records)


def _is_anothers(it: Entry, instance: Instance, component: str | None) -> bool:
    """Whether the environment says that a process was started for somebody else: a child of ours may have done that."""
    if it.owner is None:
        return False
    owner = it.owner
    wanted = component in (None, owner.component)
    return not wanted or owner.root not in instance.roots or owner.instance != str(instance.id)


def _left_behind(pid: int, record: Record) -> bool:
    """Whether a process of a dead leader's session is still that leader's: such as an nginx worker, whose
    environment its title has overwritten."""  # noqa: D205, D209 - one sentence
    import psutil

    if start_mark(record.pid) is not None or not of_this_boot(record.mark):
        return False
    try:
        process = psutil.Process(pid)
        same_owner = process.uids().real == os.getuid()
        return same_owner and process.cwd() == record.cwd and process.create_time() >= record.started_at - 1.0
    except psutil.Error:
        return False


def _self_and_ancestors(seen: Mapping[int, Entry]) -> set[int]:
    found, pid = set(), os.getpid()
    while pid not in found and pid > 0:
        found.add(pid)
        pid = seen[pid].parent if pid in seen else 0
    return found


def _signal_gracefully(record: Record | None, processes: Iterable[psutil.Process]) -> None:
    if record is not None and not record.group and record.alive():
        processes = [process for process in processes if process.pid == record.pid]
    send(processes, record.stop_signal if record is not None else signal.SIGTERM)


def send(processes: Iterable[psutil.Process], number: int) -> None:
    """Signal processes; one that has ended, or became another, is passed over."""
    import psutil

    for process in processes:
        try:
            process.send_signal(number)
        except psutil.Error:
            continue
