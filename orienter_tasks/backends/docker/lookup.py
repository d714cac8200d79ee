"""Find one thing by its exact name, and never touch what is not ours."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from orienter_tasks.backends.docker import labels
from orienter_tasks.errors import ConflictError, NotFoundError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from orienter_tasks.backends.docker.engine import Engine
    from orienter_tasks.backends.protocol import InstanceConfig


def container(engine: Engine, name: str) -> dict[str, Any] | None:
    """Inspect a container; None when there is none."""
    try:
        with engine.talking(f"inspect container {name}"):
            found: dict[str, Any] = engine.api.inspect_container(name)
    except NotFoundError:
        return None
    return found


def network(engine: Engine, name: str) -> dict[str, Any] | None:
    """Inspect a network; None when there is none."""
    try:
        with engine.talking(f"inspect network {name}"):
            found: dict[str, Any] = engine.api.inspect_network(name)
    except NotFoundError:
        return None
    return found


def volume(engine: Engine, name: str) -> dict[str, Any] | None:
    """Inspect a volume; None when there is none."""
    try:
        with engine.talking(f"inspect volume {name}"):
            found: dict[str, Any] = engine.api.inspect_volume(name)
    except NotFoundError:
        return None
    return found


def own_container(engine: Engine, config: InstanceConfig, name: str) -> dict[str, Any] | None:
    """Inspect a container of this instance; None when there is none, or one of somebody else."""
    found = container(engine, name)
    return found if found is not None and labels.is_ours(found["Config"]["Labels"], config) else None


def require_ours(kind: str, name: str, found: Mapping[str, str] | None, config: InstanceConfig) -> None:
    """Refuse to touch what has our name but not our labels.

    Raises:
        ConflictError: naming it and whose it is.
    """
    if not labels.is_ours(found, config):
        raise ConflictError(
            f"{config.instance} needs the name {name}, but that Docker {kind} is not its own: {labels.owner(found)}",
            hint=f"look with: docker {kind} inspect {name}; rename or remove it yourself, or set AI_INSTANCE_ID=N",
        )
