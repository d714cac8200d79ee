"""Processes of ours, whoever's checkout they belong to, found in one pass and ended without touching anybody else's.

Ours is what carries both markers in its environment; nginx and PostgreSQL, whose titles overwrite theirs, when they
work in the directory below DATA_DIR in which only ours do; and every descendant of one of these.
"""

from __future__ import annotations

import os
import re
import signal
import time
from collections import defaultdict
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from orienter_tasks.commands.cleanup.model import Kind, Resource
from orienter_tasks.commands.cleanup.scope import THOROUGH
from orienter_tasks.errors import CheckError
from orienter_tasks.instance.model import Instance
from orienter_tasks.processes import tree
from orienter_tasks.processes.describe import describe
from orienter_tasks.processes.ending import await_end
from orienter_tasks.processes.record import COMPONENT_MARKER, load, start_mark
from orienter_tasks.settings import catalog

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    import psutil

    from orienter_tasks.commands.cleanup.execute import Removal
    from orienter_tasks.commands.cleanup.model import Holder
    from orienter_tasks.commands.cleanup.snapshot import Reading

KILL_SECONDS = 5.0
NOT_MINE = "it is another user's"
ANCESTOR = "this very command was started by it"
_PLACE = re.compile(r"(?s)(/.+)/\.dev-data/instance-(\d{1,3})/([a-z0-9_-]+)")
_ID = re.compile(r"[0-9]{1,3}")
_COMPOSE_PROJECT = re.compile(r"(.+)-instance-(\d+)")


@dataclass(frozen=True)
class Found:
    """A process of ours.

    Attributes:
        process: it.
        component, instance, root: what it says that it is.
        project: likewise; "" where it does not say.
        ancestor: whether this very command was started by it.
    """

    process: psutil.Process
    component: str
    instance: int
    root: str
    project: str = ""
    ancestor: bool = False

    @property
    def mine(self) -> bool:
        """Whether it runs as this user."""
        import psutil

        try:
            return bool(self.process.uids().real == os.getuid())
        except psutil.Error:
            return False

    @property
    def directory(self) -> str:
        """Its working directory, which tells where a checkout was moved to; "" where that cannot be seen."""
        import psutil

        try:
            return str(self.process.cwd())
        except (psutil.Error, OSError):
            return ""


def read() -> list[Found]:
    """Find every process of ours on this machine that this user may look into."""
    import psutil

    own = psutil.Process()
    spared = {own.pid, *(parent.pid for parent in own.parents())}
    found: dict[int, Found] = {}
    children: dict[int, list[psutil.Process]] = {}
    for process in psutil.process_iter():
        try:
            if process.status() == psutil.STATUS_ZOMBIE:
                continue
            children.setdefault(process.ppid(), []).append(process)
            ours = _marked(process) or _server(process)
        except (psutil.Error, OSError):
            continue
        if ours is not None:
            found[process.pid] = ours
    for ours in list(found.values()):
        _add_descendants(ours, children, found)
    found.pop(own.pid, None)
    return [replace(ours, ancestor=pid in spared) for pid, ours in found.items()]


def find(reading: Reading) -> Iterator[Resource]:
    """Describe processes as their claim's; without one, only those that say that they are this project's."""
    return _described(reading.view.project, reading.processes, reading.holders)


def remove(removal: Removal, resources: Sequence[Resource]) -> None:
    """Stop the processes of one claim together, with what it has started since."""
    groups: dict[str, list[Resource]] = defaultdict(list)
    holders = {}
    for resource in resources:
        holder = removal.snapshot.holder_of(resource)
        token = holder.claim.token if holder is not None else ""
        groups[token].append(resource)
        holders[token] = holder
    for token, mine in groups.items():
        late = partial(_running, removal.view.project, holders[token], mine)
        removal.attempt(mine, partial(stop, mine, removal.options.grace, late))


def _running(project: str, holder: Holder | None, known: Sequence[Resource]) -> Sequence[Resource]:
    """Find the processes of a claim that are there now, except for the one that started this very command."""
    if holder is None:
        return known
    found = _described(project, read(), [holder])
    return [resource for resource in found if holder.holds(resource) and not resource.blocker]


def _described(project: str, found: Sequence[Found], holders: Sequence[Holder]) -> Iterator[Resource]:
    for ours in found:
        holder = next((one for one in holders if _is_of(ours, one)), None)
        if holder is not None:
            yield as_resource(ours, project, holder.claim.root)
        elif project_of(ours) == project:
            resource = as_resource(ours, project, ours.root)
            yield resource if ours.mine else replace(resource, blocker=NOT_MINE)


