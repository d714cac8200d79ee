"""What is found of a component's native processes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orienter_tasks.processes import census
from orienter_tasks.processes.shim import exit_code

if TYPE_CHECKING:
    from orienter_tasks.instance.model import Instance
    from orienter_tasks.processes.census import Census
    from orienter_tasks.processes.record import Record


def running_on(instance: Instance, record: Record, seen: Census | None = None) -> list[int]:
    """Return the pids of a service that runs on without its recorded process: a daemon, or its shim was killed.

    Where it has a port, that decides: one of its processes must listen there. Else its first process must not have
    failed.
    """
    from orienter_tasks.processes.listeners import listening_ports

    failed = exit_code(instance, record) or not record.has_shim
    if not record.group or (failed and not record.port):
        return []
    pids = (seen or census.take()).pids(instance, record.component)
    return pids if not record.port or record.port in listening_ports(pids) else []
