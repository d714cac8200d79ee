"""Which backend each component of an instance uses: as set or requested, as in its claim, or what this machine has."""

from __future__ import annotations

from typing import TYPE_CHECKING, get_args

from msgspec.structs import replace

from orienter_tasks.errors import BackendError, ConfigError, ConflictError
from orienter_tasks.identity import volumes
from orienter_tasks.instance.backends import Backends, together
from orienter_tasks.machine.ports import LOOPBACK
from orienter_tasks.settings.catalog import NGINX
from orienter_tasks.settings.load import backend_name
from orienter_tasks.settings.model import BackendName, FurtherServer

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from orienter_tasks.backends.protocol import Backend, InstanceConfig
    from orienter_tasks.instance.model import Instance
    from orienter_tasks.settings.model import BackendChoice, Settings

NONE = Backends()


def wanted(settings: Settings, environ: Mapping[str, str], told: str) -> BackendChoice:
    """Return the backend that is requested for all components: by the command line, ORIENTER_BACKEND, or the settings.

    A component's own setting outranks it.
    """
    if told:
        return backend_name(told, "--backend")
    if environ.get("ORIENTER_BACKEND"):
        return backend_name(environ["ORIENTER_BACKEND"], "ORIENTER_BACKEND")
    return settings.backend


def available(name: BackendName, settings: Settings, servers: Iterable[str]) -> bool:
    """Whether this machine has a backend for these servers: an engine that answers, or the embedded programs."""
    if name == "docker":
        from orienter_tasks.backends.docker import engine

        return not _without_image(settings, servers) and engine.answers()
    from orienter_tasks.infra.embedded import missing

    return not missing(settings, servers)


def choose(choice: BackendChoice, settings: Settings, own: Backends = NONE) -> Backends:
    """Decide which backend each component of an instance has.

    A component's own setting comes first, then the backend that is asked for, then what it has (`own`), then what this
    machine has. What the settings drop stays where it is.
    """
    apart = {name: backend for name in settings.servers if (backend := settings.own_backend(name))}
    rest = [name for name in settings.servers if name not in apart]
    general = own.general if choice == "auto" else choice
    if not general and rest:
        general = _automatic(settings, rest)
        if general == "docker" and NGINX.name in rest and _wants_native_nginx(settings):
            apart[NGINX.name] = "embedded"
    placed = {
        name: apart.get(name) or (own.of(name) if choice == "auto" else "") or general for name in settings.servers
    }
    if placed[NGINX.name] == "docker" and NGINX.name not in apart and _is_elsewhere():
        placed[NGINX.name] = "embedded"  # there it could neither read its configuration nor reach the services
    dropped = {name: backend for name, backend in own.others.items() if name not in placed}
    found = together({name: backend for name, backend in placed.items() if backend}, general)
    kept = {name: backend for name, backend in dropped.items() if backend != found.general}
    return replace(found, others={**found.others, **kept})


def _is_elsewhere() -> bool:
    """Whether the current Docker engine is on another machine."""
    from orienter_tasks.backends.docker import endpoint

    return endpoint.current().is_remote


def _automatic(settings: Settings, servers: Sequence[str]) -> BackendName:
    if available("docker", settings, servers):
        return "docker"
    if available("embedded", settings, servers):
        return "embedded"
    from orienter_tasks.backends.docker import engine

    endpoint, seen = engine.shared().endpoint, engine.shared().why_silent() or ""
    raise BackendError(
        f"no Docker engine answers at {endpoint}, and the embedded backend is not installed",
        hint=f"{endpoint.how_to_reach(seen)}; or run: pip install 'orienter-tasks[embedded]'",
    )


def _wants_native_nginx(settings: Settings) -> bool:
    """Whether the engine's nginx could reach no service of this machine, which has an nginx of its own."""
    from orienter_tasks.backends.docker import engine

    return engine.shared().facts.is_apart and available("embedded", settings, [NGINX.name])


def is_reached_by_link(instance: Instance) -> bool:
    """Whether an instance has data on the current engine, and that is on another machine.

    A start then makes the instance's link first, and asks the engine through it: one login instead of two.
    """
    from orienter_tasks.backends.docker import endpoint

    current, known = endpoint.current(), volumes.engine_of(instance)
    return current.is_remote and known is not None and known.endpoint == str(current)


def require(backends: Backends, settings: Settings, instance: Instance, *, now: bool = True) -> None:
    """Require that this machine has the backends of an instance's components, and that an engine answers `now`."""
    placed = {name: backends.of(name) for name in settings.servers}
    if docker := [name for name in placed if placed[name] == "docker"]:
        _require_engine(settings, instance, docker, _whose(instance, backends, docker, "Docker"), now=now)
    if embedded := [name for name in placed if placed[name] == "embedded"]:
        _require_programs(settings, embedded, _whose(instance, backends, embedded, "the embedded backend"))


def _whose(instance: Instance, backends: Backends, servers: Sequence[str], what: str) -> str:
    whose = f" for {', '.join(servers)}" if backends.others else ""
    return f"{instance} uses {what}{whose}"


