"""The one census: which of the machine's processes are ours, and of which component of which instance.

A process is ours by the markers in its environment; by a record, as its process or in that one's session; by its
working directory in a volume or below DATA_DIR, where its title overwrites its environment as nginx's and PostgreSQL's
do; or as a descendant of such a process, unless its environment says that it was started for somebody else.
"""

from __future__ import annotations

import os
import re
from collections import defaultdict
from functools import cache, cached_property
from typing import TYPE_CHECKING, TypeVar

import msgspec
from msgspec.structs import replace

from orienter_tasks.identity import volumes
from orienter_tasks.processes import table
from orienter_tasks.processes.record import began, load_all, of_this_boot, start_mark
from orienter_tasks.processes.table import directory_of, is_of_this_user
from orienter_tasks.settings import catalog

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

    from orienter_tasks.instance.model import Instance
    from orienter_tasks.processes.record import Record
    from orienter_tasks.processes.table import Process, ProcessOwner

T = TypeVar("T")
_PLACE = r"(?s)(/.+)/\.dev-data/instance-(\d{1,3})/([a-z0-9_-]+)"
_ID = r"[0-9]{1,3}"


class OwnedProcess(msgspec.Struct, frozen=True):
    """A process of ours, whoever's checkout it is for.

    Attributes:
        component, instance, root: what it is part of.
        project, token: likewise; "" where it does not say.
        ancestor: whether it started this very command.
    """

    process: Process
    component: str
    instance: int
    root: str
    project: str = ""
    token: str = ""
    ancestor: bool = False


