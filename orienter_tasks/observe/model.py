"""What an instance is found to be: data, and what it is for machines and for people."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from orienter_tasks.settings import catalog

if TYPE_CHECKING:
    from collections.abc import Sequence

    from orienter_tasks.identity.claims import Claim
    from orienter_tasks.instance.model import Instance
    from orienter_tasks.observe.disk import Disk
    from orienter_tasks.services.last_start import Failure
    from orienter_tasks.stack.component import ComponentStatus


class ObservedInstance(msgspec.Struct, frozen=True):
    """An instance as it is found.

    Attributes:
        backend: "" when it never had one.
        state: running, partial, stopped, orphaned or conflict; unknown where what runs of it cannot be seen.
        branch: what is checked out there.
        used_at: when it last was started or stopped.
        claimed_at: when its id was claimed.
        failure: why its last start failed; None if it did not.
        disk: what it takes on disk; None where nobody asked.
    """

    claim: Claim
    instance: Instance
    backend: str
    state: str
    components: Sequence[ComponentStatus]
    branch: str
    used_at: float
    claimed_at: float
    failure: Failure | None = None
    disk: Disk | None = None

    @property
    def services(self) -> Sequence[ComponentStatus]:
        return [each for each in self.components if each.name not in catalog.names()]

    @property
    def services_up(self) -> tuple[int, int]:
        """How many services are well, and of how many: those that the last start was to run, and what else is there."""
        up = [service.name for service in self.services if service.well]
        return len(up), len({*(service.name for service in self.services), *self.claim.services})

    @property
    def memory(self) -> int | None:
        """Bytes of all components of which it is known."""
        known = [each.memory for each in self.components if each.memory is not None]
        return sum(known) if known else None

    @property
    def since(self) -> float | None:
        """When the component that has run longest was started."""
        return min((each.started_at for each in self.components if each.running and each.started_at), default=None)


class Observation(msgspec.Struct, frozen=True):
    """The instances that were looked at, and what could not be seen."""

    instances: Sequence[ObservedInstance]
    unseen: Sequence[str] = ()


def as_document(found: ObservedInstance) -> dict[str, object]:
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
        "host_url": instance.host_url,
        "ports": dict(instance.ports),
        "services": {"running": up, "of": of},
        "memory_bytes": found.memory,
        **({"data_bytes": found.disk.data, "logs_bytes": found.disk.logs} if found.disk is not None else {}),
        "running_since": found.since,
        "used_at": found.used_at,
        "claimed_at": found.claimed_at,
        "failed_start": None if found.failure is None else msgspec.structs.asdict(found.failure),
        "components": [component_document(each) for each in found.components],
    }


def component_document(status: ComponentStatus) -> dict[str, object]:
    return {
        "name": status.name,
        "kind": status.kind,
        "running": status.running,
        "state": status.state,
        "what": status.what,
        "started_at": status.started_at,
        "memory_bytes": status.memory,
        "exposed": list(status.exposed),
        "last_lines": list(status.last_lines),
        "exit_code": status.exit_code,
        "ended_at": status.ended_at,
    }


def last_words(found: ObservedInstance) -> list[str]:
    """Give the last lines of what died or does not answer, for people."""
    lines = []
    for each in found.components:
        if not each.well and each.last_lines:
            lines += [f"the last lines of {each.name} of {found.instance}:", *(f"  {line}" for line in each.last_lines)]
    return lines
