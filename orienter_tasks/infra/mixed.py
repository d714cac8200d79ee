"""An instance of which some components are on Docker and the others embedded: each backend has its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orienter_tasks.infra.docker import DockerBackend
from orienter_tasks.infra.embedded import EmbeddedBackend
from orienter_tasks.settings import catalog
from orienter_tasks.settings.catalog import NGINX

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

    from orienter_tasks.backends.protocol import Backend, DataVolume, InstanceConfig, NginxFacts
    from orienter_tasks.instance.backends import Backends
    from orienter_tasks.processes.census import Census
    from orienter_tasks.stack.component import Component, ComponentStatus


class MixedBackend:
    """Both backends of an instance, each with its components."""

    def __init__(self, config: InstanceConfig, backends: Backends) -> None:
        self.backends = backends
        self._embedded: Backend = EmbeddedBackend(config, backends)
        self._docker: Backend = DockerBackend(config, backends=backends)
        self._parts = (self._embedded, self._docker)  # what can be known at once comes first

    @property
    def service_host(self) -> str:
        return self._of(NGINX.name).service_host

    def components(self) -> Sequence[Component]:
        return sorted((each for part in self._parts for each in part.components()), key=lambda each: _place(each.name))

    def dropped(self, seen: Iterable[str]) -> Sequence[Component]:
        names = [*seen]
        return [each for part in self._parts for each in part.dropped(names)]

    def nginx_facts(self) -> NginxFacts:
        return self._of(NGINX.name).nginx_facts()

    def check_nginx(self, directory: Path) -> str:
        return self._of(NGINX.name).check_nginx(directory)

    def reload_nginx(self) -> bool:
        return self._of(NGINX.name).reload_nginx()

    def status(self, seen: Census | None = None) -> Sequence[ComponentStatus]:
        return sorted((each for part in self._parts for each in part.status(seen)), key=lambda each: _place(each.name))

    def name_conflicts(self) -> Sequence[str]:
        return [each for part in self._parts for each in part.name_conflicts()]

    def bound_ports(self, seen: Census | None = None) -> Mapping[int, str]:
        return {port: name for part in self._parts for port, name in part.bound_ports(seen).items()}

    def data_volumes(self, *, sizes: bool = False) -> Sequence[DataVolume]:
        found = [each for part in self._parts for each in part.data_volumes(sizes=sizes)]
        return sorted(found, key=lambda each: _place(each.component))

    def generations(self, components: Sequence[str]) -> Mapping[str, str]:
        return {name: found for each in components for name, found in self._of(each).generations([each]).items()}

    def data_bound_to_id(self) -> Sequence[DataVolume]:
        return [each for part in self._parts for each in part.data_bound_to_id()]

    def require_seen(self, take: Callable[[], Census] | None = None) -> None:
        for part in self._parts:
            part.require_seen(take)

    def remove_data(self) -> Sequence[str]:
        return [name for part in self._parts for name in part.remove_data()]

    def _of(self, component: str) -> Backend:
        return self._docker if self.backends.of(component) == "docker" else self._embedded


def _place(component: str) -> int:
    """Return where a component stands in lists."""
    names = catalog.names()
    return names.index(component) if component in names else len(names)
