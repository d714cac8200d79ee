"""The Docker backend of one instance."""

from __future__ import annotations

from functools import cached_property, partial
from typing import TYPE_CHECKING

from orienter_tasks.backends.clients.postgres import ensure_database
from orienter_tasks.backends.clients.s3 import ensure_bucket
from orienter_tasks.backends.docker import labels, lookup, placement, proxy, spec, survey
from orienter_tasks.backends.docker.container import ContainerComponent
from orienter_tasks.backends.docker.engine import shared
from orienter_tasks.backends.docker.resources import Resources, remove_volume
from orienter_tasks.backends.nginx.configuration import MAIN, config_dir
from orienter_tasks.backends.nginx.health import probe
from orienter_tasks.backends.protocol import Holding, NginxFacts, Standing
from orienter_tasks.errors import NotFoundError
from orienter_tasks.machine.ports import LOOPBACK
from orienter_tasks.settings import catalog

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from orienter_tasks.backends.docker.engine import Engine
    from orienter_tasks.backends.docker.placement import Placement
    from orienter_tasks.backends.docker.spec import ContainerSpec
    from orienter_tasks.backends.protocol import InstanceConfig
    from orienter_tasks.settings.model import BackendName
    from orienter_tasks.stack.component import Component

RUNTIME = "/tmp"  # noqa: S108 - within the container
MIME_TYPES = "/etc/nginx/mime.types"
WORKER = "nginx"


class DockerBackend:
    """PostgreSQL, MinIO and nginx of an instance in containers.

    Args:
        config: the instance.
        engine: the Docker engine; None: the one that is current.
    """

    def __init__(self, config: InstanceConfig, engine: Engine | None = None) -> None:
        self._config = config
        self._engine = engine or shared()
        self._resources = Resources(config, self._engine)

    @property
    def name(self) -> BackendName:
        """Which backend this is."""
        return "docker"

    @cached_property
    def service_host(self) -> str:
        """The address on which the host's services must listen for nginx to reach them."""
        return placement.service_host(self._engine, self._config.settings.nginx.network)

    def components(self) -> Sequence[Component]:
        """The components postgres, minio and nginx; asks the engine nothing."""
        make = partial(ContainerComponent, self._config, self._engine, self._resources)
        return (
            make("postgres", partial(spec.postgres, self._config), ensure_database),
            make("minio", partial(spec.minio, self._config), ensure_bucket),
            make("nginx", self._nginx_to_start, probe),
        )

    def nginx_facts(self) -> NginxFacts:
        """What the nginx templates need to know."""
        place = self._placement
        port = self._config.instance.ports["nginx"]
        return NginxFacts(
            listen=f"{LOOPBACK}:{port}" if place.on_host else str(spec.BRIDGED_PORT),
            upstream=place.upstream,
            runtime=RUNTIME,
            mime_types=MIME_TYPES,
            user=WORKER,
        )

    def check_nginx(self, directory: Path) -> str:
        """Let the real nginx test the `nginx.conf` in DATA_DIR/nginx or a directory below it."""
        return proxy.check(self._config, self._engine, self._resources, self._nginx, directory)

    def reload_nginx(self) -> bool:
        """Make a running nginx read its configuration again; False when it does not run."""
        return proxy.reload(self._config, self._engine)

    def standings(self) -> Sequence[Standing]:
        """What each component is doing, read from reality."""
        return [self._standing(component) for component in catalog.names()]

    def foreign(self) -> Sequence[str]:
        """Name containers, volumes and networks that have this instance's names but are not its own."""
        instance = self._config.instance
        names = {
            *(("container", instance.container(component)) for component in catalog.names()),
            *(("volume", instance.volume(component)) for component in catalog.with_data()),
            ("network", instance.network),
        }
        return [
            f"{kind} {name} ({labels.owner(found)})"
            for kind, name, found in survey.taken_names(self._engine)
            if (kind, name) in names and not labels.is_ours(found, self._config)
        ]

    def ports_held(self) -> Mapping[int, str]:
        """Ports that this instance's own components listen on now, with the component's name."""
        instance = self._config.instance
        held: dict[int, str] = {}
        for found in survey.containers(self._engine, project=instance.project, instance=str(instance.id)):
            if found.state in survey.HOLDING and found.root in instance.roots:
                ports = (instance.ports["nginx"],) if found.on_host and found.component == "nginx" else found.ports
                held.update(dict.fromkeys(ports, found.component))
        return held

    def holdings(self, *, sizes: bool = False) -> Sequence[Holding]:
        """The volumes of this instance.

        Args:
            sizes: ask for their sizes too: the engine counts files for that, at most five seconds long.
        """
        names = self._resources.volumes()
        known = self._resources.sizes() if sizes and names else {}
        return [Holding(name, known.get(name)) for name in names]

    def remove_data(self) -> Sequence[str]:
        """Remove this instance's own volumes and return their names; its components must be stopped."""
        names = self._resources.volumes()
        for name in names:
            remove_volume(self._engine, name, remedy="stop it first: inv infra.down")
        return names

    def remove_network(self) -> bool:
        """Remove this instance's network when no container uses it; say whether it went."""
        return self._resources.remove_network()

    @cached_property
    def _placement(self) -> Placement:
        return placement.of(self._engine, self._config.settings.nginx.network)

    @property
    def _nginx(self) -> ContainerSpec:
        return spec.nginx(self._config, self._placement)

    def _nginx_to_start(self) -> ContainerSpec:
        """Describe nginx once it has a configuration: Docker would make the missing directory itself, as root."""
        instance = self._config.instance
        if not (config_dir(instance) / MAIN).is_file():
            raise NotFoundError(f"nginx of {instance} has no configuration yet", hint="run: inv nginx.render")
        return self._nginx

    def _standing(self, component: str) -> Standing:
        name = self._config.instance.container(component)
        found = lookup.own_container(self._engine, self._config, name)
        if found is None:
            return Standing(component, running=False, detail="no container", started_at=None)
        state = found["State"]
        running = state["Status"] == survey.RUNNING
        ended = f" with code {state['ExitCode']}" if state["Status"] == "exited" else ""
        return Standing(
            component,
            running=running,
            detail=f"container {name} {state['Status']}{ended}",
            started_at=survey.moment(state["StartedAt"]) if running else None,
        )
