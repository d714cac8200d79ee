"""What is found of components that are native processes of an instance."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from orienter_tasks.processes import census
from orienter_tasks.processes.record import load
from orienter_tasks.processes.shim import as_child, exit_code, service_of, service_pid
from orienter_tasks.processes.spawn import describe_exit, ended_with
from orienter_tasks.processes.table import memory, started_at
from orienter_tasks.settings import catalog
from orienter_tasks.stack.component import ComponentStatus, LogRequest, last
from orienter_tasks.stack.logfiles import read

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from orienter_tasks.instance.model import Instance
    from orienter_tasks.processes.census import Census
    from orienter_tasks.processes.record import Record
    from orienter_tasks.processes.table import Process

LAST_LINES = 5
LONGEST_WORDS = 200


@dataclass(frozen=True)
class ScanOptions:
    """What is to be read of running processes."""

    memory: bool = False
    listeners: bool = False


class NativeScan:
    """Reads what runs of one instance; the census is only taken where records alone are not enough."""

    def __init__(self, instance: Instance, options: ScanOptions | None = None, *, seen: Census | None = None) -> None:
        self._instance = instance
        self._options = options or ScanOptions()
        self._seen = seen

    def components(self) -> list[ComponentStatus]:
        """Describe all components of which there is a record or a process."""
        names = sorted(self._members.keys() - {""})
        components = dict.fromkeys(catalog.component_of(name) or name for name in names)
        return [status for name in components if (status := self.component(name)) is not None]

    def component(self, name: str) -> ComponentStatus | None:
        """Describe a component with all of its processes; None when there is nothing of it."""
        processes = catalog.entry_of(name).processes if name in catalog.names() else (name,)
        found = {process: status for process in processes if (status := self._process(process)) is not None}
        if len(found) == 1 and name in found:
            return found[name]
        return _together(name, found) if found else None

    @cached_property
    def _census(self) -> Census:
        return self._seen or census.take()

    @cached_property
    def _members(self) -> Mapping[str, Sequence[Process]]:
        return self._census.by_component(self._instance)

    def _process(self, name: str) -> ComponentStatus | None:
        record = load(self._instance, name)
        if record is None:
            leader = next(iter(self._pids(name)), None)
            return self._running(name, f"pid {service_of(leader)}", started_at(leader)) if leader is not None else None
        if record.alive():
            return self._running(name, f"pid {service_pid(record)}", record.started_at)
        pids = running_on(self._instance, record, lambda: self._census)
        if pids:
            ended = describe_exit(ended_with(self._instance, record))
            return self._running(name, f"pid {pids[0]}, its first process {ended}", record.started_at)
        return _dead(record, exit_code(self._instance, record))

    def _running(self, name: str, what: str, since: float | None) -> ComponentStatus:
        pids = self._pids(name) if self._options.memory or self._options.listeners else []
        exposed = _exposed(pids) if self._options.listeners else []
        return ComponentStatus(
            name=name,
            kind="process",
            running=True,
            what=f"{what}; listens on {', '.join(exposed)}" if exposed else what,
            started_at=since,
            memory=sum(filter(None, map(memory, pids))) or None if self._options.memory else None,
            exposed=exposed,
        )

    def _pids(self, name: str) -> list[int]:
        return [process.pid for process in sorted(self._members.get(name, ()), key=lambda process: process.age)]


def running_on(instance: Instance, record: Record, take: Callable[[], Census] = census.take) -> list[int]:
    """Return the pids of a service that runs on without its recorded process: a daemon, or its shim was killed.

    Where it has a port, that decides: one of its processes must listen there. Else its first process must not have
    failed.
    """
    from orienter_tasks.processes.listeners import listening_ports

    failed = exit_code(instance, record) or not record.has_shim
    if not record.group or (failed and not record.port):
        return []
    pids = take().pids(instance, record.component)
    return pids if not record.port or record.port in listening_ports(pids) else []


def _together(name: str, found: Mapping[str, ComponentStatus]) -> ComponentStatus:
    """Describe the processes of a component as one; without its main process it does not run."""
    main = found.get(name) or ComponentStatus(name, "process", running=False, what=f"{name} does not run")
    others = {process: status for process, status in found.items() if process != name}
    wrong = [f"{process} {status.what}" for process, status in others.items() if main.running is not status.running]
    known = [status.memory for status in found.values() if status.memory is not None]
    return replace(
        main,
        running=main.running and all(status.running for status in others.values()),
        partly=any(status.running for status in found.values()),
        what="; ".join([main.what, *wrong]),
        memory=sum(known) if known else None,
        exposed=[address for status in found.values() for address in status.exposed],
    )


def _dead(record: Record, code: int | None) -> ComponentStatus:
    """A process that ended without being stopped: its shim tells with what, its log the rest."""
    lines = last(read(Path(record.log), LogRequest(lines=LAST_LINES)))
    words = next((line.strip() for line in reversed(lines) if line.strip()), "")
    ended = "died" if code is None else describe_exit(as_child(code))
    what = f"{ended}: {words[:LONGEST_WORDS]}" if words else ended
    return ComponentStatus(record.component, "process", running=False, what=what, last_lines=lines, exit_code=code)


def _exposed(pids: Sequence[int]) -> list[str]:
    """Name the addresses beyond loopback that processes listen on: everybody on the network reaches those."""
    from orienter_tasks.processes.listeners import is_loopback, listening_addresses

    wide = [(address, port) for address, port in sorted(listening_addresses(pids)) if not is_loopback(address)]
    return [f"[{address}]:{port}" if ":" in address else f"{address}:{port}" for address, port in wide]