def _require_engine(settings: Settings, instance: Instance, servers: Sequence[str], what: str, *, now: bool) -> None:
    from orienter_tasks.backends.docker import engine, placement

    for server in _without_image(settings, servers):
        raise ConfigError(
            f"{instance} uses Docker, and {server} has no image",
            hint=f"add orienter.infra.{server}.image, or orienter.infra.{server}.backend: embedded",
        )
    silent = engine.shared().why_silent() if now else None
    if silent is None and NGINX.name in servers:
        if engine.shared().endpoint.is_remote:
            raise BackendError(
                f"nginx of {instance} cannot run in an engine on another machine",
                hint="take its backend out of orienter.infra.nginx",
            )
        placement.of(engine.shared(), settings.nginx.network)  # raises where it could reach no service
    if silent is not None:
        raise BackendError(
            f"{what}, and no engine answers at {engine.shared().endpoint}: {silent}{_where_its_data_is(instance)}",
            hint=f"{engine.shared().endpoint.how_to_reach(silent)}; without one: "
            f"pip install 'orienter-tasks[embedded]' and {_to_embedded(settings, servers)}",
        )


def _where_its_data_is(instance: Instance) -> str:
    """Name the engine that has an instance's volumes, where another one does not answer."""
    from orienter_tasks.backends.docker import engine

    known = volumes.engine_of(instance)
    if known is None or known.endpoint == str(engine.shared().endpoint):
        return ""
    return f"; its data is on {known.endpoint}"


def _to_embedded(settings: Settings, servers: Sequence[str]) -> str:
    apart = [name for name in servers if settings.own_backend(name)]
    return f"take orienter.infra.{apart[0]}.backend out" if apart else "inv dev --backend embedded"


def _require_programs(settings: Settings, servers: Sequence[str], what: str) -> None:
    from orienter_tasks.infra.all import component
    from orienter_tasks.infra.embedded import missing

    absent = missing(settings, servers)
    if absent:
        hints = dict.fromkeys(component(each).how_to_install(settings) for each in absent)
        raise BackendError(f"{what}, which found no program for {', '.join(absent)}", hint="; ".join(hints))


def _without_image(settings: Settings, servers: Iterable[str]) -> list[str]:
    return [name for name in servers if not settings.docker.image(name)]


def may_move(current: Backend, target: Backends, settings: Settings, instance: Instance) -> None:
    """Require that no component of an instance leaves data behind, or runs, when it changes its backend."""
    own = current.backends

    def moves(component: str) -> bool:
        return own.of(component) != target.of(component)

    held = {volume.component: volume.name for volume in current.data_volumes() if moves(volume.component)}
    running = [status.name for status in current.status() if status.up and moves(status.name)]
    if not held and not running:
        return
    first = next(iter(held or running))
    former, apart = own.of(first), settings.own_backend(first) is not None or first in own.others
    whose, names = (f"{first} of {instance}", [first]) if apart else (str(instance), list(held or running))
    has = f"has data on the {former} backend ({', '.join(held[name] for name in names)})" if held else ""
    stay = f"set orienter.infra.{first}.backend: {former}" if apart else f"use --backend {former}"
    go = "delete that data with: inv infra.down --volumes" if held else "stop it first: inv infra.down"
    raise ConflictError(
        f"{whose} {has or f'runs on the {former} backend'} and is not moved to {target.of(first)}",
        hint=f"{stay}, or {go}",
    )


def of(own: Backends, config: InstanceConfig) -> Backend | None:
    """Return the backend of an instance: its claim's own; else what is found of it, if anything is.

    Claims can be lost while what they named still runs, so a claim without a backend proves nothing.

    Raises:
        BackendError: a Docker engine does not say what it has.
    """
    if own:
        return make(own, config)
    from orienter_tasks.backends.docker import engine

    hidden = engine.shared().unseen_backends()
    if "" in hidden:
        require(Backends("docker"), config.settings, config.instance)
    parts = [make(Backends("embedded"), config), *([] if hidden else [make(Backends("docker"), config)])]
    found: dict[str, BackendName] = {}
    for backend in parts:
        name = backend.backends.general
        found = {status.name: name for status in backend.status() if status.up and name} | found
    for backend in parts:
        name = backend.backends.general
        found = {volume.component: name for volume in backend.data_volumes() if volume.component and name} | found
    return make(together(found), config) if found else None


def service_host(name: str, settings: Settings) -> str:
    """Return the address where services listen: loopback, unless a bridged nginx on Linux cannot reach it."""
    if name != "docker" or settings.nginx.network != "bridge":
        return LOOPBACK
    from orienter_tasks.backends.docker import engine, placement

    try:
        return placement.service_host(engine.shared(), settings.nginx.network)
    except BackendError:  # commands that only read need no engine, and a start has already checked it
        return LOOPBACK


def make(backends: Backends, config: InstanceConfig) -> Backend:
    """Create the backend of an instance, without contacting an engine."""
    unknown = backends.used - {*get_args(BackendName)}
    if unknown:
        raise ConfigError(
            f"{config.instance} has an unknown backend: {', '.join(sorted(unknown)) or 'none'}",
            hint="update orienter-tasks",
        )
    if backends.others:
        from orienter_tasks.infra.mixed import MixedBackend

        return MixedBackend(config, backends)
    if backends.general == "docker":
        from orienter_tasks.infra.docker import DockerBackend

        return DockerBackend(config)
    from orienter_tasks.infra.embedded import EmbeddedBackend

    return EmbeddedBackend(config)


def kept(settings: Settings, backends: Backends) -> Settings:
    """Return settings with which a start gives each component these backends."""
    infra = {
        name: replace(server, backend=None) if server is not None else None for name, server in settings.infra.items()
    }
    for name, backend in backends.others.items():
        if name in settings.servers:
            infra[name] = replace(infra.get(name) or FurtherServer(), backend=backend)
    return replace(settings, backend=backends.general or "auto", infra=infra)
