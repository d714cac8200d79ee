"""Which backend an instance uses: what was asked for, what its claim remembers, what this machine has."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orienter_tasks.errors import BackendError, ConflictError
from orienter_tasks.machine.ports import LOOPBACK
from orienter_tasks.settings.load import backend_name

if TYPE_CHECKING:
    from collections.abc import Mapping

    from orienter_tasks.backends.protocol import Backend, InstanceConfig
    from orienter_tasks.instance.model import Instance
    from orienter_tasks.settings.model import BackendChoice, BackendName, Settings

REMEDIES = "start a Docker engine, or run: pip install 'orienter-tasks[embedded]'"


def wanted(settings: Settings, environ: Mapping[str, str], told: str) -> BackendChoice:
    """Return what was asked for: on the command line, by ORIENTER_BACKEND, or in the settings."""
    if told:
        return backend_name(told, "--backend")
    if environ.get("ORIENTER_BACKEND"):
        return backend_name(environ["ORIENTER_BACKEND"], "ORIENTER_BACKEND")
    return settings.backend


def named(text: str) -> BackendName:
    """Read a backend's name from a claim.

    Raises:
        ConfigError: for a name that this version does not know.
    """
    name = backend_name(text, "the claim's backend")
    return "docker" if name == "auto" else name


def available(name: BackendName, settings: Settings) -> bool:
    """Say whether this machine has a backend: an engine that answers, or the embedded programs."""
    if name == "docker":
        from orienter_tasks.backends.docker import engine

        return engine.answers()
    from orienter_tasks.infra.embedded import installed

    return installed(settings)


def choose(choice: BackendChoice, settings: Settings) -> BackendName:
    """Decide for an instance that has no backend yet.

    Raises:
        BackendError: when this machine has none; it names both remedies.
    """
    if choice != "auto":
        return choice
    if available("docker", settings):
        return "docker"
    if available("embedded", settings):
        return "embedded"
    raise BackendError("no Docker engine answers and the embedded backend is not installed", hint=REMEDIES)


def require(name: BackendName, settings: Settings, instance: Instance) -> None:
    """Require that a backend can be used now.

    Raises:
        BackendError: saying what to do.
    """
    if available(name, settings):
        return
    if name == "docker":
        raise BackendError(
            f"{instance} uses Docker, and no engine answers",
            hint="start it (systemctl start docker, or Docker Desktop); without one: "
            "pip install 'orienter-tasks[embedded]' and inv dev --backend embedded",
        )
    raise BackendError(
        f"{instance} uses the embedded backend, which is not installed", hint="pip install 'orienter-tasks[embedded]'"
    )


def may_move(current: Backend, target: BackendName, instance: Instance) -> None:
    """Require that an instance leaves no data behind when it changes its backend.

    Raises:
        ConflictError: naming the data.
        BackendError: the present backend cannot be asked.
    """
    volumes = current.data_volumes()
    running = [status.name for status in current.status() if status.up]
    if volumes or running:
        kept = ", ".join([volume.name for volume in volumes] or running)
        raise ConflictError(
            f"{instance} has data on the {current.name} backend ({kept}) and is not moved to {target}",
            hint=f"stay with --backend {current.name}, or give that data up with: inv infra.down --volumes",
        )


def service_host(name: str, settings: Settings) -> str:
    """Return the address on which services listen: loopback, unless a bridged nginx on Linux could not reach it."""
    if name != "docker" or settings.nginx.network != "bridge":
        return LOOPBACK
    from orienter_tasks.backends.docker import engine, placement

    try:
        return placement.service_host(engine.shared(), settings.nginx.network)
    except BackendError:  # a command that only reads needs no engine; a start has just had its answer
        return LOOPBACK


def make(name: str, config: InstanceConfig) -> Backend:
    """Build the backend of an instance; that asks no engine."""
    if named(name) == "docker":
        from orienter_tasks.infra.docker import DockerBackend

        return DockerBackend(config)
    from orienter_tasks.infra.embedded import EmbeddedBackend

    return EmbeddedBackend(config)
