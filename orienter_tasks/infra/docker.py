"""The Docker backend of one instance: its components, or those that are here, as containers."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from orienter_tasks.backends.docker import placement, survey
from orienter_tasks.backends.docker.container import ContainerComponent
from orienter_tasks.backends.docker.engine import shared
from orienter_tasks.backends.docker.link import LinkComponent
from orienter_tasks.backends.docker.oneoff import hang_up
from orienter_tasks.backends.docker.resources import Resources, remove_volume, volume_sizes
from orienter_tasks.backends.docker.spec import is_ours, owner
from orienter_tasks.backends.protocol import DataVolume, NginxFacts
from orienter_tasks.errors import ConflictError
from orienter_tasks.identity import volumes
from orienter_tasks.infra.all import component
from orienter_tasks.infra.nginx import check_in_docker, facts_in_docker
from orienter_tasks.instance.backends import Backends
from orienter_tasks.settings import catalog
from orienter_tasks.stack.component import ComponentStatus

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

    from orienter_tasks.backends.docker.engine import Engine
    from orienter_tasks.backends.docker.placement import Placement
    from orienter_tasks.backends.docker.spec import ContainerSpec
    from orienter_tasks.backends.protocol import InstanceConfig
    from orienter_tasks.processes.census import Census
    from orienter_tasks.stack.component import Component


ALONE = Backends("docker")


class DockerBackend:
    """The backend that needs an engine, by default the current one; it has the components that `backends` says."""

    def __init__(self, config: InstanceConfig, engine: Engine | None = None, backends: Backends = ALONE) -> None:
        self.backends = backends
        self._config = config
        self._engine = engine or shared()
        self._resources = Resources(config, self._engine)

    @cached_property
    def service_host(self) -> str:
        return placement.service_host(self._engine, self._config.settings.nginx.network)

    def components(self) -> Sequence[Component]:
        """Return its components, without contacting the engine."""
        return [*self._link, *(self._component(name) for name in self._names)]

    @cached_property
    def _link(self) -> Sequence[LinkComponent]:
        """What reaches an engine on another machine."""
        if not self._engine.endpoint.is_remote:
            return ()
        ports = [self._config.instance.ports[port] for name in self._names for port in catalog.entry_of(name).ports]
        return [LinkComponent(self._config, self._engine, ports)]

    def dropped(self, seen: Iterable[str]) -> Sequence[ContainerComponent]:
        known = dict.fromkeys((*catalog.names(), *seen))
        return [self._component(name) for name in known if self._has(name) and name not in self._names]

    def nginx_facts(self) -> NginxFacts:
        return facts_in_docker(self._config, self._placement)

    def check_nginx(self, directory: Path) -> str:
        return check_in_docker(self._config, self._engine, self._resources, self._describe("nginx"), directory)

    def reload_nginx(self) -> bool:
        return hang_up(self._engine, self._config, "nginx")

    def status(self, seen: Census | None = None) -> Sequence[ComponentStatus]:
        """Return the state of each component, from one listing of all containers."""
        del seen
        instance = self._config.instance
        ours = [each for each in survey.containers_of(self._engine, instance) if survey.is_component_of(each, instance)]
        found = {each.component: survey.status_of(each) for each in ours if self._has(each.component)}
        return [
            found.get(name) or ComponentStatus(name, "container", running=False, what="no container")
            for name in dict.fromkeys((*catalog.names(), *found))
            if name in self._names or name in found
        ]

    def name_conflicts(self) -> Sequence[str]:
        instance = self._config.instance
        names = {
            *(("container", instance.container(name)) for name in self._names),
            *(("volume", instance.volume(name)) for name in catalog.with_data() if name in self._names),
            ("network", instance.network),
        }
        return [
            f"{kind} {name} ({owner(found)})"
            for kind, name, found in self._taken
            if (kind, name) in names and not is_ours(found, self._config)
        ]

    def bound_ports(self, seen: Census | None = None) -> Mapping[int, str]:
        del seen
        if self._link:
            return {}  # here, only that process listens
        held: dict[int, str] = {}
        for found in survey.containers_of(self._engine, self._config.instance):
            starting = found.state == survey.CREATED  # perhaps: for a run that was killed, and the engine goes on
            if starting or found.state in survey.HOLDING:
                planned = self._config.instance.ports.items()
                own = [port for name, port in planned if catalog.component_of_port(name) == found.component]
                held.update(dict.fromkeys(own if starting or found.on_host else found.ports, found.component))
        return held

    def data_volumes(self, *, sizes: bool = False) -> Sequence[DataVolume]:
        """Return the volumes of this instance; for `sizes` the engine counts files, for up to five seconds."""
        own = self._volumes()
        known = volume_sizes(self._engine) if sizes and own else {}
        return [DataVolume(name, known.get(name), component) for name, component in own.items()]

    def generations(self, components: Sequence[str]) -> Mapping[str, str]:
        return {name: self._resources.generation(name) for name in components}

    def data_bound_to_id(self) -> Sequence[DataVolume]:
        return self.data_volumes()

    def require_seen(self, take: Callable[[], Census] | None = None) -> None:
        """Require that no other engine has the data: on this one, a start would begin without it."""
        del take
        instance, engine = self._config.instance, self._engine
        elsewhere = survey.data_elsewhere(engine, instance)
        if elsewhere is not None:
            raise ConflictError(
                f"{instance} has its data on another Docker engine ({elsewhere.endpoint}), not on {engine.endpoint}",
                hint=f"choose it (DOCKER_HOST, docker context), or give it up: inv cleanup.instance {instance.id}",
            )

    def remove_data(self) -> Sequence[str]:
        names = list(self._volumes())
        for name in names:
            remove_volume(self._engine, name, remedy="stop it first: inv infra.down")
        volumes.forget_engine(self._config.instance)
        return names

    def remove_network(self) -> bool:
        return self._resources.remove_network()

    @property
    def _names(self) -> list[str]:
        return [name for name in self._config.instance.infra if self._has(name)]

    def _has(self, component: str) -> bool:
        return self.backends.of(component) == "docker"

    def _volumes(self) -> dict[str, str]:
        return {name: each for name, each in self._resources.volumes().items() if self._has(each)}

    @cached_property
    def _taken(self) -> Sequence[tuple[str, str, Mapping[str, str]]]:
        """Kind, name and labels of everything that was on the engine when this was first asked."""
        return list(survey.taken_names(self._engine))

    @cached_property
    def _placement(self) -> Placement:
        return placement.of(self._engine, self._config.settings.nginx.network)

    def _component(self, name: str) -> ContainerComponent:
        kind = component(name)

        def describe() -> ContainerSpec:
            kind.require_startable(self._config)
            return self._describe(name)

        return ContainerComponent(self._config, self._engine, self._resources, name, describe, kind.ready, kind.explain)

    def _describe(self, name: str) -> ContainerSpec:
        return component(name).container(self._config, lambda: self._placement)
