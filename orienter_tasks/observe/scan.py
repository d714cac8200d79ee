"""One reading of reality for all instances: containers by exact label, processes by one census, claims last.

What cannot be seen is named, never guessed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from orienter_tasks.errors import OrienterError
from orienter_tasks.identity.checkouts import is_missing
from orienter_tasks.identity.claims import of_claim
from orienter_tasks.machine import worktree
from orienter_tasks.observe.model import Observation, ObservedInstance
from orienter_tasks.processes import census
from orienter_tasks.settings import catalog
from orienter_tasks.stack.native import NativeScan, ScanOptions

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from orienter_tasks.backends.docker.survey import DockerResource
    from orienter_tasks.identity.claims import Claim
    from orienter_tasks.stack.component import ComponentStatus


def scan(claims: Iterable[Claim], *, memory: bool = True, listeners: bool = False) -> Observation:
    """Read what there is of the given claims.

    Args:
        claims: whose.
        memory: what their components take, too.
        listeners: also which of their processes listen beyond loopback.
    """
    wanted = sorted(claims, key=lambda claim: (claim.project, claim.id, claim.root))
    unseen: list[str] = []
    containers = _containers(unseen) if any(claim.backend == "docker" for claim in wanted) else []
    seen, options = census.take(), ScanOptions(memory, listeners)
    found = []
    for claim in wanted:
        mine = [each for each in containers if (each.project, each.instance) == (claim.project, claim.id)]
        found.append(_instance(claim, mine, NativeScan(of_claim(claim), options, seen=seen), options))
    return Observation(found, unseen)


def _containers(unseen: list[str]) -> Sequence[DockerResource]:
    from orienter_tasks.backends.docker import engine, survey

    try:
        return survey.containers(engine.shared())
    except OrienterError as error:
        unseen.append(f"containers: {error}")
        return []


def _instance(
    claim: Claim, containers: Sequence[DockerResource], native: NativeScan, options: ScanOptions
) -> ObservedInstance:
    from orienter_tasks.backends.docker.survey import is_component_of, is_of, status_of

    instance = of_claim(claim)
    own = [status_of(each, with_memory=options.memory) for each in containers if is_component_of(each, instance)]
    components = [*own, *native.components()]
    components.sort(key=lambda status: (status.name not in catalog.names(), status.name))
    foreign = any(not is_of(each, instance) for each in containers)
    return ObservedInstance(
        claim=claim,
        instance=instance,
        backend=claim.backend,
        state=_state(claim, components, foreign=foreign),
        components=components,
        branch=worktree.branch(instance.root),
        used_at=claim.used_at,
        claimed_at=claim.claimed_at,
    )


def _state(claim: Claim, components: Sequence[ComponentStatus], *, foreign: bool) -> str:
    if foreign:
        return "conflict"
    if is_missing(claim):
        return "orphaned"
    running = {status.name for status in components if status.running}
    if not running:
        return "stopped"
    complete = running >= set(of_claim(claim).infra) and all(status.running for status in components)
    return "running" if complete else "partial"
