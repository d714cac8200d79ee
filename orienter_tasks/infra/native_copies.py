"""Copies of an embedded instance's data: directories beside its volumes, and in snapshots."""

from __future__ import annotations

import os
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from orienter_tasks.data import tree
from orienter_tasks.data.manifest import Part
from orienter_tasks.data.room import Need, shares_blocks
from orienter_tasks.errors import NotFoundError
from orienter_tasks.identity import replacing, volumes
from orienter_tasks.identity.claims import new_token
from orienter_tasks.identity.replacing import Swap
from orienter_tasks.infra.all import component as kind, copying
from orienter_tasks.infra.embedded import SIZE_SECONDS, EmbeddedBackend
from orienter_tasks.machine import flock
from orienter_tasks.machine.directories import size_of
from orienter_tasks.machine.state import private_dir
from orienter_tasks.machine.threads import map_in_turn
from orienter_tasks.settings import catalog

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from orienter_tasks.backends.protocol import InstanceConfig
    from orienter_tasks.data.store import Unfinished
    from orienter_tasks.infra.copying import Copies


class NativeCopies:
    """The copies of one embedded instance's data."""

    def __init__(self, config: InstanceConfig) -> None:
        self.config = config
        self._run = new_token()
        self._prepared: list[str] = []
        self._written: list[Path] = []
        self._locks = ExitStack()

    def running(self) -> Sequence[str]:
        found = EmbeddedBackend(self.config).status()
        return [status.name for status in found if status.up and status.name in catalog.with_data()]

    def get_ready(self) -> None:
        """Do nothing: everything is there."""

    def sizes(self, components: Sequence[str]) -> Mapping[str, int]:
        found = {name: volumes.working_dir(self.config.instance, name).resolve() for name in components}
        sizes = {name: size_of(place, within=SIZE_SECONDS) for name, place in found.items()}
        return {name: size for name, size in sizes.items() if size is not None}

    def image_of(self, component: str) -> str:
        del component
        return ""

    image_for = image_of

    def server(self, component: str) -> str:
        how = copying(component)
        return how.server(how.place(volumes.working_dir(self.config.instance, component).resolve()))

    def reader(self, component: str) -> str:
        return copying(component).reader(self.config.settings)

    def room(self) -> Path:
        return volumes.home(self.config.instance)

    def needs(self, sizes: Mapping[str, int], room: Path | None) -> Sequence[Need]:
        if room is None:
            return ()
        shared = shares_blocks(self.room(), room)
        running = self.running() if shared else ()
        whole = (name for name in sizes if not (shared and copying(name).copies_files(running=name in running)))
        return [Need(room, sum(sizes[name] for name in whole))]

    def copied(self) -> int:
        return sum(size_of(place, within=SIZE_SECONDS) or 0 for place in self._written)

    def save(self, components: Sequence[str], unfinished: Unfinished) -> Sequence[Part]:
        running = self.running()

        def save(component: str, copied: Callable[[], None]) -> Part:
            return self._save(component, unfinished, copied, running=component in running)

        return map_in_turn(save, components)

    def _save(self, component: str, unfinished: Unfinished, copied: Callable[[], None], *, running: bool) -> Part:
        how, place = copying(component), unfinished.place / component
        self._written.append(place)
        self.copy(component, place, unfinished.lock, running=running)
        copied()
        how.check(self.config, place, unfinished.lock)
        content = tree.write_checksums(unfinished.place, component)
        return Part.of(component, how.server(place), content, how.names(self.config))

    def load(self, component: str, place: Path, part: Part, what: str) -> None:
        tree.verify(place, part, what)
        target, _ = self._prepare(component)
        tree.copy(place / component, target)
        copying(component).take_over(self.config, target, part.facts)

    def clone(self, components: Sequence[str], source: Copies) -> None:
        if not isinstance(source, NativeCopies):
            raise TypeError(source)
        running = source.running()

        def clone(component: str, copied: Callable[[], None]) -> None:
            self._clone(component, source, copied, running=component in running)

        map_in_turn(clone, components)

    def _clone(self, component: str, source: NativeCopies, copied: Callable[[], None], *, running: bool) -> None:
        how = copying(component)
        target, lock = self._prepare(component)
        source.copy(component, target, lock, running=running)
        copied()
        how.check(source.config, target, lock)
        how.take_over(self.config, target, how.names(source.config))

    @contextmanager
    def swapping(self) -> Iterator[Swap]:
        with ExitStack() as held:
            for each in EmbeddedBackend(self.config).components():
                if each.name in self._prepared:
                    held.enter_context(each.held(os.path.lexists(each.directory)))
            yield Swap(self._run, tuple(map(self.config.instance.volume, self._prepared)))
        self._prepared.clear()

    def discard(self) -> None:
        self._locks.close()
        replacing.settle(self.config.instance)

    def _prepare(self, component: str) -> tuple[Path, int]:
        """Return where the data of a new volume is to be, and the lock of that volume."""
        place = replacing.prepared(self.config.instance, component, self._run)
        working = place / volumes.FILES
        lock = self._locks.enter_context(flock.hold(volumes.lock_of(working)))
        volumes.label(self.config.instance, component, place)
        self._prepared.append(component)
        target = copying(component).place(working)
        private_dir(target.parent)
        self._written.append(target)
        return target, lock

    def copy(self, component: str, target: Path, lock: int, *, running: bool) -> None:
        """Copy a component's data; while no server has it, none can start."""
        instance = self.config.instance
        if not volumes.working_dir(instance, component).exists():
            raise NotFoundError(f"{instance} has no data of {component}", hint="inv infra.up makes it")
        with kind(component).native(self.config).held(not running):
            copying(component).copy(self.config, target, lock, running=running)
