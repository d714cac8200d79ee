"""Find every process that belongs to a component, also those that left its group, and stop them all.

Nobody else's process is ever signalled: a process counts only as a descendant of a leader whose record matches, as a
member of its group while it lives, by the marker in its environment, or in its session with its directory.
"""

from __future__ import annotations

import os
import signal
import time
from typing import TYPE_CHECKING

from orienter_tasks.errors import CheckError
from orienter_tasks.processes.record import COMPONENT_MARKER, Record, forget, load, start_mark

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import psutil

    from orienter_tasks.instance import Instance

KILL_SECONDS = 5.0
POLL_SECONDS = 0.01
PORT_SECONDS = 2.0


def members(instance: Instance, component: str | None = None) -> list[psutil.Process]:
    """Return the living processes of one component, or of all components of an instance."""
    import psutil

    records = _records(instance, component)
    alive = {record.pid for record in records if record.alive()}
    spared = _self_and_ancestors()
    found: dict[int, psutil.Process] = {}
    for process in psutil.process_iter():
        if process.pid in spared:
            continue
        try:
            if _belongs(process, instance, component, records, alive) and process.status() != psutil.STATUS_ZOMBIE:
                found[process.pid] = process
        except psutil.Error:
            continue
    for pid in alive:
        for child in _children(pid):
            if child.pid not in spared:
                found.setdefault(child.pid, child)
    return list(found.values())


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
    processes = members(instance, component)
    if processes:
        _signal_gracefully(record, processes)
        stubborn = await_end(processes, grace)
        late = [process for process in members(instance, component) if process not in stubborn]
        stubborn = [*stubborn, *late]
        deadline = time.monotonic() + KILL_SECONDS
        while stubborn and time.monotonic() < deadline:
            _send(stubborn, signal.SIGKILL)
            await_end(stubborn, 1.0)
            stubborn = members(instance, component)
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
    from orienter_tasks import ports

    deadline = time.monotonic() + PORT_SECONDS
    while not ports.is_free(record.port):
        late = [found for found in ports.listeners([record.port]) if _came_after(found.pid, record)]
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
    import psutil

    found = {record.component for record in _records(instance, None)}
    for process in members(instance):
        try:
            found.add(process.environ().get(COMPONENT_MARKER, ""))
        except (psutil.Error, OSError):
            continue
    return found - {""}


def describe(process: psutil.Process) -> str:
    """Name a process for people: pid, command and directory, without its secrets (only the first words of argv)."""
    import psutil

    try:
        words = process.cmdline()[:3] or [process.name()]
        command = " ".join(os.path.basename(words[0]).split() + words[1:])[:60]  # noqa: PTH119 - not a path of ours
    except psutil.Error:
        return f"pid {process.pid}"
    try:
        return f"pid {process.pid} ({command}, in {process.cwd()})"
    except psutil.Error:
        return f"pid {process.pid} ({command})"


def _records(instance: Instance, component: str | None) -> list[Record]:
    from orienter_tasks.processes.record import load_all

    return [record for record in load_all(instance) if component in (None, record.component)]


def _belongs(
    process: psutil.Process,
    instance: Instance,
    component: str | None,
    records: Sequence[Record],
    alive: set[int],
) -> bool:
    if process.pid in alive:
        return True
    session = _session(process.pid)
    for record in records:
        if session == record.pid and (record.pid in alive or _left_behind(process, record)):
            return True
    return _marked(process, instance, component)


def _left_behind(process: psutil.Process, record: Record) -> bool:
    """Whether a process of a dead leader's session is still that leader's: such as an nginx worker, whose
    environment its title has overwritten."""  # noqa: D205, D209 - one sentence
    if start_mark(record.pid) is not None:
        return False
    same_owner = process.uids().real == os.getuid()
    return same_owner and process.cwd() == record.cwd and process.create_time() >= record.started_at - 1.0


def _marked(process: psutil.Process, instance: Instance, component: str | None) -> bool:
    import psutil

    try:
        environ = process.environ()
    except (psutil.Error, OSError):
        return False
    name = environ.get(COMPONENT_MARKER)
    return (
        name is not None
        and component in (None, name)
        and environ.get("AI_INSTANCE_ROOT") in instance.roots
        and environ.get("AI_INSTANCE_ID") == str(instance.id)
    )


def _session(pid: int) -> int:
    try:
        return os.getsid(pid)
    except OSError:
        return -1


def _children(pid: int) -> list[psutil.Process]:
    import psutil

    try:
        return psutil.Process(pid).children(recursive=True)
    except psutil.Error:
        return []


def _self_and_ancestors() -> set[int]:
    import psutil

    own = psutil.Process()
    return {own.pid, *(parent.pid for parent in own.parents())}


def await_end(processes: Iterable[psutil.Process], timeout: float) -> list[psutil.Process]:
    """Wait until processes have ended; return those that have not.

    A zombie has ended: psutil's own wait also waits for its parent to take notice, which may be never.
    """
    deadline = time.monotonic() + timeout
    left = [process for process in processes if _runs(process)]
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


def _signal_gracefully(record: Record | None, processes: Iterable[psutil.Process]) -> None:
    if record is not None and not record.group and record.alive():
        processes = [process for process in processes if process.pid == record.pid]
    _send(processes, record.stop_signal if record is not None else signal.SIGTERM)


def _send(processes: Iterable[psutil.Process], number: int) -> None:
    import psutil

    for process in processes:
        try:
            process.send_signal(number)
        except psutil.Error:
            continue