def _is_of(found: Found, holder: Holder) -> bool:
    claim, place = holder.claim, holder.checkout.place
    known = found.root in claim.roots or (place is not None and found.root == str(place))
    return known and found.instance == claim.id and found.project in ("", claim.project)


def as_resource(found: Found, project: str, root: str) -> Resource:
    """Describe a process as something that may go."""
    pid = found.process.pid
    return Resource(
        kind=PROCESS,
        name=describe(found.process),
        key=f"{pid}:{start_mark(pid)}",
        project=project,
        instance=found.instance,
        root=root,
        component=found.component,
        running=True,
        blocker=ANCESTOR if found.ancestor else "",
    )


def project_of(found: Found) -> str:
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
    for servers in (False, True):
        _end([resource for resource in resources if bool(catalog.component_of(resource.component)) is servers], grace)
    deadline = time.monotonic() + KILL_SECONDS
    while (left := _alive(late())) and time.monotonic() < deadline:
        tree.send(left, signal.SIGKILL)
        await_end(left, 1.0)
    if left:
        names = ", ".join(describe(process) for process in left)
        raise CheckError(f"{names} survives SIGKILL", hint="look at it with: ps -o pid,stat,wchan,args -p PID")


def _end(resources: Sequence[Resource], grace: float) -> None:
    """Give each its own signal, and kill who has not ended after a while."""
    processes = _alive(resources)
    for resource in resources:
        process = _same(resource)
        if process is None:
            continue
        record = load(Instance(resource.instance, Path(resource.root), resource.project, "", {}), resource.component)
        server = catalog.component_of(resource.component)
        alone = bool(server) or (record is not None and record.alive() and not record.group)
        if not (alone and _ppid(process) in {other.pid for other in processes}):
            number = catalog.entry_of(server).stop_signal if server else signal.SIGTERM
            tree.send([process], record.stop_signal if record is not None else number)
    left = await_end(processes, grace)
    tree.send(left, signal.SIGKILL)
    await_end(left, KILL_SECONDS)


def _marked(process: psutil.Process) -> Found | None:
    environ = _environ(process)
    component, root = environ.get(COMPONENT_MARKER), environ.get("AI_INSTANCE_ROOT", "")
    number = environ.get("AI_INSTANCE_ID", "")
    if component is None or not root.startswith("/") or not _ID.fullmatch(number):
        return None
    compose = _COMPOSE_PROJECT.fullmatch(environ.get("COMPOSE_PROJECT_NAME", ""))
    project = compose[1] if compose is not None and compose[2] == number else ""
    return Found(process, component, int(number), root, project)


def _server(process: psutil.Process) -> Found | None:
    servers = {entry.name: server for entry in catalog.entries() if (server := entry.titles.get(process.name()))}
    if not servers or process.uids().real != os.getuid():
        return None
    place = _PLACE.fullmatch(process.cwd())
    if place is None or place[3] not in servers:
        return None
    return Found(process, servers[place[3]], int(place[2]), place[1])


def _environ(process: psutil.Process) -> Mapping[str, str]:
    import psutil

    try:
        return process.environ()
    except (psutil.Error, OSError):
        return {}


def _add_descendants(parent: Found, children: Mapping[int, Sequence[psutil.Process]], found: dict[int, Found]) -> None:
    for child in children.get(parent.process.pid, ()):
        if child.pid not in found:
            found[child.pid] = replace(parent, process=child)
            _add_descendants(found[child.pid], children, found)


def _alive(resources: Iterable[Resource]) -> list[psutil.Process]:
    return [process for resource in resources if (process := _same(resource)) is not None]


def _same(resource: Resource) -> psutil.Process | None:
    """Return the process that was planned for, unless another has its pid by now."""
    import psutil

    pid, _, mark = resource.key.partition(":")
    try:
        process = psutil.Process(int(pid))
    except psutil.Error:
        return None
    return process if start_mark(process.pid) == mark else None


def _ppid(process: psutil.Process) -> int:
    import psutil

    try:
        return int(process.ppid())
    except psutil.Error:
        return 0


PROCESS = Kind(
    name="process",
    order=10,
    scopes=("orphans", "daily", *THOROUGH),
    find=find,
    remove=remove,
    verbs=("stops", "stopped"),
    plural="processes",
)
