"""A service that runs on though its first process has ended: it made itself a daemon, or only its keeper was killed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orienter_tasks.processes import tree
from orienter_tasks.processes.shim import exit_code

if TYPE_CHECKING:
    from orienter_tasks.instance.model import Instance
    from orienter_tasks.processes.record import Record


def running_on(instance: Instance, record: Record) -> list[int]:
    """Return the pids of a service whose recorded process has ended; none when the service has ended, too.

    Where it has a port, that decides: somebody of it must listen there. Else its first process must not have failed.
    """
    from orienter_tasks.processes.listeners import listening_ports

    failed = exit_code(instance, record) or not record.kept
    if not record.group or (failed and not record.port):
        return []
    pids = [process.pid for process in tree.members(instance, record.component)]
    return pids if not record.port or record.port in listening_ports(pids) else []
