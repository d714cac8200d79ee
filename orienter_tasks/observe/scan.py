"""One reading of reality for all instances: containers by exact label, processes by one census, claims last.

What cannot be seen is named, never guessed.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from msgspec.structs import replace

from orienter_tasks.errors import OrienterError
from orienter_tasks.identity import volumes
from orienter_tasks.identity.checkouts import is_missing
from orienter_tasks.identity.claims import of_claim
from orienter_tasks.instance.backends import Backends
from orienter_tasks.machine import worktree
from orienter_tasks.machine.threads import map_in_threads
from orienter_tasks.observe.model import Observation, ObservedInstance
from orienter_tasks.processes import census
from orienter_tasks.processes.sockets import Sockets
from orienter_tasks.processes.table import memory
from orienter_tasks.services import last_start
from orienter_tasks.settings import catalog
from orienter_tasks.stack.component import ComponentStatus
from orienter_tasks.stack.native import NativeScan

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence, Set

    from orienter_tasks.backends.docker.survey import DockerResource
    from orienter_tasks.identity.claims import Claim
    from orienter_tasks.instance.model import Instance
    from orienter_tasks.services.last_start import Failure


def scan(claims: Iterable[Claim], *, details: bool = True, sizes: bool = False, use: bool = False) -> Observation:
    """Read what there is of the given claims.

    Args:
        claims: whose.
        details: also where their processes listen: so which components do not answer.
        sizes: also what their components take of memory.
        use: also when they were used.
    """
    wanted = sorted(claims, key=lambda claim: (claim.project, claim.id, claim.root))
    unseen: list[str] = []
    containers, hidden = _containers({backend for claim in wanted for backend in claim.backends.used}, unseen)
    seen, sockets, found, parts = census.take(), Sockets(), [], []
    memories: dict[int, int | None] = {}
    natives = [
        NativeScan(of_claim(claim), details=details, seen=seen, open_sockets=sockets, memory_of=memories.get)
        for claim in wanted
    ]
    if sizes:  # the kernel counts for as long as all the rest takes, so on each core
        pids = [pid for native in natives for pid in native.pids]
        memories.update(zip(pids, map_in_threads(memory, pids, threads=os.cpu_count() or 1), strict=True))
    for claim, native in zip(wanted, natives, strict=True):
        mine = [each for each in containers if (each.project, each.instance) == (claim.project, claim.id)]
        used = claim.backends.used
        is_hidden = bool(used & {*hidden}) or ("docker" in used and not mine and _is_elsewhere(claim, unseen))
        found.append(_instance(claim, mine, native, sizes=sizes, hidden=is_hidden))
        parts.append(([each for each in mine if each.running], native))
    return Observation(_with_use(found, parts, sockets) if use else found, unseen)


def _with_use(
    found: Sequence[ObservedInstance],
    parts: Sequence[tuple[Sequence[DockerResource], NativeScan]],
    sockets: Sockets,
) -> list[ObservedInstance]:
    """Add when each instance was used; an engine is asked about all of them at once."""
    from orienter_tasks.observe.use import Users

    users = Users(sockets)

    def use(each: tuple[ObservedInstance, tuple[Sequence[DockerResource], NativeScan]]) -> ObservedInstance:
        one, (containers, native) = each
        return replace(one, use=users.use_of(one, containers, lambda: native.pids))

    pairs = list(zip(found, parts, strict=True))
    return map_in_threads(use, pairs) if any(containers for containers, _ in parts) else [use(each) for each in pairs]


def _containers(backends: Set[str], unseen: list[str]) -> tuple[Sequence[DockerResource], Sequence[str]]:
    """Return the containers of claims with these backends, and those backends whose containers cannot be seen."""
    if backends <= {"embedded"}:
        return (), ()
    from orienter_tasks.backends.docker import engine, survey

    hidden = engine.shared().unseen_backends()
    if hidden and not backends & {*hidden}:
        return (), ()
    try:
        return survey.containers(engine.shared()), ()
    except OrienterError as error:
        unseen.append(f"containers: {error}")
        return (), engine.shared().unseen_backends() or ("docker", "")


def _is_elsewhere(claim: Claim, unseen: list[str]) -> bool:
    from orienter_tasks.backends.docker import engine, survey

    try:
        elsewhere = survey.data_elsewhere(engine.shared(), of_claim(claim))
    except OrienterError as error:
        unseen.append(f"volumes: {error}")
        return True
    if elsewhere is not None:
        unseen.append(f"{of_claim(claim)}: it is on another Docker engine ({elsewhere.endpoint})")
    return elsewhere is not None


def _instance(
    claim: Claim, containers: Sequence[DockerResource], native: NativeScan, *, sizes: bool, hidden: bool
) -> ObservedInstance:
    last = last_start.load(of_claim(claim))
    instance, failure = replace(of_claim(claim), hostname=last.hostname), last.failure
    servers = {*catalog.names(), catalog.LINK, *last.servers}
    own, foreign = _own(containers, instance, sizes=sizes) if containers else ([], False)
    components = [*own, *native.components()]
    up = {status.name for status in components if status.up} | native.alive
    native_ones = [name for name in instance.infra if claim.backends.of(name) != "docker" and name not in up]
    away = _components_elsewhere(instance, native_ones)
    components = [*away.values(), *(status for status in components if status.name not in away)]
    if failure is not None and failure.component and failure.component not in {each.name for each in components}:
        contained = failure.component in servers and claim.backends.of(failure.component) == "docker"
        components.append(_not_started(failure, contained=contained))
    components.sort(key=lambda status: (status.name not in servers, status.name))
    return ObservedInstance(
        claim=claim,
        instance=instance,
        backends=claim.backends or Backends("docker" if own else ""),
        state=_state(claim, components, foreign=foreign, hidden=hidden or bool(away)),
        components=components,
        servers=servers,
        failure=failure,
        branch=worktree.branch(instance.root),
        used_at=claim.used_at,
        claimed_at=claim.claimed_at,
    )


def _own(
    containers: Sequence[DockerResource], instance: Instance, *, sizes: bool
) -> tuple[list[ComponentStatus], bool]:
    """Describe those containers that are components of an instance, and say whether some are not its own at all."""
    from orienter_tasks.backends.docker.survey import is_component_of, is_of, status_of

    own = [status_of(each, with_memory=sizes) for each in containers if is_component_of(each, instance)]
    return own, any(not is_of(each, instance) for each in containers)


def _not_started(failure: Failure, *, contained: bool) -> ComponentStatus:
    """Describe a component that the last start could not start."""
    return ComponentStatus(
        failure.component,
        "container" if contained else "process",
        running=False,
        what=failure.what,
        last_lines=failure.last_lines,
        ended_at=failure.at,
    )


def _components_elsewhere(instance: Instance, names: Iterable[str]) -> Mapping[str, ComponentStatus]:
    """Describe the native servers that only their locks show: they run in a container, or as another user."""
    holders = {name: volumes.user_of(instance, name) for name in names}
    return {
        name: ComponentStatus(name, "process", running=False, unseen=True, what=f"cannot be seen from here: {holder}")
        for name, holder in holders.items()
        if holder
    }


def _state(claim: Claim, components: Sequence[ComponentStatus], *, foreign: bool, hidden: bool) -> str:
    if foreign:
        return "conflict"
    if is_missing(claim):
        return "orphaned"
    if hidden:
        return "unknown"
    running = {status.name for status in components if status.running}
    if not running:
        return "stopped"
    complete = running >= set(of_claim(claim).infra) and all(status.well for status in components)
    return "running" if complete else "partial"
