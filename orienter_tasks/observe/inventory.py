"""What is there: one reading of reality that `instances`, `status` and clean-up share.

Containers by exact label, processes by record, claims last. What cannot be seen is said, never guessed.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from orienter_tasks.errors import OrienterError
from orienter_tasks.identity.claims import of_claim
from orienter_tasks.machine import worktree
from orienter_tasks.observe.parts import Look, Part, merged, of_container, of_processes
from orienter_tasks.settings import catalog

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from orienter_tasks.backends.docker.survey import DockerResource
    from orienter_tasks.identity.claims import Claim
    from orienter_tasks.instance.model import Instance
    from orienter_tasks.observe.disk import Disk

MEGABYTE, GIGABYTE = 10**6, 10**9


@dataclass(frozen=True)
class Found:
    """An instance as it is found.

    Attributes:
        claim: its claim.
        instance: id, root, ports and names.
        backend: "" when it never had one.
        state: running, partial, stopped, orphaned or conflict.
        parts: its components.
        branch: what is checked out there.
        used_at: when it last was started or stopped.
        claimed_at: when its id was claimed.
        disk: what it takes on disk; None where nobody asked.
    """

    claim: Claim
    instance: Instance
    backend: str
    state: str
    parts: Sequence[Part]
    branch: str
    used_at: float
    claimed_at: float
    disk: Disk | None = None

    @property
    def services(self) -> Sequence[Part]:
        """The parts that are not infrastructure."""
        return [part for part in self.parts if part.name not in catalog.names()]

    @property
    def services_up(self) -> tuple[int, int]:
        """How many services run, and of how many: those that the last start was to run, and what else is there."""
        up = [part.name for part in self.services if part.running]
        return len(up), len({*(part.name for part in self.services), *self.claim.services})

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


def take(claims: Iterable[Claim], *, with_memory: bool = True, with_listeners: bool = False) -> Inventory:
    """Read what there is of the given claims.

    Args:
        claims: whose.
        with_memory: what their parts take, too.
        with_listeners: also which of their processes listen beyond loopback.
    """
    wanted = sorted(claims, key=lambda claim: (claim.project, claim.id, claim.root))
    unseen: list[str] = []
    resources = _containers(unseen) if any(claim.backend == "docker" for claim in wanted) else []
    look = Look(with_memory, with_listeners)
    return Inventory([_found(claim, resources, look) for claim in wanted], unseen)


def _containers(unseen: list[str]) -> Sequence[DockerResource]:
    from orienter_tasks.backends.docker import engine, survey

    try:
        return survey.containers(engine.shared())
    except OrienterError as error:
        unseen.append(f"containers: {error}")
        return []


def _found(claim: Claim, resources: Sequence[DockerResource], look: Look) -> Found:
    instance = of_claim(claim)
    mine = [r for r in resources if r.project == claim.project and r.instance == claim.id]
    parts = [
        *(
            of_container(r, with_memory=look.memory)
            for r in mine
            if r.root in claim.roots and r.name == instance.container(r.component)
        ),
        *merged(of_processes(instance, look)),
    ]
    parts.sort(key=lambda part: (part.name not in catalog.names(), part.name))
    strange = any(r.root not in claim.roots for r in mine)
    return Found(
        claim=claim,
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
    return "running" if running >= set(of_claim(claim).infra) and all(part.running for part in parts) else "partial"


def as_document(found: Found) -> dict[str, object]:
    """Describe an instance for machines."""
    instance, (up, of) = found.instance, found.services_up
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
        "services": {"running": up, "of": of},
        "memory_bytes": found.memory,
        **({"data_bytes": found.disk.data, "logs_bytes": found.disk.logs} if found.disk is not None else {}),
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
            "state": part.state,
            "what": part.what,
            "started_at": part.started_at,
            "memory_bytes": part.memory,
            "exposed": list(part.exposed),
            "last_lines": list(part.last_lines),
            "exit_code": part.exit_code,
        }
        for part in found.parts
    ]


def last_words(found: Found) -> list[str]:
    """Give the last lines of what died, for people."""
    lines = []
    for part in found.parts:
        if not part.running and part.last_lines:
            lines += [f"the last lines of {part.name} of {found.instance}:", *(f"  {line}" for line in part.last_lines)]
    return lines


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


def space(size: int | None) -> str:
    """Put bytes on a disk into words, which may be few or very many; "–" where they are not known."""
    if size is None or size >= MEGABYTE:
        return megabytes(size) if size is None or size < GIGABYTE else f"{size / GIGABYTE:.1f} GB"
    return f"{math.ceil(size / 1000)} kB"
