"""The copies of an instance's data: of its servers, by its backend, and of the files of `data.paths`."""

from __future__ import annotations

import threading
from contextlib import ExitStack, contextmanager
from itertools import groupby
from typing import TYPE_CHECKING

from orienter_tasks.data import files, tree
from orienter_tasks.data.files import PATHS
from orienter_tasks.data.manifest import Part
from orienter_tasks.data.room import Need, shares_blocks
from orienter_tasks.identity import replacing
from orienter_tasks.identity.claims import new_token
from orienter_tasks.identity.replacing import Files, Swap
from orienter_tasks.infra.all import copying
from orienter_tasks.machine.directories import size_of
from orienter_tasks.machine.state import snapshot_dir
from orienter_tasks.machine.threads import map_in_turn
from orienter_tasks.settings import catalog

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from orienter_tasks.backends.protocol import InstanceConfig
    from orienter_tasks.data.manifest import Manifest
    from orienter_tasks.data.store import Unfinished
    from orienter_tasks.infra.copying import Copies
    from orienter_tasks.instance.backends import Backends
    from orienter_tasks.settings.model import Settings


class ServerCopies:
    """The copies of the data of one instance's components, each by its backend; see `Copies`."""

    def __init__(self, backends: Backends, config: InstanceConfig) -> None:
        self.backends = backends
        self._config = config
        self._made: dict[str, Copies] = {}
        self._making = threading.Lock()

    def of(self, component: str) -> Copies:
        return self._on(self.backends.of(component))

    def running(self) -> Sequence[str]:
        return [name for copies in self._all() for name in copies.running() if self.of(name) is copies]

    def get_ready(self) -> None:
        for copies in self._all():
            copies.get_ready()

    def sizes(self, components: Sequence[str]) -> Mapping[str, int]:
        return {name: size for copies, names in self._runs(components) for name, size in copies.sizes(names).items()}

    def needs(self, sizes: Mapping[str, int], room: Callable[[str], Path | None]) -> Sequence[Need]:
        """Return what a copy of data of these sizes needs; `room` returns where that of a component goes."""
        return [need for name, size in sizes.items() for need in self.of(name).needs({name: size}, room(name))]

    def room(self, component: str) -> Path | None:
        return self.of(component).room()

    def copied(self) -> int:
        return sum(copies.copied() for copies in self._made.values())

    def save(self, components: Sequence[str], unfinished: Unfinished) -> Sequence[Part]:
        return [part for copies, names in self._runs(components) for part in copies.save(names, unfinished)]

    def load(self, component: str, place: Path, part: Part, what: str) -> None:
        self.of(component).load(component, place, part, what)

    def clone(self, components: Sequence[str], source: ServerCopies) -> None:
        """Prepare the data of components from that of another instance that has them on the same backends."""
        for copies, names in self._runs(components):
            copies.clone(names, source.of(names[0]))

    def swap(self, files: Files | None = None) -> None:
        """Put what was prepared, and these files, in place of the present data; nothing of the instance may run."""
        with ExitStack() as stack:
            found = [stack.enter_context(copies.swapping()) for copies in self._made.values()]
            runs = [each.run for each in found if each.run]
            decided = Swap(
                run=next(iter(runs), ""),
                volumes=tuple(name for each in found for name in each.volumes),
                directories={name: place for each in found for name, place in each.directories.items()},
                files=files,
            )
            replacing.swap(self._config.instance, decided)

    def discard(self) -> None:
        for copies in self._made.values():
            copies.discard()

    def _all(self) -> list[Copies]:
        names = [name for name in catalog.with_data() if name in self._config.instance.infra]
        return [self._on(backend) for backend in dict.fromkeys(map(self.backends.of, names))]

    def _runs(self, components: Sequence[str]) -> list[tuple[Copies, list[str]]]:
        """Split components where the backend changes: each is copied after those before it."""
        return [(self._on(backend), [*names]) for backend, names in groupby(components, self.backends.of)]

    def _on(self, backend: str) -> Copies:
        with self._making:  # components are loaded in threads: what a second object has prepared would be lost
            if backend not in self._made:
                self._made[backend] = self._make(backend)
            return self._made[backend]

    def _make(self, backend: str) -> Copies:
        if backend == "docker":
            from orienter_tasks.infra.container_copies import ContainerCopies

            return ContainerCopies(self._config)
        from orienter_tasks.infra.native_copies import NativeCopies

        return NativeCopies(self._config)


