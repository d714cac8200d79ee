"""What an instance is found to be: data, and what it is for machines and for people."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Sequence, Set

    from orienter_tasks.identity.claims import Claim
    from orienter_tasks.instance.backends import Backends
    from orienter_tasks.instance.model import Instance
    from orienter_tasks.observe.disk import Disk
    from orienter_tasks.services.last_start import Failure
    from orienter_tasks.stack.component import ComponentStatus


class Use(msgspec.Struct, frozen=True):
    """When somebody last used an instance.

    Attributes:
        at: seconds since the epoch; at least when it last was started, stopped or changed.
        now: what somebody does with it now, in words.
        unknown: why that is not known, or not all of it; "" where it is.
    """

    at: float
    now: Sequence[str] = ()
    unknown: str = ""

    @property
    def idle(self) -> float | None:
        """For how many seconds nobody has used it; None where that is not known."""
        return None if self.unknown else 0.0 if self.now else max(0.0, time.time() - self.at)


class ObservedInstance(msgspec.Struct, frozen=True):
    """An instance as it is found.

    Attributes:
        backends: none when it never had one.
        state: running, partial, stopped, orphaned or conflict; unknown where what runs of it cannot be seen.
        servers: names of its infrastructure; the other components are services.
        branch: what is checked out there.
        used_at: when it last was started or stopped.
        claimed_at: when its id was claimed.
        failure: why its last start failed; None if it did not.
        disk: what it takes on disk; None where nobody asked.
        use: when somebody last used it; None where nobody asked.
    """

    claim: Claim
    instance: Instance
    backends: Backends
    state: str
    components: Sequence[ComponentStatus]
    servers: Set[str]
    branch: str
    used_at: float
    claimed_at: float
    failure: Failure | None = None
    disk: Disk | None = None
    use: Use | None = None

    @property
    def services(self) -> Sequence[ComponentStatus]:
        return [each for each in self.components if each.name not in self.servers]

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
        "backend": found.backends.word,
        "backends": {name: found.backends.of(name) for name in instance.infra} if found.backends else {},
        "url": instance.url,
        "host_url": instance.host_url,
        "ports": dict(instance.ports),
        "services": {"running": up, "of": of},
        "memory_bytes": found.memory,
        **({"data_bytes": found.disk.data, "logs_bytes": found.disk.logs} if found.disk is not None else {}),
        "running_since": found.since,
        "used_at": found.used_at,
        **({} if found.use is None else _use_document(found.use)),
        "claimed_at": found.claimed_at,
        "failed_start": None if found.failure is None else msgspec.structs.asdict(found.failure),
        "components": [component_document(each) for each in found.components],
    }


def _use_document(use: Use) -> dict[str, object]:
    return {"idle_seconds": use.idle, "used_now": list(use.now), "idle_unknown": use.unknown}


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
