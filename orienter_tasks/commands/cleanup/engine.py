"""Containers and networks: found by label, removed by their id after their labels were read again."""

from __future__ import annotations

import math
import time
from functools import partial
from typing import TYPE_CHECKING, Any

from orienter_tasks.backends.docker import survey
from orienter_tasks.backends.docker.engine import WORK_SECONDS
from orienter_tasks.commands.cleanup.execute import ChangedError, at_once, one_by_one
from orienter_tasks.commands.cleanup.model import EXISTS, THOROUGH, Kind, Resource, Verdict
from orienter_tasks.errors import CheckError, ConflictError, NotFoundError
from orienter_tasks.instance.model import LABEL_INSTANCE, LABEL_PROJECT, LABEL_ROOT, LABEL_TOKEN
from orienter_tasks.machine.signals import raise_unheard

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from orienter_tasks.backends.docker.engine import Engine
    from orienter_tasks.commands.cleanup.execute import Removal
    from orienter_tasks.commands.cleanup.model import Scope, Snapshot
    from orienter_tasks.commands.cleanup.snapshot import Reading

REMOVAL_SECONDS = 10.0
POLL_SECONDS = 0.05


def find(kind: Kind, reading: Reading) -> Iterator[Resource]:
    """Find what an engine has of a kind."""
    for found in reading.on_engine:
        if found.kind == kind.name:
            yield Resource(
                kind=kind,
                name=f"{found.name} ({found.state})" if found.state else found.name,
                key=found.id,
                project=found.project,
                instance=found.instance,
                root=found.root,
                component=found.component,
                token=found.token,
                running=found.running,
            )


def remove(
    inspect: Callable[[Engine, str], dict[str, Any] | None],
    act: Callable[[Removal, Resource, Mapping[str, Any]], None],
    removal: Removal,
    resource: Resource,
) -> None:
    """Remove it if it still carries the same labels, and wait until it has gone; it may be gone already."""
    engine = removal.view.engine
    found = inspect(engine, resource.key)
    if found is None:
        return
    labels = found.get("Config", found)["Labels"] or {}
    wanted = {LABEL_PROJECT: resource.project, LABEL_INSTANCE: str(resource.instance), LABEL_ROOT: resource.root}
    if not wanted.items() <= labels.items() or labels.get(LABEL_TOKEN, "") != resource.token:
        raise ChangedError("another has taken its name")
    try:
        act(removal, resource, found)
    except NotFoundError:
        return
    deadline = time.monotonic() + REMOVAL_SECONDS
    while inspect(engine, resource.key) is not None:
        if time.monotonic() > deadline:
            raise CheckError(f"{resource} is still there after its removal")
        time.sleep(POLL_SECONDS)


def _remove_container(removal: Removal, resource: Resource, found: Mapping[str, Any]) -> None:
    engine, anonymous_volumes = removal.view.engine, removal.plan.scope.takes_data
    if found["State"]["Running"]:
        with engine.talking(f"stop container {resource.name}", work=removal.options.grace + WORK_SECONDS):
            engine.api.stop(resource.key, timeout=math.ceil(removal.options.grace))
    raise_unheard()
    try:
        with engine.talking(f"remove container {resource.name}", work=WORK_SECONDS):
            engine.api.remove_container(resource.key, force=True, v=anonymous_volumes)
    except ConflictError:
        return  # its removal is in progress already


def _remove_network(removal: Removal, resource: Resource, found: Mapping[str, Any]) -> None:
    users = [str(user.get("Name", "")) for user in (found["Containers"] or {}).values()]
    if users:
        raise ConflictError(f"{resource} is in use by {', '.join(users)}", hint="disconnect or stop it first")
    with removal.view.engine.talking(f"remove {resource}", work=WORK_SECONDS):
        removal.view.engine.api.remove_network(resource.key)


def _unused(scope: Scope, snapshot: Snapshot, resource: Resource) -> Verdict:
    others = (each for each in snapshot.resources if each.instance == resource.instance)
    if not scope.takes_data or resource.running or any(each.kind is CONTAINER for each in others):
        return Verdict(goes=False, reason=EXISTS)
    return Verdict(goes=True, reason="nothing uses it; the next start makes it anew")


CONTAINER: Kind = Kind(
    name="container",
    order=20,
    scopes=("orphans", "daily", *THOROUGH),
    find=lambda reading: find(CONTAINER, reading),
    remove=at_once(partial(remove, survey.container, _remove_container)),
)
NETWORK: Kind = Kind(
    name="network",
    order=30,
    scopes=("orphans", "daily", *THOROUGH),
    find=lambda reading: find(NETWORK, reading),
    remove=one_by_one(partial(remove, survey.network, _remove_network)),
    unneeded=_unused,
)
