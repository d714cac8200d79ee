"""Which backend an instance uses: as requested, as in its claim, or what this machine has."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orienter_tasks.errors import BackendError, ConfigError, ConflictError
from orienter_tasks.machine.ports import LOOPBACK
from orienter_tasks.settings.load import backend_name

if TYPE_CHECKING:
    from collections.abc import Mapping

    from orienter_tasks.backends.protocol import Backend, InstanceConfig
    from orienter_tasks.instance.model import Instance
    from orienter_tasks.settings.model import BackendChoice, BackendName, Settings


def wanted(settings: Settings, environ: Mapping[str, str], told: str) -> BackendChoice:
    """Return the requested backend: from the command line, ORIENTER_BACKEND, or the settings."""
    if told:
        return backend_name(told, "--backend")
    if environ.get("ORIENTER_BACKEND"):
        return backend_name(environ["ORIENTER_BACKEND"], "ORIENTER_BACKEND")
    return settings.backend


def named(text: str) -> BackendName:
    """Read a backend's name from a claim."""
    name = backend_name(text, "the claim's backend")
    return "docker" if name == "auto" else name


def available(name: BackendName, settings: Settings) -> bool:
    """Whether this machine has a backend: an engine that answers, or the embedded programs."""
    if name == "docker":
        from orienter_tasks.backends.docker import engine

        return not _without_image(settings) and engine.answers()
    from orienter_tasks.infra.embedded import installed

    return installed(settings)


def choose(choice: BackendChoice, settings: Settings) -> BackendName:
    """Decide for an instance that has no backend yet."""
    if choice != "auto":
        return choice
    if available("docker", settings):
        return "docker"
    if available("embedded", settings):
        return "embedded"
    from orienter_tasks.backends.docker import engine

    endpoint, seen = engine.shared().endpoint, engine.shared().why_silent() or ""
    raise BackendError(
        f"no Docker engine answers at {endpoint}, and the embedded backend is not installed",
        hint=f"{endpoint.how_to_reach(seen)}; or run: pip install 'orienter-tasks[embedded]'",
    )


def require(name: BackendName, settings: Settings, instance: Instance) -> None:
    if name == "docker":
        from orienter_tasks.backends.docker import engine

        for server in _without_image(settings):
            raise ConfigError(
                f"{instance} uses Docker, and {server} has no image",
                hint=f"add orienter.infra.{server}.image, or use --backend embedded",
            )
        silent = engine.shared().why_silent()
        if silent is None:
            return
        raise BackendError(
            f"{instance} uses Docker, and no engine answers at {engine.shared().endpoint}: {silent}",
            hint=f"{engine.shared().endpoint.how_to_reach(silent)}; without one: "
            "pip install 'orienter-tasks[embedded]' and inv dev --backend embedded",
        )
    if available(name, settings):
        return
    from orienter_tasks.infra.all import component
    from orienter_tasks.infra.embedded import missing

    absent = missing(settings)
    hints = dict.fromkeys(component(each).how_to_install(settings) for each in absent)
    raise BackendError(
        f"{instance} uses the embedded backend, which found no program for {', '.join(absent)}", hint="; ".join(hints)
    )


def _without_image(settings: Settings) -> list[str]:
    return [name for name in settings.servers if not settings.docker.image(name)]


def may_move(current: Backend, target: BackendName, instance: Instance) -> None:
    """Require that an instance leaves no data behind when it changes its backend."""
    volumes = current.data_volumes()
    running = [status.name for status in current.status() if status.up]
    if volumes or running:
        kept = ", ".join([volume.name for volume in volumes] or running)
        raise ConflictError(
            f"{instance} has data on the {current.name} backend ({kept}) and is not moved to {target}",
            hint=f"use --backend {current.name}, or delete that data with: inv infra.down --volumes",
        )


def of(own: str, config: InstanceConfig) -> Backend | None:
    """Return the backend of an instance: its claim's own; else the one where something of it is found, if there is.

    Claims can be lost while what they named still runs, so a claim without a backend proves nothing.

    Raises:
        BackendError: a Docker engine does not say what it has.
    """
    if own:
        return make(own, config)
    candidates = [make("embedded", config)]
    from orienter_tasks.backends.docker import engine

    hidden = engine.shared().unseen_backends()
    if "" in hidden:
        require("docker", config.settings, config.instance)
    if not hidden:
        candidates.append(make("docker", config))
    for found in candidates:
        if any(status.up for status in found.status()):
            return found
    return next((found for found in candidates if found.data_volumes()), None)


def service_host(name: str, settings: Settings) -> str:
    """Return the address where services listen: loopback, unless a bridged nginx on Linux cannot reach it."""
    if name != "docker" or settings.nginx.network != "bridge":
        return LOOPBACK
    from orienter_tasks.backends.docker import engine, placement

    try:
        return placement.service_host(engine.shared(), settings.nginx.network)
    except BackendError:  # commands that only read need no engine, and a start has already checked it
        return LOOPBACK


def make(name: str, config: InstanceConfig) -> Backend:
    """Create the backend of an instance, without contacting an engine."""
    if named(name) == "docker":
        from orienter_tasks.infra.docker import DockerBackend

        return DockerBackend(config)
    from orienter_tasks.infra.embedded import EmbeddedBackend

    return EmbeddedBackend(config)
