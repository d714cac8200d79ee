"""When somebody last used an instance: a request through nginx, a client of its servers and services, or a lease.

Connections of its own processes do not count, nor do those to nginx: pages keep them open on their own, and what they
ask for is noted. A page may also be connected to a service directly, such as by a websocket: there, it counts when the
service last was asked and answered. A server is in use as long as a client is connected.
"""

from __future__ import annotations

import time
from collections import Counter
from functools import cached_property
from typing import TYPE_CHECKING

from orienter_tasks.backends.nginx import requests
from orienter_tasks.errors import NotFoundError, OrienterError
from orienter_tasks.instance.used import touched
from orienter_tasks.observe.model import Use
from orienter_tasks.processes.clients import Connections
from orienter_tasks.services import lease
from orienter_tasks.settings import catalog

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from orienter_tasks.backends.docker.survey import DockerResource
    from orienter_tasks.observe.model import ObservedInstance
    from orienter_tasks.processes.sockets import Sockets
    from orienter_tasks.services.lease import Lease


class Users:
    """What is known of all users of instances at one moment."""

    def __init__(self, seen: Sockets) -> None:
        self._connections = Connections(seen)

    def use_of(
        self, found: ObservedInstance, containers: Sequence[DockerResource], pids: Callable[[], Iterable[int]]
    ) -> Use:
        """Say when an instance was used.

        Args:
            found: what else was found of it.
            containers: those of its containers that run.
            pids: returns its native processes.
        """
        up = [each for each in found.components if each.up]
        at = max(found.used_at, touched(found.instance), *(each.started_at or 0.0 for each in up))
        if found.state in ("unknown", "conflict", "orphaned"):
            return Use(at, unknown=f"its state is {found.state}")
        if not up:
            return Use(at)
        now = Counter[str]()
        for name, silent in self._clients(found, pids):
            if silent is None:
                now[f"connected to {name}"] += 1
            else:
                at = max(at, time.time() - silent)
        try:
            at = max(at, _requested(found, containers))
            now.update(_programs(containers))
        except OrienterError as error:
            return Use(at, unknown=str(error))
        now.update(f"has the lease {name}" for name in self._leases(found))
        return Use(min(at, time.time()), [text if many == 1 else f"{text} ({many})" for text, many in now.items()])

    def _clients(
        self, found: ObservedInstance, pids: Callable[[], Iterable[int]]
    ) -> Iterator[tuple[str, float | None]]:
        """Name what clients are connected to, and for how long they were silent, if that counts."""
        ports = {port: name for name, port in found.instance.ports.items() if name not in catalog.NGINX.ports}
        for client in self._connections.from_outside(ports, pids):
            name = ports[client.port]
            component = catalog.component_of_port(name)
            yield component or name, None if component else client.silent

    def _leases(self, found: ObservedInstance) -> list[str]:
        holders = self._held.items()
        return [name for name, each in holders if each.instance == found.instance.id and each.root in found.claim.roots]

    @cached_property
    def _held(self) -> Mapping[str, Lease]:
        return lease.held()


def _requested(found: ObservedInstance, containers: Sequence[DockerResource]) -> float:
    """Return when nginx was last asked for something, at the latest; 0 if it does not run.

    Raises:
        OrienterError: that is not known.
    """
    name = catalog.NGINX.name
    if not any(each.name == name and each.up for each in found.components):
        return 0.0
    container = next((each for each in containers if each.component == name), None)
    noted = None
    if requests.are_noted(found.instance):
        noted = requests.native(found.instance) if container is None else _in_container(container)
    if noted is None:
        raise NotFoundError("its nginx does not note requests")
    return noted


def _in_container(container: DockerResource) -> float | None:
    from orienter_tasks.backends.docker import engine, survey

    file = survey.file_in(engine.shared(), container.id, requests.IN_CONTAINER)
    modified = survey.moment(str(file["mtime"]))
    return None if modified is None else requests.latest(modified, int(file["size"]))


def _programs(containers: Sequence[DockerResource]) -> Iterator[str]:
    """Name what somebody runs in containers that keep data, such as psql: no connection shows that."""
    data = catalog.with_data()
    for each in containers:
        if each.component in data:
            from orienter_tasks.backends.docker import engine, survey

            yield from (f"runs {name} in {each.name}" for name in survey.programs_in(engine.shared(), each.id))
