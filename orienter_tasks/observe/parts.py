"""What one component of an instance is found to be: a container or a process, running or dead."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from orienter_tasks.processes import census, shim, table
from orienter_tasks.processes.record import load_all
from orienter_tasks.processes.spawn import describe_exit, ended_with
from orienter_tasks.settings import catalog
from orienter_tasks.stack.component import LogRequest
from orienter_tasks.stack.logfiles import read as read_log
from orienter_tasks.stack.native import running_on

if TYPE_CHECKING:
    from collections.abc import Sequence

    from orienter_tasks.backends.docker.survey import DockerResource
    from orienter_tasks.instance.model import Instance
    from orienter_tasks.processes.census import Census
    from orienter_tasks.processes.record import Record

LAST_LINES = 5
LONGEST_WORDS = 200


@dataclass(frozen=True)
class Part:
    """A component of an instance as it is found.

    Attributes:
        name: the component.
        kind: `container` or `process`.
        running: whether it runs.
        what: the container's name, or the process's pid, for people.
        started_at: seconds since the epoch; None when it does not run.
        memory: bytes (PSS of its processes, or what its container is charged for); None where not told.
        exposed: the addresses beyond loopback that it listens on, with their ports.
        last_lines: the end of its log, when it died.
        exit_code: what its process ended with, 128 + N for signal N; None while it runs, and where it is not known.
    """

    name: str
    kind: str
    running: bool
    what: str
    started_at: float | None = None
    memory: int | None = None
    exposed: Sequence[str] = ()
    last_lines: Sequence[str] = ()
    exit_code: int | None = None

    @property
    def state(self) -> str:
        """`running`, or `failed`: what was stopped on purpose is no part."""
        return "running" if self.running else "failed"

    @property
    def end(self) -> str:
        """How it ended, in words; "" while it runs."""
        if self.running:
            return ""
        return "failed" if self.exit_code is None else describe_exit(shim.as_child(self.exit_code))


@dataclass(frozen=True)
class Look:
    """What is to be read of running processes."""

    memory: bool
    listeners: bool

    @cached_property
    def census(self) -> Census:
        """Every process: looked at once for all instances."""
        return census.take()


def of_container(resource: DockerResource, *, with_memory: bool) -> Part:
    """Describe a container."""
    from orienter_tasks.backends.docker import survey

    return Part(
        name=resource.component,
        kind="container",
        running=resource.running,
        what=resource.name if resource.running else f"{resource.name} ({resource.state})",
        started_at=resource.started_at,
        memory=survey.memory(resource.id) if resource.running and with_memory else None,
    )


def merged(parts: list[Part]) -> list[Part]:
    """Make one of all processes of a server, such as the embedded S3 store and the nginx before it."""
    found = {part.name: part for part in parts}
    for entry in catalog.entries():
        for process in entry.further_processes:
            side, main = found.pop(process, None), found.get(entry.name)
            if side is not None and main is not None:
                memory = (main.memory or 0) + (side.memory or 0) or None
                what = main.what if side.running or not main.running else f"{main.what}; its front {side.what}"
                found[entry.name] = replace(main, running=main.running and side.running, memory=memory, what=what)
    return list(found.values())


def of_processes(instance: Instance, look: Look) -> list[Part]:
    """Describe every process of which there is a record."""
    return [_part(instance, record, look) for record in load_all(instance)]


def _part(instance: Instance, record: Record, look: Look) -> Part:
    if record.alive():
        pids = look.census.pids(instance, record.component) if look.memory or look.listeners else []
        return _running_part(record, look, pids, f"pid {shim.service_pid(record)}")
    code = shim.exit_code(instance, record)
    pids = running_on(instance, record)
    if pids:
        ended = describe_exit(ended_with(instance, record))
        return _running_part(record, look, pids, f"pid {pids[0]}, its first process {ended}")
    return _dead_part(record, code)


def _running_part(record: Record, look: Look, pids: Sequence[int], what: str) -> Part:
    exposed = _exposed(pids) if look.listeners else []
    mark = f"; listens on {', '.join(exposed)}" if exposed else ""
    return Part(
        name=record.component,
        kind="process",
        running=True,
        what=f"{what}{mark}",
        started_at=record.started_at,
        memory=_memory(pids) if look.memory else None,
        exposed=exposed,
    )


def _dead_part(record: Record, code: int | None) -> Part:
    """A process that ended by itself: its shim tells with what, its log the rest."""
    lines = list(read_log(Path(record.log), LogRequest(lines=LAST_LINES)))
    words = next((line.strip() for line in reversed(lines) if line.strip()), "")
    ended = "died" if code is None else describe_exit(shim.as_child(code))
    what = f"{ended}: {words[:LONGEST_WORDS]}" if words else ended
    return Part(name=record.component, kind="process", running=False, what=what, last_lines=lines, exit_code=code)


def _exposed(pids: Sequence[int]) -> list[str]:
    """Name the addresses beyond loopback that processes listen on: everybody on the network reaches those."""
    import ipaddress

    from orienter_tasks.processes.listeners import listening_addresses

    found = []
    for address, port in sorted(listening_addresses(pids)):
        known = ipaddress.ip_address(address.partition("%")[0])
        mapped = getattr(known, "ipv4_mapped", None) or known
        if not mapped.is_loopback:
            found.append(f"[{address}]:{port}" if known.version == 6 else f"{address}:{port}")  # noqa: PLR2004 - IPv6
    return found


def _memory(pids: Sequence[int]) -> int | None:
    """Sum the PSS of processes; RSS where the system has no PSS."""
    return sum(filter(None, map(table.memory, pids))) or None
