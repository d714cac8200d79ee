"""Everything on this machine's engine with our label, whichever checkout it belongs to.

Three engine calls, however much there is. Always by label, never by name: `orienter-postgres-1` matches `-10` too.
"""

from __future__ import annotations

import re
import time
from contextlib import suppress
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from orienter_tasks.backends.docker.spec import is_ours, owner
from orienter_tasks.errors import NotFoundError
from orienter_tasks.identity.volumes import engine_of
from orienter_tasks.instance.model import LABEL_COMPONENT, LABEL_INSTANCE, LABEL_PROJECT, LABEL_ROOT, LABEL_TOKEN
from orienter_tasks.stack.component import ComponentStatus

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from orienter_tasks.backends.docker.engine import Engine
    from orienter_tasks.backends.protocol import InstanceConfig
    from orienter_tasks.identity.volumes import EngineMark
    from orienter_tasks.instance.model import Instance

Kind = Literal["container", "volume", "network"]
RUNNING = "running"
CREATED = "created"
HOLDING = (RUNNING, "paused", "restarting")
"""The states in which a container keeps its ports."""

MEMORY_FILES = (
    "/sys/fs/cgroup/system.slice/docker-{id}.scope/memory.current",
    "/sys/fs/cgroup/docker/{id}/memory.current",
    "/sys/fs/cgroup/memory/docker/{id}/memory.usage_in_bytes",
    "/sys/fs/cgroup/memory/system.slice/docker-{id}.scope/memory.usage_in_bytes",
)
KEYS = {"project": LABEL_PROJECT, "instance": LABEL_INSTANCE}
CACHE_KEYS = ("inactive_file", "total_inactive_file")

_UP = re.compile(r"Up (?:(\d+)|an?|about an?|less than a) (second|minute|hour|day|week|month|year)", re.IGNORECASE)
_SECONDS = {"second": 1, "minute": 60, "hour": 3600, "day": 86400, "week": 604800, "month": 2592000, "year": 31536000}


class DockerResource(msgspec.Struct, frozen=True):
    """A container, volume or network with our label. Its id is the engine's; a volume's is its name.

    Attributes:
        component: "" for a network.
        state: a container's state, such as `running` or `exited`; else "".
        started_at: when a running container started, in seconds since the epoch and as precisely as a listing shows it.
        ports: the host's ports that it publishes.
        on_host: whether it is on the host's network.
        place: where the engine keeps a volume's files, on the engine's machine.
    """

    kind: Kind
    id: str
    name: str
    project: str
    instance: int
    root: str
    token: str = ""
    component: str = ""
    state: str = ""
    started_at: float | None = None
    ports: tuple[int, ...] = ()
    on_host: bool = False
    place: str = ""

    @property
    def running(self) -> bool:
        return self.state == RUNNING


def read(engine: Engine, **wanted: str) -> tuple[DockerResource, ...]:
    """Read everything with our label; `wanted` narrows it to an exact `project` and `instance`."""
    return (*containers(engine, **wanted), *volumes(engine, **wanted), *networks(engine, **wanted))


def containers(engine: Engine, **wanted: str) -> tuple[DockerResource, ...]:
    found = _listed(engine, all=True, filters=_filters(wanted))
    now = time.time()
    return tuple(_container(entry, whose, now) for entry, whose in _owned(found, wanted))


def containers_of(engine: Engine, instance: Instance) -> list[DockerResource]:
    """Read the containers of an instance, also those of its checkout before it was moved."""
    found = containers(engine, project=instance.project, instance=str(instance.id))
    return [each for each in found if is_of(each, instance)]


def is_of(found: DockerResource, instance: Instance) -> bool:
    """Whether something is an instance's, by its labels."""
    return instance.is_marked_by(project=found.project, instance=found.instance, root=found.root, token=found.token)


def is_component_of(found: DockerResource, instance: Instance) -> bool:
    """Whether a container is a component of an instance, by its labels and exact name."""
    return is_of(found, instance) and found.name == instance.container(found.component)


def status_of(found: DockerResource, *, with_memory: bool = False) -> ComponentStatus:
    return ComponentStatus(
        name=found.component,
        kind="container",
        running=found.running,
        what=found.name if found.running else f"{found.name} ({found.state})",
        started_at=found.started_at,
        memory=memory(found.id) if found.running and with_memory else None,
    )


