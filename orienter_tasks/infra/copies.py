"""The copies of an instance's data: of its servers, by its backend, and of the files of `data.paths`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orienter_tasks.data import files, tree
from orienter_tasks.data.files import PATHS
from orienter_tasks.data.manifest import Part
from orienter_tasks.identity import replacing
from orienter_tasks.identity.claims import new_token
from orienter_tasks.identity.replacing import Files, Swap

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from orienter_tasks.backends.protocol import InstanceConfig
    from orienter_tasks.data.store import Unfinished
    from orienter_tasks.infra.copying import Copies


class InstanceCopies:
    """The copies of one instance's data; `servers` copies that of the components."""

    def __init__(self, config: InstanceConfig, servers: Copies) -> None:
        self.config = config
        self.servers = servers
        self._run = new_token()
        self._prepared = False

    def running(self) -> Sequence[str]:
        return self.servers.running()

    def save(self, components: Sequence[str], unfinished: Unfinished) -> Sequence[Part]:
        before, own, after = _split(components)
        parts = [*self.servers.save(before, unfinished)] if before else []
        if own:
            self.copy_files(unfinished.place / PATHS)
            parts.append(files_part(unfinished.place))
        return [*parts, *(self.servers.save(after, unfinished) if after else ())]

    def load(self, component: str, place: Path, part: Part, what: str) -> None:
        if component != PATHS:
            self.servers.load(component, place, part, what)
            return
        tree.verify(place, part, what)
        files.copy(place / PATHS, self._paths, self._prepare(), live=False)

    def clone(self, components: Sequence[str], source: Copies) -> None:
        if not isinstance(source, InstanceCopies):
            raise TypeError(source)
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
        return replacing.prepared_files(self.config.instance, self._run)

    def _files(self) -> Files:
        base, prepared = self.config.instance.data_dir, replacing.prepared_files(self.config.instance, self._run)
        former = files.with_beside(base, files.matches(base, self._paths))
        return Files(self._run, tuple(former), tuple(files.matches(prepared, self._paths)))


def files_part(place: Path) -> Part:
    """Return what a snapshot says of the files of `data.paths`, which are in it."""
    content = tree.write_checksums(place, PATHS)
    return Part(component=PATHS, server="files", size=content.size, files=content.files, digest=content.digest)


def copies_of(backend: str, config: InstanceConfig) -> InstanceCopies:
    if backend == "docker":
        from orienter_tasks.infra.container_copies import ContainerCopies

        return InstanceCopies(config, ContainerCopies(config))
    from orienter_tasks.infra.native_copies import NativeCopies

    return InstanceCopies(config, NativeCopies(config))


def _split(components: Sequence[str]) -> tuple[Sequence[str], bool, Sequence[str]]:
    """Return the components before and after the files of `data.paths`, and whether these are among them."""
    if PATHS not in components:
        return components, False, ()
    at = components.index(PATHS)
    return components[:at], True, components[at + 1 :]
