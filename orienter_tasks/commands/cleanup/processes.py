"""Processes of ours, whoever's checkout they belong to: found by the census, stopped services first."""

from __future__ import annotations

from collections import defaultdict
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from orienter_tasks.commands.cleanup.model import THOROUGH, Kind, Resource
from orienter_tasks.errors import CheckError
from orienter_tasks.identity.claims import of_claim
from orienter_tasks.instance.model import Instance
from orienter_tasks.machine.files import read_small
from orienter_tasks.processes import census
from orienter_tasks.processes.record import load
from orienter_tasks.processes.stop import end, orders
from orienter_tasks.processes.table import Process, describe, is_of_this_user
from orienter_tasks.settings import catalog

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from orienter_tasks.commands.cleanup.execute import Removal
    from orienter_tasks.commands.cleanup.model import Holder
    from orienter_tasks.commands.cleanup.snapshot import Reading
    from orienter_tasks.processes.census import OwnedProcess

ANCESTOR = "this very command was started by it"
NOT_MINE = "it is another user's"


def _find(reading: Reading) -> Iterator[Resource]:
    return _described(reading.view.project, reading.processes, reading.holders)


def _described(project: str, found: Iterable[OwnedProcess], holders: Sequence[Holder]) -> Iterator[Resource]:
    """Describe processes as their claim's; without one, only those that say that they are this project's."""
    for owned in found:
        holder = next((holder for holder in holders if _is_of(owned, holder)), None)
        if holder is None and project_of(owned) != project:
            continue
        process, blocker = owned.process, ANCESTOR if owned.ancestor else ""
        if holder is None and not is_of_this_user(process.pid):
            blocker = NOT_MINE
        yield Resource(
            kind=PROCESS,
            name=describe(process.pid),
            key=f"{process.pid}:{process.mark}",
            project=project,
            instance=owned.instance,
            root=owned.root if holder is None else holder.claim.root,
            component=owned.component,
            token=owned.token,
            running=True,
            blocker=blocker,
        )


def _is_of(owned: OwnedProcess, holder: Holder) -> bool:
    claim, place = holder.claim, holder.checkout.place
    root = claim.root if place is not None and owned.root == str(place) else owned.root
    return of_claim(claim).is_marked_by(
        project=owned.project or claim.project, instance=owned.instance, root=root, token=owned.token
    )


def project_of(found: OwnedProcess) -> str:
    """Return the project of a process that no claim names: what it says, else what its record says; "" for neither."""
    if found.project:
        return found.project
    import msgspec

    path = Path(found.root) / ".dev-pids" / f"instance-{found.instance}" / f"{Path(found.component).name}.json"
    try:
        project = msgspec.json.decode(read_small(path), type=dict[str, object]).get("project")
    except (OSError, ValueError, RecursionError, msgspec.DecodeError):
        return ""
    if not isinstance(project, str):
        return ""
    record = load(Instance(found.instance, Path(found.root), project, "", {}), found.component)
    return project if record is not None and record.alive() else ""


def _remove(removal: Removal, resources: Sequence[Resource]) -> None:
    """Stop the processes of a claim together, also what it has started since."""
    groups: dict[str, list[Resource]] = defaultdict(list)
    for resource in resources:
        holder = removal.snapshot.holder_of(resource)
        groups[holder.claim.token if holder is not None else ""].append(resource)
    for mine in groups.values():
        late = partial(_running, removal.snapshot.holder_of(mine[0]), mine)
        removal.attempt(mine, partial(stop, mine, removal.options.grace, late))


def _running(holder: Holder | None, known: Sequence[Resource]) -> Sequence[Resource]:
    """Find the processes of a claim that are there now, except for those that started this very command."""
    if holder is None:
        return known
    claim = holder.claim
    found = _described(claim.project, census.take().owned([of_claim(claim)]), [holder])
    return [resource for resource in found if holder.holds(resource) and not resource.blocker]


def stop(resources: Sequence[Resource], grace: float, late: Callable[[], Sequence[Resource]]) -> None:
    """End exactly these processes: services first, then servers, then what `late` finds that has come up meanwhile."""
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


PROCESS = Kind(
    name="process",
    order=10,
    scopes=("orphans", "daily", *THOROUGH),
    find=_find,
    remove=_remove,
    verbs=("stops", "stopped"),
    plural="processes",
)
