"""Rules across settings: names are valid, ports never overlap, dependencies exist and have no cycles."""

from __future__ import annotations

import difflib
import math
import re
from graphlib import CycleError, TopologicalSorter
from typing import TYPE_CHECKING

import msgspec

from orienter_tasks.errors import ConfigError
from orienter_tasks.settings import catalog, graph
from orienter_tasks.settings.model import (
    HIGHEST_ID,
    HIGHEST_PORT,
    PORT_STEP,
    Hook,
    Service,
    Settings,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

NAME = r"[a-z][a-z0-9_-]*"
MOST_LOGS = 100
PORT_NAME = r"[a-z][a-z0-9_]*"
_BASE_NAME = r"[A-Za-z_][A-Za-z0-9_]{0,50}"
_EXTENSION = r"[A-Za-z_][A-Za-z0-9_-]{0,62}"
_BUCKET = r"[a-z0-9][a-z0-9.-]{1,55}"
_SIZE = r"[1-9][0-9]{0,9}[kmg]?"
_HOST = r"(\*?\.)?[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*"
_LABEL = r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"
_HOSTNAME = rf"(?=.{{1,253}}$)({_LABEL}\.)*(?![0-9]){_LABEL}"  # browsers take a number at the end for an address
HTTP_PATH = r"/[!-~]*"
VARIABLE = r"[A-Za-z_][A-Za-z0-9_]*"


_OWN_FILES = ("claim", "orienter-login", "docker-compose.infra.yml")


def is_own_file(name: str) -> bool:
    """Whether a name in DATA_DIR is ours, so that no host's files have it."""
    return name.startswith(".") or name.removesuffix(".lock") in (*_OWN_FILES, *catalog.processes())


def check_settings(settings: Settings) -> None:
    _check_names(settings)
    _check_paths(settings.data.paths)
    check_ports(settings.ports, settings.instances.max)
    _check_worktrees(settings)
    _check_hooks(settings)
    _check_services(settings)
    _check_circles(settings)


def check_ports(ports: Mapping[str, int], highest_id: int) -> None:
    """Require that no two ports of any two ids are the same, and that every port is valid.

    Raises:
        ConfigError: names the two keys, or the key and the id whose port would exceed 65535.
    """
    for name, base in ports.items():
        if base < 1 or base + highest_id * PORT_STEP > HIGHEST_PORT:
            raise ConfigError(
                f"orienter.ports.{name}: base {base} gives instance {highest_id} port {base + highest_id * PORT_STEP}; "
                f"ports are 1 to {HIGHEST_PORT}",
                hint="choose a lower base, or lower orienter.instances.max",
            )
    names = list(ports)
    for i, one in enumerate(names):
        for other in names[i + 1 :]:
            distance = abs(ports[one] - ports[other])
            if distance % PORT_STEP == 0 and distance // PORT_STEP <= highest_id:
                raise ConfigError(
                    f"orienter.ports: {one} ({ports[one]}) and {other} ({ports[other]}) meet: "
                    f"they are {distance // PORT_STEP} × {PORT_STEP} apart and ids go up to {highest_id}",
                    hint=f"change the base of {other}",
                )


def nearest(word: str, known: Sequence[str]) -> str:
    """Return «did you mean X?» for the nearest known word, or a list of all that are known."""
    match = difflib.get_close_matches(word, known, n=1)
    return f"did you mean {match[0]!r}?" if match else f"known: {', '.join(known)}"


def _check_names(settings: Settings) -> None:
    if not re.fullmatch(NAME, settings.project) or len(settings.project) > 40:  # noqa: PLR2004 - leaves room in names
        raise ConfigError(
            f"orienter.project: {settings.project!r} is not lower-case letters, digits, '-' and '_', at most 40"
        )
    if not 0 <= settings.instances.max <= HIGHEST_ID:
        raise ConfigError(f"orienter.instances.max: {settings.instances.max} is not within 0 to {HIGHEST_ID}")
    _check_stores(settings)
    for host in settings.nginx.hosts:
        if not re.fullmatch(_HOST, host):
            hint = "write dev.example.test, or *.example.test"
            raise ConfigError(f"orienter.nginx.hosts: {host!r} is not a host name", hint=hint)
    name = settings.nginx.hostname
    if name and ("{id}" not in name or not re.fullmatch(_HOSTNAME, settings.hostname(settings.instances.max))):
        hint = 'write {project}-{id}.localhost, or "" for none'
        raise ConfigError(
            f"orienter.nginx.hostname: {name!r} is not a lower-case host name with {{id}} in it", hint=hint
        )
    _check_logs(settings)
    _check_seconds(settings)


def _check_stores(settings: Settings) -> None:
    if not re.fullmatch(_BASE_NAME, settings.database.name):
        raise ConfigError(f"orienter.database.name: {settings.database.name!r} is not a plain PostgreSQL name")
    if not re.fullmatch(_BUCKET, settings.storage.bucket):
        raise ConfigError(f"orienter.storage.bucket: {settings.storage.bucket!r} is not a bucket name")
    for section, keys in (("database", settings.database), ("storage", settings.storage)):
        if not keys.user or not keys.password:
            raise ConfigError(f"orienter.{section}: neither user nor password may be empty")
    for name in settings.database.extensions:
        if not re.fullmatch(_EXTENSION, name):
            raise ConfigError(f"orienter.database.extensions: {name!r} is not the name of an extension")


def _check_paths(paths: Sequence[str]) -> None:
    for at, path in enumerate(paths):
        where, parts = f"orienter.data.paths[{at}]", path.split("/")
        if not {"", ".", ".."}.isdisjoint(parts) or "\0" in path:
            raise ConfigError(
                f"{where}: {path!r} is not a path below DATA_DIR", hint="write app.db, uploads or db/*.db"
            )
        if "**" in parts:
            raise ConfigError(f"{where}: {path!r} has '**'", hint="name the directory: all that is in it belongs to it")
        if is_own_file(parts[0]):
            raise ConfigError(f"{where}: {parts[0]} in DATA_DIR is not the host's own", hint="use another name")


def _check_logs(settings: Settings) -> None:
    logs = settings.logs
    if not re.fullmatch(_SIZE, logs.max_size):
        raise ConfigError(f"orienter.logs.max_size: {logs.max_size!r} is not a size", hint="write 500k, 50m or 1g")
    if not 0 <= logs.keep <= MOST_LOGS:
        raise ConfigError(f"orienter.logs.keep: {logs.keep} is not within 0 to {MOST_LOGS}")


def _check_seconds(settings: Settings) -> None:
    limits = {f"timeouts.{name}": value for name, value in msgspec.structs.asdict(settings.timeouts).items()}
    limits |= {f"services.{name}.ready.timeout": it.ready.timeout for name, it in settings.services.items()}
    limits |= {f"hooks ({hook.name}).timeout": hook.timeout for hook in settings.all_hooks}
    limits |= {f"hooks ({hook.name}).timeout": hook.timeout for hook in settings.hooks.of_worktrees}
    for key, seconds in limits.items():
        if not 0 < seconds < math.inf:
            raise ConfigError(f"orienter.{key}: {seconds} is not above 0 seconds and finite")


def _check_worktrees(settings: Settings) -> None:
    path, where = settings.worktree.path, "orienter.worktree.path"
    try:
        known = path.format(repo="", name="NAME")
    except (LookupError, ValueError, AttributeError):
        known = ""
    if "NAME" not in known:
        raise ConfigError(f"{where}: {path!r} is not a path with {{name}}", hint="beside it, {repo} is known")


def _check_services(settings: Settings) -> None:
    names = [*settings.servers, *settings.services, *(hook.name for hook in settings.all_hooks)]
    for name, service in settings.services.items():
        where = f"orienter.services.{name}"
        if catalog.is_infrastructure(name):
            raise ConfigError(f"{where}: {name} is a component of the infrastructure", hint="choose another name")
        _check_port(service, settings.ports, where)
        first = next(each for each, other in settings.services.items() if other.port == service.port)
        if service.port and first != name:
            raise ConfigError(
                f"{where}.port: {service.port} is the port of {first}, and two services cannot listen on one port",
                hint="add a port below orienter.ports, and name it here",
            )
        for need in service.needs:
            if need not in names:
                raise ConfigError(f"{where}.needs: no component is named {need!r}", hint=nearest(need, names))


def _check_hooks(settings: Settings) -> None:
    hooks, taken = settings.all_hooks, {*catalog.names(), catalog.LINK, *settings.services}
    for name in [*(hook.name for hook in hooks), *(hook.name for hook in settings.hooks.of_worktrees)]:
        if not re.fullmatch(NAME, name) or name in taken:
            raise ConfigError(f"orienter.hooks: {name!r} is taken, or is not lower-case letters, digits, '-' and '_'")
        taken.add(name)
    waiting = [*settings.services, *(hook.name for hook in hooks)]
    for hook in hooks:
        _check_hook(hook, [*settings.servers, *waiting], waiting)


def _check_hook(hook: Hook, names: Sequence[str], waiting: Sequence[str]) -> None:
    where = f"orienter.hooks ({hook.name})"
    for name in hook.needs:
        if name not in names:
            raise ConfigError(f"{where}: no component is named {name!r}", hint=nearest(name, names))
    for name in hook.before or ():
        if name not in waiting:
            raise ConfigError(f"{where}: no service or hook is named {name!r}", hint=nearest(name, waiting))
    if hook.exports and (hook.creates or hook.once == "data"):
        raise ConfigError(
            f"{where}: a hook that exports has to run at every start",
            hint="take its `creates` or `once` out, or split it in two",
        )
    if hook.creates and hook.once == "data":
        raise ConfigError(f"{where}: `creates` and `once: data` both say when it has nothing to do", hint="choose one")


def _check_port(service: Service, ports: Mapping[str, int], where: str) -> None:
    port, path = service.port, service.ready.http
    if port and port not in ports:
        raise ConfigError(f"{where}.port: no port is named {port!r}", hint=nearest(port, list(ports)))
    if catalog.component_of_port(port):
        raise ConfigError(f"{where}.port: {port} is the infrastructure's own", hint="choose another port")
    if path and not port:
        raise ConfigError(f"{where}.ready.http: the service has no port", hint=f"set {where}.port")
    if path and not re.fullmatch(HTTP_PATH, path):
        raise ConfigError(f"{where}.ready.http: invalid path {path!r}", hint="write it like /health")


def _check_circles(settings: Settings) -> None:
    needs = graph.needs(settings)
    order = TopologicalSorter(dict.fromkeys(needs, ()))
    for name, needed in needs.items():
        for need in needed:
            order.add(need, name)  # in this direction a cycle is reported as people read it: each needs the next
    try:
        order.prepare()
    except CycleError as error:
        where = "services" if settings.services.keys() >= {*error.args[1]} else "hooks"
        raise ConfigError(f"orienter.{where}: needs go in a circle: {' → '.join(error.args[1])}") from None
