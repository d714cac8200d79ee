"""Processes of ours as resources that may go, whoever's checkout they belong to."""

from __future__ import annotations

from collections import defaultdict
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from orienter_tasks.commands.cleanup.model import Resource
from orienter_tasks.errors import CheckError
from orienter_tasks.instance.model import Instance
from orienter_tasks.processes import census
from orienter_tasks.processes.describe import describe
from orienter_tasks.processes.record import load
from orienter_tasks.processes.stop import end, orders
from orienter_tasks.processes.table import Process
from orienter_tasks.settings import catalog

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from orienter_tasks.processes.census import OwnedProcess

ANCESTOR = "this very command was started by it"


def as_resource(found: OwnedProcess, project: str, root: str) -> Resource:
    """Describe a process as something that may go."""
    process = found.process
    return Resource(
        kind="process",
        name=describe(process.pid),
        key=f"{process.pid}:{process.mark}",
        project=project,
        instance=found.instance,
        root=root,
        component=found.component,
        running=True,
        blocker=ANCESTOR if found.ancestor else "",
    )


def project_of(found: OwnedProcess) -> str:
    """Return the project of a process that no claim names: what it says, else what its record says; "" for neither."""
    if found.project:
        return found.project
    import msgspec

    path = Path(found.root) / ".dev-pids" / f"instance-{found.instance}" / f"{Path(found.component).name}.json"
    try:
        project = msgspec.json.decode(path.read_bytes(), type=dict[str, object]).get("project")
    except (OSError, ValueError, msgspec.DecodeError):
        return ""
    if not isinstance(project, str):
        return ""
    record = load(Instance(found.instance, Path(found.root), project, "", {}), found.component)
    return project if record is not None and record.alive() else ""


def stop(resources: Sequence[Resource], grace: float, late: Callable[[], Sequence[Resource]]) -> None:
    """End processes: services first, then servers, then whatever of theirs has come up meanwhile.

    Args:
        resources: exactly those that go.
        grace: seconds before one is killed.
        late: finds the processes that are there now and should not be.

    Raises:
        CheckError: naming who survives.
    """
    if not resources:
        return
    servers = [resource for resource in resources if catalog.component_of(resource.component)]
    with suppress(CheckError):  # what survives is found again at the end
        end(_orders([resource for resource in resources if resource not in servers]), grace)
    end(_orders(servers), grace, late=lambda: [it for resource in late() if (it := _process(resource)).alive()])


def _orders(resources: Sequence[Resource]) -> dict[Process, int]:
    """Return the processes that still run of those that were planned for, each with its own signal."""
    found: dict[Process, int] = {}
    seen = census.take()
    by_component: dict[tuple[int, str, str], list[Process]] = defaultdict(list)
    for resource in resources:
        process = seen.same(_process(resource))
        if process is not None:
            by_component[resource.instance, resource.root, resource.component].append(process)
    for (number, root, component), processes in by_component.items():
        instance = Instance(number, Path(root), resources[0].project, "", {})
        found |= orders(processes, component, load(instance, component))
    return found


def _process(resource: Resource) -> Process:
    pid, _, mark = resource.key.partition(":")
    return Process(int(pid), mark)