class InstanceCopies:
    """The copies of one instance's data; `servers` copies that of the components."""

    def __init__(self, backends: Backends, config: InstanceConfig) -> None:
        self.config = config
        self.servers = ServerCopies(backends, config)
        self._run = new_token()
        self._prepared = False
        self._written: list[Path] = []
        self._open: list[Callable[[], int]] = []
        self._done = 0

    def running(self) -> Sequence[str]:
        return self.servers.running()

    def sizes(self, components: Sequence[str]) -> Mapping[str, int]:
        """Return the bytes of the present data of components, of those that are known quickly."""
        servers = [name for name in components if name != PATHS]
        found = {**self.servers.sizes(servers)} if servers else {}
        if PATHS in components:
            found[PATHS] = files.measure(self.config.instance.data_dir, self._paths).size
        return found

    def needs(self, sizes: Mapping[str, int], target: InstanceCopies | None = None) -> Sequence[Need]:
        """Return what a copy of data of these sizes needs, for another instance or as a snapshot."""
        servers = {name: size for name, size in sizes.items() if name != PATHS}
        found = [*self.servers.needs(servers, target.servers.room if target else lambda _: snapshot_dir())]
        base = self.config.instance.data_dir
        return [*found, *_files_need(sizes, base, target.config.instance.data_dir if target else snapshot_dir())]

    def needs_to_load(self, sizes: Mapping[str, int], place: Path) -> Sequence[Need]:
        """Return what it needs to prepare data of these sizes from a snapshot."""
        rooms = {name: self.servers.room(name) for name in sizes if name != PATHS}
        shared = {room: shares_blocks(place, room) for room in {*rooms.values()} if room is not None}
        found = [Need(room, sizes[name]) for name, room in rooms.items() if room is not None and not shared[room]]
        return [*found, *_files_need(sizes, place, self.config.instance.data_dir)]

    def copied(self) -> int:
        """Return how many bytes have been written so far."""
        found = sum(size_of(place) or 0 for place in self._written) + sum(position() for position in self._open)
        return self.servers.copied() + found + self._done

    @contextmanager
    def counting(self, position: Callable[[], int]) -> Iterator[None]:
        """Count the bytes of a file that is written or read meanwhile, too."""
        self._open.append(position)
        try:
            yield
        finally:
            self._done += position()
            self._open.remove(position)

    def save(self, components: Sequence[str], unfinished: Unfinished) -> Sequence[Part]:
        before, own, after = _split(components)
        parts = [*self.servers.save(before, unfinished)] if before else []
        if own:
            self._written.append(unfinished.place / PATHS)
            self.copy_files(unfinished.place / PATHS)
            parts.append(files_part(unfinished.place))
        return [*parts, *(self.servers.save(after, unfinished) if after else ())]

    def load(self, component: str, place: Path, part: Part, what: str) -> None:
        if component != PATHS:
            self.servers.load(component, place, part, what)
            return
        tree.verify(place, part, what)
        files.copy(place / PATHS, self._paths, self._prepare(), live=False)

    def load_all(self, components: Sequence[str], place: Path, manifest: Manifest, what: str) -> None:
        """Prepare the data of components from that of a snapshot."""

        def load(component: str, go_on: Callable[[], None]) -> None:
            go_on()
            self.load(component, place, manifest.by_component[component], what)

        map_in_turn(load, components)

    def clone(self, components: Sequence[str], source: InstanceCopies) -> None:
        before, own, after = _split(components)
        if before:
            self.servers.clone(before, source.servers)
        if own:
            source.copy_files(self._prepare())
        if after:
            self.servers.clone(after, source.servers)

    def swap(self, files: Files | None = None) -> None:
        self.servers.swap(self._files() if self._prepared else files)
        self._prepared = False

    def discard(self) -> None:
        self.servers.discard()
        replacing.settle(self.config.instance)

    def remove_files(self) -> None:
        """Remove the files of `data.paths`, as the volumes' data is removed."""
        if self._paths:
            replacing.swap(self.config.instance, Swap(files=self._files()))

    @property
    def _paths(self) -> Sequence[str]:
        return self.config.settings.data.paths

    def copy_files(self, target: Path) -> None:
        """Copy the files of `data.paths` into a new directory."""
        files.copy(self.config.instance.data_dir, self._paths, target, live=True)

    def _prepare(self) -> Path:
        self._prepared = True
        self._written.append(replacing.prepared_files(self.config.instance, self._run))
        return self._written[-1]

    def _files(self) -> Files:
        base, prepared = self.config.instance.data_dir, replacing.prepared_files(self.config.instance, self._run)
        former = files.with_beside(base, files.matches(base, self._paths))
        return Files(self._run, tuple(former), tuple(files.matches(prepared, self._paths)))


def _files_need(sizes: Mapping[str, int], source: Path, target: Path) -> list[Need]:
    return [Need(target, sizes[PATHS])] if PATHS in sizes and not shares_blocks(source, target) else []


def files_part(place: Path) -> Part:
    """Return what a snapshot says of the files of `data.paths`, which are in it."""
    return Part.of(PATHS, "files", tree.write_checksums(place, PATHS))


def settings_to_read(backend: str, settings: Settings, component: str, server: str, image: str) -> Settings:
    """Return settings whose server of a component can read what another one has written, if this machine has it."""
    if backend == "docker":
        from orienter_tasks.infra.container_copies import with_image

        return with_image(settings, component, image)
    return copying(component).settings_to_read(settings, server)


def _split(components: Sequence[str]) -> tuple[Sequence[str], bool, Sequence[str]]:
    """Return the components before and after the files of `data.paths`, and whether these are among them."""
    if PATHS not in components:
        return components, False, ()
    at = components.index(PATHS)
    return components[:at], True, components[at + 1 :]
