"""What is there: one reading of reality that `instances`, `status` and clean-up share.

Containers by exact label, processes by record, claims last. What cannot be seen is said, never guessed.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from orienter_tasks import worktree
from orienter_tasks.errors import OrienterError
from orienter_tasks.instance import Instance
from orienter_tasks.processes.record import load_all
from orienter_tasks.settings import INFRA, SIDECARS

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from orienter_tasks.backends.docker.survey import Resource
    from orienter_tasks.claims import Claim


@dataclass(frozen=True)
class Part:
    """A component of an instance as it is found.

    Attributes:
        name: the component.
        kind: `container` or `process`.
        running: whether it runs.
        what: the container's name, or the process's pid, for people.
        started_at: seconds since the epoch; None when it does not run.
        memory: bytes (PSS of its processes, or what its container is charged for); None where not told.
    """

    name: str
    kind: str
    running: bool
    what: str
    started_at: float | None = None
    memory: int | None = None


@dataclass(frozen=True)
class Found:
    """An instance as it is found.

    Attributes:
        instance: id, root, ports and names.
        backend: "" when it never had one.
        state: running, partial, stopped, orphaned or conflict.
        parts: its components.
        branch: what is checked out there.
        used_at: when it last was started or stopped.
        claimed_at: when its id was claimed.
    """

    instance: Instance
    backend: str
    state: str
    parts: Sequence[Part]
    branch: str
    used_at: float
    claimed_at: float

    @property
    def services(self) -> Sequence[Part]:
        """The parts that are not infrastructure."""
        return [part for part in self.parts if part.name not in INFRA]

    @property
    def memory(self) -> int | None:
        """Bytes of all parts of which it is known."""
        known = [part.memory for part in self.parts if part.memory is not None]
        return sum(known) if known else None

    @property
    def since(self) -> float | None:
        """When the part that has run longest was started."""
        return min((part.started_at for part in self.parts if part.running and part.started_at), default=None)


@dataclass(frozen=True)
class Inventory:
    """All instances of this user, and what could not be seen."""

    instances: Sequence[Found]
    unseen: Sequence[str] = field(default=())


def of_claim(claim: Claim) -> Instance:
    """Build the instance that a claim describes, from any directory and without its settings."""
    return Instance(claim.id, Path(claim.root), claim.project, claim.worktree, claim.ports, claim.former_roots)


def take(claims: Iterable[Claim], *, with_memory: bool = True) -> Inventory:
    """Read what there is of the given claims."""
    wanted = sorted(claims, key=lambda claim: (claim.project, claim.id, claim.root))
    unseen: list[str] = []
    resources = _containers(unseen) if any(claim.backend == "docker" for claim in wanted) else []
    return Inventory([_found(claim, resources, with_memory=with_memory) for claim in wanted], unseen)


def _containers(unseen: list[str]) -> Sequence[Resource]:
    from orienter_tasks.backends.docker import engine, survey

    try:
        return survey.containers(engine.shared())
    except OrienterError as error:
        unseen.append(f"containers: {error}")
        return []


def _found(claim: Claim, resources: Sequence[Resource], *, with_memory: bool) -> Found:
    instance = of_claim(claim)
    mine = [r for r in resources if r.project == claim.project and r.instance == claim.id]
    parts = [
        *(_container_part(r, with_memory=with_memory) for r in mine if r.root in claim.roots),
        *_with_sidecars(_process_parts(instance, with_memory=with_memory)),
    ]
    parts.sort(key=lambda part: (part.name not in INFRA, part.name))
    strange = any(r.root not in claim.roots for r in mine)
    return Found(
        instance=instance,
        backend=claim.backend,
        state=_state(claim, parts, strange=strange),
        parts=parts,
        branch=worktree.branch(instance.root),
        used_at=claim.used_at,
        claimed_at=claim.claimed_at,
    )


def _state(claim: Claim, parts: Sequence[Part], *, strange: bool) -> str:
    if strange:
        return "conflict"
    if worktree.is_gone(Path(claim.root), claim.device):
        return "orphaned"
    running = {part.name for part in parts if part.running}
    if not running:
        return "stopped"
    return "running" if running >= set(INFRA) and all(part.running for part in parts) else "partial"


def _container_part(resource: Resource, *, with_memory: bool) -> Part:
    from orienter_tasks.backends.docker.memory import charged

    return Part(
        name=resource.component,
        kind="container",
        running=resource.running,
        what=resource.name if resource.running else f"{resource.name} ({resource.state})",
        started_at=resource.started_at,
        memory=charged(resource.id) if resource.running and with_memory else None,
    )


def _with_sidecars(parts: list[Part]) -> list[Part]:
    """Count a server and its sidecar, such as the embedded S3 store and the nginx before it, as one."""
    merged = {part.name: part for part in parts}
    for sidecar, owner in SIDECARS.items():
        side, main = merged.pop(sidecar, None), merged.get(owner)
        if side is not None and main is not None:
            memory = (main.memory or 0) + (side.memory or 0) or None
            what = main.what if side.running or not main.running else f"{main.what}; its front {side.what}"
            merged[owner] = replace(main, running=main.running and side.running, memory=memory, what=what)
    return list(merged.values())


def _process_parts(instance: Instance, *, with_memory: bool) -> list[Part]:
    parts = []
    for record in load_all(instance):
        running = record.alive()
        parts.append(
            Part(
                name=record.component,
                kind="process",
                running=running,
                what=f"pid {record.pid}" if running else "died",
                started_at=record.started_at if running else None,
                memory=_tree_memory(record.pid) if running and with_memory else None,
            )
        )
    return parts


def _tree_memory(pid: int) -> int | None:
    """Sum the PSS of a process and its descendants; RSS where the system has no PSS."""
    import psutil

    total = 0
    try:
        leader = psutil.Process(pid)
        for process in (leader, *leader.children(recursive=True)):
            full = process.memory_full_info()
            total += getattr(full, "pss", full.rss)
    except psutil.Error:
        return total or None
    return total


def as_document(found: Found) -> dict[str, object]:
    """Describe an instance for machines."""
    instance = found.instance
    return {
        "id": instance.id,
        "project": instance.project,
        "root": str(instance.root),
        "worktree": instance.worktree,
        "branch": found.branch,
        "state": found.state,
        "backend": found.backend,
        "url": instance.url,
        "ports": dict(instance.ports),
        "memory_bytes": found.memory,
        "running_since": found.since,
        "used_at": found.used_at,
        "claimed_at": found.claimed_at,
        "components": part_documents(found),
    }


def part_documents(found: Found) -> list[dict[str, object]]:
    """Describe an instance's components for machines."""
    return [
        {
            "name": part.name,
            "kind": part.kind,
            "running": part.running,
            "what": part.what,
            "started_at": part.started_at,
            "memory_bytes": part.memory,
        }
        for part in found.parts
    ]


def ago(moment: float | None) -> str:
    """Put a past moment into words: `3 min`, `2 h`, `5 d`; "" for none."""
    if not moment:
        return ""
    seconds = max(0.0, time.time() - moment)
    for limit, unit, size in ((60, "s", 1), (3600, "min", 60), (86400, "h", 3600)):
        if seconds < limit:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds / 86400:.0f} d"


def megabytes(size: int | None) -> str:
    """Put bytes into words; "–" where they are not known."""
    return "–" if size is None else f"{size / 1e6:.0f} MB"
