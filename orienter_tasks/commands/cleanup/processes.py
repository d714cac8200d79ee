"""Processes of ours as things that may go, whoever's checkout they belong to."""

from __future__ import annotations

from collections import defaultdict
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from orienter_tasks.commands.cleanup.model import Thing
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


def as_thing(found: OwnedProcess, project: str, root: str) -> Thing:
    """Describe a process as something that may go."""
    process = found.process
    return Thing(
        kind="process",
        name=describe(process.pid),
        key=f"{process.pid}:{process.mark}",
        project=project,
        instance=found.instance,
        root=root,
        component=found.component,
        running=True,
        obstacle=ANCESTOR if found.ancestor else "",
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


def stop(things: Sequence[Thing], grace: float, late: Callable[[], Sequence[Thing]]) -> None:
    """End processes: services first, then servers, then whatever of theirs has come up meanwhile.

    Args:
        things: exactly those that go.
        grace: seconds before one is killed.
        late: finds the processes that are there now and should not be.

    Raises:
        CheckError: naming who survives.
    """
    if not things:
        return
    servers = [thing for thing in things if catalog.component_of(thing.component)]
    with suppress(CheckError):  # what survives is found again at the end
        end(_orders([thing for thing in things if thing not in servers]), grace)
    end(_orders(servers), grace, late=lambda: [it for thing in late() if (it := _process(thing)).alive()])


def _orders(things: Sequence[Thing]) -> dict[Process, int]:
    """Return the processes that still run of those that were planned for, each with its own signal."""
    found: dict[Process, int] = {}
    seen = census.take()
    by_component: dict[tuple[int, str, str], list[Process]] = defaultdict(list)
    for thing in things:
        process = seen.same(_process(thing))
        if process is not None:
            by_component[thing.instance, thing.root, thing.component].append(process)
    for (number, root, component), processes in by_component.items():
        instance = Instance(number, Path(root), things[0].project, "", {})
        found |= orders(processes, component, load(instance, component))
    return found


def _process(thing: Thing) -> Process:
    pid, _, mark = thing.key.partition(":")
    return Process(int(pid), mark)
