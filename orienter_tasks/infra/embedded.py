"""The embedded backend of one instance: its components, or those that are here, as native processes."""

from __future__ import annotations

import os
import time
from contextlib import ExitStack
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

from orienter_tasks.backends.protocol import DataVolume
from orienter_tasks.errors import ConflictError
from orienter_tasks.identity import volumes
from orienter_tasks.infra.all import component
from orienter_tasks.instance.backends import Backends
from orienter_tasks.machine.directories import remove, size_of
from orienter_tasks.machine.flock import POLL_SECONDS
from orienter_tasks.machine.ports import LOOPBACK
from orienter_tasks.processes import census
from orienter_tasks.processes.listeners import listening_ports
from orienter_tasks.settings import catalog
from orienter_tasks.stack.component import ComponentStatus
from orienter_tasks.stack.native import NativeScan

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

    from orienter_tasks.backends.embedded.component import NativeComponent
    from orienter_tasks.backends.protocol import InstanceConfig, NginxFacts
    from orienter_tasks.infra.nginx import NativeNginx
    from orienter_tasks.processes.census import Census
    from orienter_tasks.settings.model import Settings

SIZE_SECONDS = 0.5
ALONE = Backends("embedded")


def missing(settings: Settings, names: Iterable[str]) -> list[str]:
    """Name those of the components whose programs are not installed, without running any."""
    return [name for name in names if not component(name).installed(settings)]


class _Kept(NamedTuple):
    """A volume's name and place, and the component whose data it has."""

    name: str
    path: Path
    component: str


class EmbeddedBackend:
    """The backend that needs no Docker; it has the components that `backends` says."""

    service_host = LOOPBACK

    def __init__(self, config: InstanceConfig, backends: Backends = ALONE) -> None:
        self.backends = backends
        self._config = config

    @cached_property
    def _components(self) -> Sequence[NativeComponent]:
        return [component(name).native(self._config) for name in self._names]

    @cached_property
    def _dropped(self) -> Sequence[NativeComponent]:
        names = [name for name in catalog.names() if self._has(name) and name not in self._names]
        return [component(name).native(self._config) for name in names]

    @property
    def _names(self) -> list[str]:
        return [name for name in self._config.instance.infra if self._has(name)]

    def _has(self, component: str) -> bool:
        return self.backends.of(component) == "embedded"

    def components(self) -> Sequence[NativeComponent]:
        return self._components

    def dropped(self, seen: Iterable[str]) -> Sequence[NativeComponent]:
        del seen  # what the catalog does not know is stopped as a service
        return self._dropped

    def nginx_facts(self) -> NginxFacts:
        return self._nginx.facts()

    def check_nginx(self, directory: Path) -> str:
        return self._nginx.check(directory)

    def reload_nginx(self) -> bool:
        return self._nginx.reload()

    def status(self, seen: Census | None = None) -> Sequence[ComponentStatus]:
        native = NativeScan(self._config.instance, seen=seen)
        return [
            native.component(name) or ComponentStatus(name, "process", running=False, what=f"{name} does not run")
            for name in self._names
        ] + [status for each in self._dropped if (status := native.component(each.name)) is not None and status.up]

    def name_conflicts(self) -> Sequence[str]:
        """Nothing: volumes are the checkout's by its token, and DATA_DIR lies in it."""
        return ()

    def bound_ports(self, seen: Census | None = None) -> Mapping[int, str]:
        members = (seen or census.take()).by_component(self._config.instance)
        servers = [(name, each) for process, each in members.items() if (name := catalog.component_of(process))]
        return {port: name for name, each in servers for port in listening_ports(process.pid for process in each)}

    def data_volumes(self, *, sizes: bool = False) -> Sequence[DataVolume]:  # noqa: ARG002 - always measured
        return self._present([*self._volumes, *self._former])

    def generations(self, components: Sequence[str]) -> Mapping[str, str]:
        return {name: volumes.generation(self._config.instance, name) for name in components}

    def data_bound_to_id(self) -> Sequence[DataVolume]:
        return self._present(self._former)

    def remove_data(self) -> Sequence[str]:
        """Remove the volumes; of a symbolic link only the link, not its target."""
        running = [status.name for status in self.status() if status.up]
        if running:
            raise ConflictError(
                f"{', '.join(running)} of {self._config.instance} still runs", hint="stop it first: inv infra.down"
            )
        from orienter_tasks.backends.embedded.component import held

        with ExitStack() as stack:
            for each in (*self._components, *self._dropped):
                stack.enter_context(each.held(os.path.lexists(each.directory)))
            for name, path, _ in self._unknown:
                stack.enter_context(held(self._config.instance, name, path / volumes.FILES))
            removed = [name for name, path, _ in (*self._volumes, *self._former) if remove(path)]
        volumes.forget(volumes.home(self._config.instance))
        return removed

    def require_seen(self, take: Callable[[], Census] | None = None) -> None:
        from orienter_tasks.backends.embedded.component import in_use
        from orienter_tasks.backends.embedded.server import LEFTOVER_SECONDS

        instance, deadline = self._config.instance, time.monotonic() + LEFTOVER_SECONDS
        while unseen := self._unseen(take or census.take):
            if time.monotonic() > deadline:
                raise in_use(instance, *unseen)
            take = None
            time.sleep(POLL_SECONDS)  # a process that ends gives up its locks after what shows whose it is

    def _unseen(self, take: Callable[[], Census]) -> tuple[str, str] | None:
        """Return a component whose lock is held although no process of it is seen, and what holds it."""
        instance = self._config.instance
        users = {each.name: volumes.user_of(instance, each.name) for each in (*self._components, *self._dropped)}
        ours = take().by_component(instance) if any(users.values()) else {}
        return next(((name, user) for name, user in users.items() if user and name not in ours), None)

    def _present(self, data: Sequence[_Kept]) -> Sequence[DataVolume]:
        there = [each for each in data if os.path.lexists(each.path)]
        return [DataVolume(each.name, size_of(each.path, within=SIZE_SECONDS), each.component) for each in there]

    @property
    def _volumes(self) -> list[_Kept]:
        found = [(each.name, each.volume) for each in (*self._components, *self._dropped)]
        known = [_Kept(self._config.instance.volume(name), path, name) for name, path in found if path is not None]
        return [*known, *self._unknown]

    @property
    def _unknown(self) -> list[_Kept]:
        """Likewise those of servers that earlier settings have added."""
        end = f"-data-{self._config.instance.id}"
        found = [path for name, path in volumes.present(self._config.instance) if not name]
        start = self._config.instance.volume("").removesuffix(end)
        names = {path.name.removesuffix(end).removeprefix(start): path for path in found if path.name.endswith(end)}
        return [_Kept(path.name, path, name) for name, path in names.items()]

    @property
    def _former(self) -> list[_Kept]:
        """Likewise what versions before this one kept in the checkout."""
        names = [each.name for each in (*self._components, *self._dropped) if each.volume is not None]
        found = [(volumes.former_dir(self._config.instance, name), name) for name in names]
        return [_Kept(str(path), path, name) for path, name in found]

    @property
    def _nginx(self) -> NativeNginx:
        from orienter_tasks.infra.nginx import NativeNginx

        return next(each for each in self._components if isinstance(each, NativeNginx))