def volumes(engine: Engine, **wanted: str) -> tuple[DockerResource, ...]:
    with engine.talking("list volumes"):
        found = engine.reader.volumes(filters=_filters(wanted))["Volumes"] or ()
    return tuple(
        DockerResource(
            kind="volume",
            id=entry["Name"],
            name=entry["Name"],
            place=entry.get("Mountpoint") or "",
            **whose,
        )
        for entry, whose in _owned(found, wanted)
    )


def data_elsewhere(engine: Engine, instance: Instance) -> EngineMark | None:
    """Return the engine that has an instance's volumes, if this one has none and it is another one."""
    known = engine_of(instance)
    if known is None or not known.id or engine.facts.id in ("", known.id):
        return None
    here = volumes(engine, project=instance.project, instance=str(instance.id))
    return None if any(is_of(each, instance) for each in here) else known


def networks(engine: Engine, **wanted: str) -> tuple[DockerResource, ...]:
    with engine.talking("list networks"):
        found = engine.reader.networks(filters=_filters(wanted))
    return tuple(
        DockerResource(kind="network", id=entry["Id"], name=entry["Name"], **whose)
        for entry, whose in _owned(found, wanted)
    )


def taken_names(engine: Engine) -> Iterator[tuple[Kind, str, Mapping[str, str]]]:
    """Return kind, name and labels of everything on the engine, ours or not."""
    with engine.talking("list containers, volumes and networks"):
        found_containers = engine.reader.containers(all=True)
        found_volumes = engine.reader.volumes()["Volumes"] or ()
        found_networks = engine.reader.networks()
    for entry in found_containers:
        for name in entry["Names"] or ():
            yield "container", name.lstrip("/"), entry["Labels"] or {}
    for entry in found_volumes:
        yield "volume", entry["Name"], entry["Labels"] or {}
    for entry in found_networks:
        yield "network", entry["Name"], entry["Labels"] or {}


def container(engine: Engine, name: str) -> dict[str, Any] | None:
    """Inspect a container by its exact name or id; None if there is none."""
    return _inspected(engine, engine.reader.inspect_container, "container", name)


def network(engine: Engine, name: str) -> dict[str, Any] | None:
    return _inspected(engine, engine.reader.inspect_network, "network", name)


def volume(engine: Engine, name: str) -> dict[str, Any] | None:
    return _inspected(engine, engine.reader.inspect_volume, "volume", name)


def own_container(engine: Engine, config: InstanceConfig, component: str) -> dict[str, Any] | None:
    """Inspect the container of a component; None if there is none, or if it is not ours."""
    found = container(engine, config.instance.container(component))
    return found if found is not None and is_ours(found["Config"]["Labels"], config) else None


def file_in(engine: Engine, container: str, path: str) -> dict[str, Any]:
    """Describe a file in a container, in the engine's words; OrienterError if that cannot be told."""
    with engine.talking(f"look at {path} in container {container}"):
        found: dict[str, Any] | None = engine.reader.path_stat(container, path)
    if found is None:
        raise NotFoundError(f"the engine does not describe {path} in container {container}")
    return found


def programs_in(engine: Engine, container: str) -> list[str]:
    """Name the programs that somebody runs in a container now, beside its own and its health check."""
    with engine.talking(f"list what runs in container {container}"):
        found = engine.reader.inspect_container(container)
    own = ((found["Config"].get("Healthcheck") or {}).get("Test") or [""])[1:]
    programs = []
    for each in found.get("ExecIDs") or ():
        with suppress(NotFoundError), engine.talking(f"look at what runs in container {container}"):
            told = engine.reader.inspect_exec(each)
            words = [told["ProcessConfig"]["entrypoint"], *(told["ProcessConfig"]["arguments"] or ())]
            if told["Running"] and (not own or words[-len(own) :] != own):
                programs.append(words[0])
    return programs


def _inspected(engine: Engine, inspect: Callable[[str], Any], kind: Kind, name: str) -> dict[str, Any] | None:
    try:
        with engine.talking(f"inspect {kind} {name}"):
            found: dict[str, Any] = inspect(name)
    except NotFoundError:
        return None
    return found


