"""What a Docker engine has of a project, and how one resource of it is removed: by its id, its labels read again."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, Any

from orienter_tasks.backends.docker import survey
from orienter_tasks.commands.cleanup.files import ChangedError
from orienter_tasks.commands.cleanup.model import Resource
from orienter_tasks.errors import CheckError, ConflictError, NotFoundError
from orienter_tasks.instance.model import LABEL_INSTANCE, LABEL_PROJECT, LABEL_ROOT

if TYPE_CHECKING:
    from collections.abc import Mapping

    from orienter_tasks.backends.docker.engine import Engine

REMOVAL_SECONDS = 10.0
POLL_SECONDS = 0.05
SIZES_SECONDS = 5.0


def read(engine: Engine, project: str) -> list[Resource]:
    """Read everything that carries this project's labels.

    Raises:
        BackendError: no engine answers.
    """
    found = survey.read(engine, project=project)
    return [
        Resource(
            kind=resource.kind,
            name=resource.name if resource.kind != "container" else f"{resource.name} ({resource.state})",
            key=resource.id,
            project=resource.project,
            instance=resource.instance,
            root=resource.root,
            component=resource.component,
            running=resource.running,
        )
        for resource in found
    ]


def sizes(engine: Engine) -> Mapping[str, int]:
    """Return the sizes of all volumes in bytes; nothing when the engine takes too long to count them."""
    from orienter_tasks.backends.docker.resources import volume_sizes

    return volume_sizes(engine)


def remove(engine: Engine, resource: Resource, grace: float, *, anonymous_volumes: bool) -> None:
    """Remove a container, network or volume that is still what was planned for; no word when it is gone already.

    Args:
        engine: where it is.
        resource: what.
        grace: seconds before a container is killed.
        anonymous_volumes: whether a container's volumes without a name go with it.

    Raises:
        ChangedError: it carries other labels by now.
        ConflictError: something uses it, which is named.
        CheckError: it is still there afterwards.
        BackendError: the engine went away.
    """
    found = _inspect(engine, resource)
    if found is None:
        return
    _require_same(resource, found)
    try:
        if resource.kind == "container":
            _remove_container(engine, resource, found, grace, anonymous_volumes=anonymous_volumes)
        elif resource.kind == "network":
            _remove_network(engine, resource, found)
        else:
            _remove_volume(engine, resource)
    except NotFoundError:
        return
    deadline = time.monotonic() + REMOVAL_SECONDS
    while _inspect(engine, resource) is not None:
        if time.monotonic() > deadline:
            raise CheckError(f"{resource.kind} {resource.name} is still there after its removal")
        time.sleep(POLL_SECONDS)


def _inspect(engine: Engine, resource: Resource) -> dict[str, Any] | None:
    look = {"container": survey.container, "network": survey.network, "volume": survey.volume}[resource.kind]
    return look(engine, resource.key)


def _require_same(resource: Resource, found: Mapping[str, Any]) -> None:
    labels = (found["Config"]["Labels"] if resource.kind == "container" else found["Labels"]) or {}
    wanted = {LABEL_PROJECT: resource.project, LABEL_INSTANCE: str(resource.instance), LABEL_ROOT: resource.root}
    if any(labels.get(name) != value for name, value in wanted.items()):
        raise ChangedError("another has taken its name")


def _remove_container(
    engine: Engine, resource: Resource, found: Mapping[str, Any], grace: float, *, anonymous_volumes: bool
) -> None:
    if found["State"]["Running"]:
        with engine.talking(f"stop container {resource.name}"):
            engine.api.stop(resource.key, timeout=math.ceil(grace))
    try:
        with engine.talking(f"remove container {resource.name}"):
            engine.api.remove_container(resource.key, force=True, v=anonymous_volumes)
    except ConflictError:
        return  # its removal is in progress already


def _remove_network(engine: Engine, resource: Resource, found: Mapping[str, Any]) -> None:
    users = [str(user.get("Name", "")) for user in (found["Containers"] or {}).values()]
    if users:
        raise ConflictError(
            f"network {resource.name} is in use by {', '.join(users)}", hint="disconnect or stop it first"
        )
    with engine.talking(f"remove network {resource.name}"):
        engine.api.remove_network(resource.key)


def _remove_volume(engine: Engine, resource: Resource) -> None:
    try:
        with engine.talking(f"remove volume {resource.name}"):
            engine.api.remove_volume(resource.key)
    except ConflictError as error:
        with engine.talking("list containers"):
            found = engine.api.containers(all=True, filters={"volume": resource.key})
        users = [container["Names"][0].lstrip("/") for container in found if container["Names"]]
        raise ConflictError(
            f"volume {resource.name} is in use by {', '.join(users) or 'a container'}",
            hint="remove that container first",
        ) from error