class Census:
    """The processes of the machine at one moment.

    Args:
        processes: all of them, by pid.
    """

    def __init__(self, processes: Mapping[int, Process], directory_of: Callable[[int], str] = directory_of) -> None:
        self._processes = processes
        self._directory = cache(directory_of)

    def of(self, instance: Instance, component: str | None = None) -> list[Process]:
        """Return the processes of one component, or of a whole instance, the oldest first.

        Those that started this very command are spared.
        """
        found = self.by_component(instance)
        chosen = found.get(component, ()) if component is not None else (one for each in found.values() for one in each)
        return sorted(chosen, key=lambda process: process.age)

    def by_component(
        self, instance: Instance, records: Sequence[Record] | None = None
    ) -> Mapping[str, Sequence[Process]]:
        """Return the processes of an instance by component; none for one of which only a record is there.

        Args:
            instance: whose.
            records: its records, if they have been read already.
        """
        records = list(load_all(instance)) if records is None else records
        known = {process.pid: each.component for each in records if (process := self.same(each)) is not None}
        for process in self._named.get(str(instance.id), ()):
            if process.owner is not None and _is_of(process.owner, instance):
                known.setdefault(process.pid, process.owner.component)
        for record in records:
            for process in self._sessions.get(record.pid, ()):
                if self.same(record) is not None or self._left_behind(process, record):
                    known.setdefault(process.pid, record.component)
        homes = _homes(instance) if self._untold else {}
        for process in self._untold:
            component = self._retitled(process, homes)
            if component is not None:
                known.setdefault(process.pid, component)
        found: dict[str, list[Process]] = {record.component: [] for record in records}
        for pid, component in self._with_descendants(known).items():
            if pid not in self.ancestry:
                found.setdefault(component, []).append(self._processes[pid])
        return found

    def pids(self, instance: Instance, component: str | None = None) -> list[int]:
        return [process.pid for process in self.of(instance, component)]

    def names(self, instance: Instance) -> set[str]:
        """Name the components of an instance that have a record or a living process."""
        return self.by_component(instance).keys() - {""}

    def owned(self, instances: Iterable[Instance] = ()) -> list[OwnedProcess]:
        """Return everything of ours on the machine that this user may look into, except for this very process.

        Args:
            instances: those whose records are to be read, too.
        """
        known: dict[int, OwnedProcess] = {}
        for process in self._processes.values():
            owned = _marked(process) or self._placed(process)
            if owned is not None:
                known[process.pid] = owned
        known = self._with_descendants(known)
        for instance in instances:
            for component, processes in self.by_component(instance).items():
                for process in processes:
                    owned = OwnedProcess(
                        process, component, instance.id, str(instance.root), instance.project, instance.token
                    )
                    known.setdefault(process.pid, owned)
        return [
            replace(owned, process=self._processes[pid], ancestor=pid in self.ancestry)
            for pid, owned in known.items()
            if pid != os.getpid()
        ]

    def working_in(self, directory: Path, names: Iterable[str]) -> list[Process]:
        """Return the processes of the given names whose working directory is the given one."""
        real, wanted = os.path.realpath(directory), set(names)
        return [each for each in self._processes.values() if each.name in wanted and self._directory(each.pid) == real]

    def same(self, process: Process | Record) -> Process | None:
        """Return the very process that is meant, if it is there: by its pid and its start mark."""
        found = self._processes.get(process.pid)
        return found if found is not None and found.mark == process.mark else None

    @cached_property
    def ancestry(self) -> frozenset[int]:
        """This process and those that started it."""
        found: set[int] = set()
        pid = os.getpid()
        while pid not in found and pid > 0:
            found.add(pid)
            pid = self._processes[pid].parent if pid in self._processes else 0
        return frozenset(found)

    @cached_property
    def _children(self) -> Mapping[int, Sequence[Process]]:
        found = defaultdict(list)
        for process in self._processes.values():
            found[process.parent].append(process)
        return found

    @cached_property
    def _named(self) -> Mapping[str, Sequence[Process]]:
        """Those whose environment says for whom they were started, by the id in it."""
        found = defaultdict(list)
        for process in self._processes.values():
            if process.owner is not None:
                found[process.owner.instance].append(process)
        return found

    @cached_property
    def _sessions(self) -> Mapping[int, Sequence[Process]]:
        """The others by session, whether its leader lives or has ended."""
        found = defaultdict(list)
        for process in self._processes.values():
            if process.owner is None:
                found[process.session].append(process)
        return found

    @cached_property
    def _untold(self) -> Sequence[Process]:
        """Those of the programs that overwrite their environment, where they have; without the workers of each."""
        names = {program for entry in catalog.entries() for program in entry.titles}
        found = [each for each in self._processes.values() if each.retitled and each.name in names]
        return [each for each in found if not self._is_worker(each)]

    def _is_worker(self, process: Process) -> bool:
        parent = self._processes.get(process.parent)
        same = parent is not None and parent.name == process.name
        return same and self._directory(process.parent) == self._directory(process.pid)

    def _left_behind(self, process: Process, record: Record) -> bool:
        """Whether a process of a dead leader's session is still that leader's: a later session may have its number."""
        return (
            start_mark(record.pid) is None
            and of_this_boot(record.mark)
            and began(process.mark) >= began(record.mark)
            and self._directory(process.pid) == record.cwd
            and is_of_this_user(process.pid)
        )

    def _retitled(self, process: Process, homes: Mapping[str, Mapping[str, str]]) -> str | None:
        """The component of a server that has overwritten its environment, or of what a killed one has left.

        A server that somebody runs on our data by hand has an environment, which does not name us, or such a parent.
        """
        parent = self._processes.get(process.parent)
        if parent is not None and self._directory(parent.pid) in homes.get(parent.name, ()):
            return None
        return homes[process.name].get(self._directory(process.pid))

    def _placed(self, process: Process) -> OwnedProcess | None:
        """A server of this user by its working directory alone, which only ours work in."""
        servers = {entry.name: what for entry in catalog.entries() if (what := entry.titles.get(process.name))}
        if not servers or not is_of_this_user(process.pid):
            return None
        directory = self._directory(process.pid)
        in_volume = volumes.working_in(directory)
        if in_volume is not None and in_volume[1] in servers:
            claim, component = in_volume
            return OwnedProcess(process, servers[component], claim.id, claim.root, claim.project, claim.token)
        place = re.fullmatch(_PLACE, directory)
        if place is None or place[3] not in servers:
            return None
        return OwnedProcess(process, servers[place[3]], int(place[2]), place[1])

    def _with_descendants(self, known: dict[int, T]) -> dict[int, T]:
        """Add the descendants of what is ours, but for those whose environment names somebody else."""
        found = dict(known)
        queue = [pid for pid in found if pid not in self.ancestry]
        for pid in queue:  # it grows while it is read
            for child in self._children.get(pid, ()):
                if child.pid not in found and child.owner is None:
                    found[child.pid] = found[pid]
                    queue.append(child.pid)
        return found


def take() -> Census:
    """Read all processes now; threads that ask at the same time share one reading."""
    return Census(table.read())


def _homes(instance: Instance) -> Mapping[str, Mapping[str, str]]:
    """By program: the directories in which it overwrites its environment, and which process it is there."""
    found: dict[str, dict[str, str]] = defaultdict(dict)
    for entry in catalog.entries():
        if entry.titles:
            places = {volumes.working_dir(instance, entry.name), volumes.former_dir(instance, entry.name)}
            real = [os.path.realpath(place) for place in places]
            for program, process in entry.titles.items():
                found[program].update(dict.fromkeys(real, process))
    return found


def _is_of(owner: ProcessOwner, instance: Instance) -> bool:
    return instance.is_marked_by(
        project=owner.project or instance.project, instance=owner.instance, root=owner.root, token=owner.token
    )


def _marked(process: Process) -> OwnedProcess | None:
    owner = process.owner
    if owner is None or not owner.root.startswith("/") or not re.fullmatch(_ID, owner.instance):
        return None
    return OwnedProcess(process, owner.component, int(owner.instance), owner.root, owner.project, owner.token)
