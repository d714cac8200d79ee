"""What is found of components that are native processes of an instance."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec.structs import replace

from orienter_tasks.processes import census
from orienter_tasks.processes.listeners import is_loopback
from orienter_tasks.processes.record import load_all
from orienter_tasks.processes.shim import as_child, ended_at, exit_code, service_of, service_pid
from orienter_tasks.processes.sockets import Sockets
from orienter_tasks.processes.spawn import describe_exit, ended_with
from orienter_tasks.processes.table import memory, started_at
from orienter_tasks.settings import catalog
from orienter_tasks.stack.component import ComponentStatus, LogRequest, last
from orienter_tasks.stack.logfiles import read

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from orienter_tasks.instance.model import Instance
    from orienter_tasks.processes.census import Census
    from orienter_tasks.processes.record import Record
    from orienter_tasks.processes.sockets import Listening
    from orienter_tasks.processes.table import Process

LAST_LINES = 5


class NativeScan:
    """Reads what runs of one instance; the census is only taken where records alone are not enough.

    Args:
        details: also read what processes take of memory and what they listen on, and so whether a component answers.
        seen: a census that was taken already; `open_sockets`: likewise.
        memory_of: returns what a process takes of memory.
    """

    def __init__(
        self,
        instance: Instance,
        *,
        details: bool = False,
        seen: Census | None = None,
        open_sockets: Sockets | None = None,
        memory_of: Callable[[int], int | None] = memory,
    ) -> None:
        self._instance = instance
        self._details = details
        self._seen = seen
        self._open = open_sockets or Sockets()
        self._memory_of = memory_of

    def components(self) -> list[ComponentStatus]:
        """Describe all components of which there is a record or a process."""
        names = sorted(self._members.keys() - {""})
        components = dict.fromkeys(catalog.component_of(name) or name for name in names)
        return [status for name in components if (status := self.component(name)) is not None]

    @property
    def alive(self) -> set[str]:
        """The components of which any process lives, such as a worker that a killed server has left."""
        return {catalog.component_of(name) or name for name, members in self._members.items() if members}

    @property
    def pids(self) -> list[int]:
        return [process.pid for members in self._members.values() for process in members]

    def component(self, name: str) -> ComponentStatus | None:
        """Describe a component with all of its processes; None when there is nothing of it."""
        processes = catalog.entry_of(name).processes if name in catalog.names() else (name,)
        found = {process: status for process in processes if (status := self._process(process)) is not None}
        if not found:
            return None
        status = found[name] if len(found) == 1 and name in found else _together(name, found)
        return self._listening(status, processes) if self._details and status.running else status

    @cached_property
    def _census(self) -> Census:
        return self._seen or census.take()

    @cached_property
    def _records(self) -> Mapping[str, Record]:
        return {record.component: record for record in load_all(self._instance)}

    @cached_property
    def _members(self) -> Mapping[str, Sequence[Process]]:
        return self._census.by_component(self._instance, [*self._records.values()])

    def _process(self, name: str) -> ComponentStatus | None:
        record = self._records.get(name)
        if record is None:
            leader = next(iter(self._pids(name)), None)
            return self._running(name, f"pid {service_of(leader)}", started_at(leader)) if leader is not None else None
        if self._seen.same(record) if self._seen is not None else record.alive():
            return self._running(name, f"pid {service_pid(record)}", record.started_at)
        pids = running_on(self._instance, record, lambda: self._pids(name))
        if pids:
            ended = describe_exit(ended_with(self._instance, record))
            return self._running(name, f"pid {pids[0]}, its first process {ended}", record.started_at)
        return _dead(self._instance, record)

    def _running(self, name: str, what: str, since: float | None) -> ComponentStatus:
        pids = self._pids(name) if self._details else []
        exposed = _exposed(self._sockets.get(pid, ()) for pid in pids)
        return ComponentStatus(
            name=name,
            kind="process",
            running=True,
            what=f"{what}; listens on {', '.join(exposed)}" if exposed else what,
            started_at=since,
            memory=sum(filter(None, map(self._memory_of, pids))) or None,
            exposed=exposed,
        )

    def _listening(self, status: ComponentStatus, processes: Sequence[str]) -> ComponentStatus:
        """Add that nothing of a component listens on its port, if that is so."""
        record = self._records.get(status.name)
        port = record.port if record is not None else 0
        if status.name in catalog.names():
            port = self._instance.ports.get(catalog.entry_of(status.name).port, 0)
        pids = [pid for process in processes for pid in self._pids(process)]
        if not port or any(each.port == port for pid in pids for each in self._sockets.get(pid, ())):
            return status
        return silent(status, f"nothing listens on port {port}", record.log if record is not None else "")

    @cached_property
    def _sockets(self) -> Mapping[int, Sequence[Listening]]:
        found: dict[int, list[Listening]] = {}
        for each in self._open.of(self.pids):
            found.setdefault(each.pid, []).append(each)
        return found

    def _pids(self, name: str) -> list[int]:
        return [process.pid for process in sorted(self._members.get(name, ()), key=lambda process: process.age)]


def running_on(instance: Instance, record: Record, members: Callable[[], list[int]] | None = None) -> list[int]:
    """Return the pids of a service that runs on without its recorded process: a daemon, or its shim was killed.

    Where it has a port, that decides: one of its processes must listen there. Else its first process must not have
    failed. `members` returns the component's processes, if they are known.
    """
    from orienter_tasks.processes.listeners import listening_ports

    failed = exit_code(instance, record) or not record.has_shim
    if not record.group or (failed and not record.port):
        return []
    pids = members() if members is not None else census.take().pids(instance, record.component)
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


def silent(status: ComponentStatus, why: str, log: str) -> ComponentStatus:
    """Say of a component that runs that it does not answer: why, and what its log says."""
    lines, words = _ending(log)
    silence = f"{why}: {words}" if words else why
    return replace(status, silence=silence, what=f"{status.what}; {silence}", last_lines=lines)


def _dead(instance: Instance, record: Record) -> ComponentStatus:
    """A process that ended without being stopped: its shim tells with what and when, its log the rest."""
    (lines, words), code = _ending(record.log), exit_code(instance, record)
    ended = "died" if code is None else describe_exit(as_child(code))
    what = f"{ended}: {words}" if words else ended
    at = ended_at(instance, record)
    return ComponentStatus(
        record.component, "process", running=False, what=what, last_lines=lines, exit_code=code, ended_at=at
    )


def _ending(log: str) -> tuple[list[str], str]:
    """Return the last lines of a log, and the line that says why."""
    from orienter_tasks.stack.reasons import LINES, reason

    lines = last(read(Path(log), LogRequest(lines=LINES))) if log else []
    return lines[-LAST_LINES:], reason(lines)


def _exposed(found: Iterable[Iterable[Listening]]) -> list[str]:
    """Name the addresses beyond loopback that processes listen on: everybody on the network reaches those."""
    places = {(each.address, each.port) for listening in found for each in listening}
    wide = [(address, port) for address, port in sorted(places) if not is_loopback(address)]
    return [f"[{address}]:{port}" if ":" in address else f"{address}:{port}" for address, port in wide]
