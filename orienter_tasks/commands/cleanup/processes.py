"""Processes of ours, whoever's checkout they belong to, found in one pass and ended without touching anybody else's.

Ours is what carries both markers in its environment; nginx and PostgreSQL, whose titles overwrite theirs, when they
work in the directory below DATA_DIR in which only ours do; and every descendant of one of these.
"""

from __future__ import annotations

import os
import re
import signal
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from orienter_tasks.commands.cleanup.model import Thing
from orienter_tasks.errors import CheckError
from orienter_tasks.instance.model import Instance
from orienter_tasks.processes import tree
from orienter_tasks.processes.describe import describe
from orienter_tasks.processes.ending import await_end
from orienter_tasks.processes.record import COMPONENT_MARKER, load, start_mark
from orienter_tasks.settings import catalog

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    import psutil

KILL_SECONDS = 5.0
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


def as_thing(found: Found, project: str, root: str) -> Thing:
    """Describe a process as something that may go."""
    pid = found.process.pid
    return Thing(
        kind="process",
        name=describe(found.process),
        key=f"{pid}:{start_mark(pid)}",
        project=project,
        instance=found.instance,
        root=root,
        component=found.component,
        running=True,
        obstacle=ANCESTOR if found.ancestor else "",
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


def stop(things: Sequence[Thing], grace: float, late: Callable[[], Sequence[Thing]]) -> None:
    """End processes: services first, then servers, then whatever of theirs has come up meanwhile.

    Args:
        things: exactly those that go.
        grace: seconds before one is killed.
        late: finds the processes that are there now and should not be.

    Raises:
        CheckError: naming who survives.
    """
    for servers in (False, True):
        _end([thing for thing in things if bool(catalog.component_of(thing.component)) is servers], grace)
    deadline = time.monotonic() + KILL_SECONDS
    while (left := _alive(late())) and time.monotonic() < deadline:
        tree.send(left, signal.SIGKILL)
        await_end(left, 1.0)
    if left:
        names = ", ".join(describe(process) for process in left)
        raise CheckError(f"{names} survives SIGKILL", hint="look at it with: ps -o pid,stat,wchan,args -p PID")


def _end(things: Sequence[Thing], grace: float) -> None:
    """Give each its own signal, and kill who has not ended after a while."""
    processes = _alive(things)
    for thing in things:
        process = _same(thing)
        if process is None:
            continue
        record = load(Instance(thing.instance, Path(thing.root), thing.project, "", {}), thing.component)
        server = catalog.component_of(thing.component)
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


def _alive(things: Iterable[Thing]) -> list[psutil.Process]:
    return [process for thing in things if (process := _same(thing)) is not None]


def _same(thing: Thing) -> psutil.Process | None:
    """Return the process that was planned for, unless another has its pid by now."""
    import psutil

    pid, _, mark = thing.key.partition(":")
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