def memory(container_id: str) -> int | None:
    """Return the bytes that the kernel charges to a running container, without the page cache that it can reclaim.

    None if it cannot be read: the engine is in a virtual machine or another user's. The engine's own statistics would
    take a second.
    """
    for pattern in MEMORY_FILES:
        path = Path(pattern.format(id=container_id))
        try:
            stat = dict(line.split() for line in path.with_name("memory.stat").read_text(encoding="ascii").splitlines())
            droppable = max((int(stat[key]) for key in CACHE_KEYS if key in stat), default=0)
            return max(0, int(path.read_text(encoding="ascii")) - droppable)
        except (OSError, ValueError):
            continue
    return None


def publisher(engine: Engine, port: int) -> str:
    """Describe the running container that publishes a port of this machine; "" if none does."""
    for entry in _listed(engine):
        if port in _published(entry):
            return f"container {entry['Names'][0].lstrip('/')} ({owner(entry['Labels'])})"
    return ""


def moment(text: str | None) -> float | None:
    """Read the engine's times: RFC 3339, with up to nine digits after the point; None for its zero time."""
    match = re.fullmatch(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(\.\d+)?(Z|[+-]\d\d:\d\d)", text or "")
    if match is None or match[1].startswith("0001"):
        return None
    zone = "+00:00" if match[3] == "Z" else match[3]
    return datetime.fromisoformat(match[1] + zone).astimezone(timezone.utc).timestamp() + float(match[2] or 0)


def started(created: float, status: str, now: float) -> float:
    """Return when a container started: when it was created, unless its status shows that it has run for less long.

    The status is as in listings, `Up 3 hours (healthy)`, rounded down.
    """
    match = _UP.match(status)
    if match is None:
        return created
    longest = (int(match[1] or 1) + 1) * _SECONDS[match[2].lower()]
    return max(created, now - longest)


def _container(entry: Mapping[str, Any], whose: Mapping[str, Any], now: float) -> DockerResource:
    state = str(entry["State"])
    return DockerResource(
        kind="container",
        id=entry["Id"],
        name=entry["Names"][0].lstrip("/") if entry["Names"] else entry["Id"][:12],
        state=state,
        started_at=started(float(entry["Created"]), entry.get("Status", ""), now) if state == RUNNING else None,
        ports=_published(entry),
        on_host=entry.get("HostConfig", {}).get("NetworkMode") == "host",
        **whose,
    )


def _listed(engine: Engine, **asked: Any) -> Iterator[Mapping[str, Any]]:
    """List containers with network and ports: Docker lists these, Podman tells them of a single container alone."""
    with engine.talking("list containers"):
        # the SDK's high-level list inspects every container
        found = engine.reader.containers(**asked)
    for entry in found:
        if "NetworkMode" in (entry.get("HostConfig") or {}):
            yield entry
            continue
        inspected = container(engine, entry["Id"])
        if inspected is not None:  # it has gone meanwhile
            bindings = (inspected["NetworkSettings"].get("Ports") or {}).values()
            ports = [{"PublicPort": each["HostPort"]} for binding in bindings for each in binding or ()]
            yield {**entry, "HostConfig": inspected["HostConfig"], "Ports": ports}


def _published(entry: Mapping[str, Any]) -> tuple[int, ...]:
    return tuple(sorted({int(port["PublicPort"]) for port in entry.get("Ports") or () if port.get("PublicPort")}))


def _filters(wanted: Mapping[str, str]) -> dict[str, list[str]]:
    return {"label": [LABEL_PROJECT, *(f"{KEYS[name]}={value}" for name, value in wanted.items())]}


def _owned(
    found: Iterable[Mapping[str, Any]], wanted: Mapping[str, str]
) -> Iterator[tuple[Mapping[str, Any], dict[str, Any]]]:
    """Return the entries whose labels of ours are complete, valid and the wanted ones, with what they say.

    Podman lists the volumes that have any of several labels, Docker those that have all.
    """
    for entry in found:
        own = entry["Labels"] or {}
        number = own.get(LABEL_INSTANCE, "")
        if number.isdecimal() and LABEL_ROOT in own and all(own.get(KEYS[key]) == wanted[key] for key in wanted):
            yield (
                entry,
                {
                    "project": own[LABEL_PROJECT],
                    "instance": int(number),
                    "root": own[LABEL_ROOT],
                    "token": own.get(LABEL_TOKEN, ""),
                    "component": own.get(LABEL_COMPONENT, ""),
                },
            )
